"""Publish the metrics of a restore command; a machine outside AWS goes on without them."""

import os

import boto3
from botocore.exceptions import BotoCoreError, ClientError
from structlog.typing import FilteringBoundLogger

from github_s3_backup import metrics
from github_s3_backup.configuration import DEFAULT_SERVICE_NAME
from github_s3_backup.program import s3_config


def publish(aws: boto3.session.Session, values: dict[str, float], log: FilteringBoundLogger) -> None:
    """Publish the values, or log why that was not possible."""
    service = os.environ.get("SERVICE_NAME", "").strip() or DEFAULT_SERVICE_NAME
    try:
        metrics.publish(aws.client("cloudwatch", config=s3_config(1)), service, values)
    except (BotoCoreError, ClientError, ValueError) as error:
        log.warning("metrics not published", error=str(error))
