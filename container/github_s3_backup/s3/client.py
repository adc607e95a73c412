"""What reads a bucket, or a folder with a copy of one."""

from pathlib import Path
from typing import TYPE_CHECKING, cast

import boto3

from github_s3_backup.program import s3_config
from github_s3_backup.runtime.environment import ConfigurationError
from github_s3_backup.s3.folder import FolderClient, is_folder

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


def reading_client(aws: boto3.session.Session, bucket: str, region: str | None, workers: int) -> "S3Client":
    """Return what reads a bucket. Raises ConfigurationError where its region is not known."""
    if is_folder(bucket):
        return cast("S3Client", FolderClient(Path(bucket)))
    region = region or aws.region_name
    if not region:
        raise ConfigurationError(["the region is unknown: set --region or AWS_REGION to the bucket's region"])
    return aws.client("s3", region_name=region, config=s3_config(workers))


def bucket_problems(option: str, bucket: str | None) -> list[str]:
    """Return what is wrong with the bucket that an option names."""
    if bucket and bucket.startswith("s3://"):
        return [f"{option} must be the bare name of a bucket, not {bucket}"]
    if bucket and is_folder(bucket) and not Path(bucket).is_dir():
        return [f"{option}: there is no folder {bucket}. The name of a bucket has no slash"]
    return []
