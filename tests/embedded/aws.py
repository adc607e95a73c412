"""An embedded AWS control plane: moto's server for Secrets Manager, CloudWatch, and KMS."""

import contextlib
import functools
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import boto3
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import SHA256

from embedded.s3 import REGION

if TYPE_CHECKING:
    from moto.kms.utils import ECDSAPrivateKey
    from mypy_boto3_cloudwatch import CloudWatchClient
    from mypy_boto3_secretsmanager import SecretsManagerClient

CREDENTIALS: dict[str, Any] = {
    "region_name": REGION,
    "aws_access_key_id": "embedded",
    "aws_secret_access_key": "embedded",
}


@dataclass(frozen=True)
class EmbeddedAws:
    """A running server."""

    url: str

    def secrets(self) -> "SecretsManagerClient":
        return _secrets(self.url)

    def cloudwatch(self) -> "CloudWatchClient":
        return _cloudwatch(self.url)

    def new_secret(self, name: str, value: str | None) -> str:
        """Make a secret, with a value or without one, and return its ARN."""
        arguments: dict[str, Any] = {} if value is None else {"SecretString": value}
        return self.secrets().create_secret(Name=name, **arguments)["ARN"]

    def new_signing_key(self) -> str:
        """Make a KMS key that signs, and return its ARN."""
        key = self.kms().create_key(KeySpec="ECC_NIST_P256", KeyUsage="SIGN_VERIFY")
        return str(key["KeyMetadata"]["Arn"])

    def kms(self) -> Any:
        return _kms(self.url)

    def metrics(self, service: str) -> dict[str, list[float]]:
        """Return the values published for a service, by metric; those of the same minute are one, their sum."""
        client, found = self.cloudwatch(), {}
        pages = client.get_paginator("list_metrics").paginate(Namespace="GitHubBackup")
        names = {metric["MetricName"] for page in pages for metric in page["Metrics"]}
        for name in names:
            answer = client.get_metric_data(
                StartTime=datetime.now(UTC) - timedelta(hours=1),
                EndTime=datetime.now(UTC) + timedelta(minutes=2),
                MetricDataQueries=[
                    {
                        "Id": "q",
                        "MetricStat": {
                            "Metric": {
                                "Namespace": "GitHubBackup",
                                "MetricName": name,
                                "Dimensions": [{"Name": "Service", "Value": service}],
                            },
                            "Period": 60,
                            "Stat": "Sum",
                        },
                    }
                ],
            )
            if values := answer["MetricDataResults"][0]["Values"]:
                found[name] = values
        return found


@functools.cache
def _secrets(url: str) -> "SecretsManagerClient":
    return boto3.client("secretsmanager", endpoint_url=url, **CREDENTIALS)


@functools.cache
def _cloudwatch(url: str) -> "CloudWatchClient":
    return boto3.client("cloudwatch", endpoint_url=url, **CREDENTIALS)


def _sign_digest(key: "ECDSAPrivateKey", message: bytes, signing_algorithm: str) -> bytes:
    """Sign as KMS does for the MessageType DIGEST, which moto takes for RAW."""
    assert (len(message), signing_algorithm) == (32, "ECDSA_SHA_256")
    signature: bytes = key.private_key.sign(message, ec.ECDSA(Prehashed(SHA256())))
    return signature


@functools.cache
def _kms(url: str) -> Any:
    return boto3.client("kms", endpoint_url=url, **CREDENTIALS)


@contextlib.contextmanager
def serve_aws() -> Iterator[EmbeddedAws]:
    """Run moto's server for this block. moto takes a second to import, and not every worker needs it."""
    from moto.kms.utils import ECDSAPrivateKey
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    ECDSAPrivateKey.sign = _sign_digest  # type: ignore[assignment,method-assign]
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield EmbeddedAws(f"http://{host}:{port}")
    finally:
        server.stop()
