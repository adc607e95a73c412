"""Letting a day pass in a bucket, so that what was stored today was stored yesterday.

The clock can't be set: the App's JWT carries the time. So the folder is renamed inside the S3 server, where
versions and checksums stay what they are, and the manifests get the new dates.
"""

import json
from datetime import date, datetime, timedelta
from typing import Any

from bench.frugal_s3 import FrugalS3
from embedded.s3 import EmbeddedS3
from github_s3_backup.s3.keys import day_manifest_key, runs_folder

PREFIX = "github-backup"
DAY = timedelta(days=1)
MOMENT = "%Y-%m-%dT%H:%M:%SZ"


def days(s3: EmbeddedS3, bucket: str) -> list[date]:
    """Return the dates that are in the bucket, the oldest first."""
    answer = s3.client().list_objects_v2(Bucket=bucket, Prefix=f"{PREFIX}/", Delimiter="/")
    return sorted(date.fromisoformat(found["Prefix"].split("/")[1]) for found in answer.get("CommonPrefixes", []))


def run_keys(s3: EmbeddedS3, bucket: str, day: date) -> list[str]:
    """Return the keys of the manifests of a day's runs, the oldest first."""
    answer = s3.client().list_objects_v2(Bucket=bucket, Prefix=runs_folder(PREFIX, str(day)))
    return sorted(found["Key"] for found in answer["Contents"])


def newest_manifest(s3: EmbeddedS3, bucket: str) -> dict[str, Any]:
    """Return the manifest of the newest run."""
    return read(s3, bucket, run_keys(s3, bucket, days(s3, bucket)[-1])[-1])


def read(s3: EmbeddedS3, bucket: str, key: str) -> dict[str, Any]:
    manifest: dict[str, Any] = json.loads(s3.client().get_object(Bucket=bucket, Key=key)["Body"].read())
    return manifest


def a_day_passes(s3: FrugalS3, bucket: str) -> None:
    """Make every date in the bucket the one before."""
    for day in days(s3, bucket):  # the oldest first: each goes to where the one before it was
        before = day - DAY
        s3.rename(bucket, f"{PREFIX}/{day}/", f"{PREFIX}/{before}/")
        for key in [*run_keys(s3, bucket, before), day_manifest_key(PREFIX, str(before))]:
            body = json.dumps(a_day_older(read(s3, bucket, key)), indent=2).encode()
            s3.client().put_object(Bucket=bucket, Key=key, Body=body, ContentType="application/json")


def a_day_older(manifest: dict[str, Any]) -> dict[str, Any]:
    """Return the manifest as it would have been on the day before."""
    older: dict[str, Any] = _a_day_older(manifest)
    return older


def _a_day_older(value: Any, name: str = "") -> Any:
    """Return a part of a manifest: every date in it is the one before."""
    if isinstance(value, list):
        return [_a_day_older(item) for item in value]
    if isinstance(value, dict):
        return {key: _a_day_older(item, key) for key, item in value.items()}
    if value is None:
        return None
    if name in ("started_at", "finished_at", "backed_up_at"):
        return (datetime.strptime(value, MOMENT) - DAY).strftime(MOMENT)
    if name == "date":
        return str(date.fromisoformat(value) - DAY)
    if name == "s3_key":
        prefix, day, *rest = value.split("/")
        return "/".join([prefix, str(date.fromisoformat(day) - DAY), *rest])
    return value
