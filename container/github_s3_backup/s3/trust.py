"""The keys whose signatures of manifests count, as they are named on a command line."""

from collections.abc import Iterable

import boto3

from github_s3_backup.records.signing import KMS_CONFIG, Kms, PublicKey, keys_named


def trusted_keys(names: Iterable[str], aws: boto3.session.Session) -> list[PublicKey]:
    """Return the keys that PEM files and ARNs of KMS keys name. Raises SigningError."""

    def new_kms(region: str | None) -> Kms:
        client: Kms = aws.client("kms", region_name=region, config=KMS_CONFIG)
        return client

    return [key for name in names for key in keys_named(name, new_kms)]
