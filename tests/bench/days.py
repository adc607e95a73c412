"""Letting a day pass in a bucket, so that what was stored today was stored yesterday.

The clock can't be set: the App's JWT carries the time. So the folder is renamed inside the S3 server, where
versions and checksums stay what they are, and the manifest gets the new date.
"""

import json
from datetime import date, datetime, timedelta
from typing import Any

from bench.frugal_s3 import FrugalS3
from embedded.s3 import EmbeddedS3

PREFIX = "github-backup"
DAY = timedelta(days=1)
MOMENT = "%Y-%m-%dT%H:%M:%SZ"


def days(s3: EmbeddedS3, bucket: str) -> list[date]:
    """Return the dates that are in the bucket, the oldest first."""
    answer = s3.client().list_objects_v2(Bucket=bucket, Prefix=f"{PREFIX}/", Delimiter="/")
    return sorted(date.fromisoformat(one["Prefix"].split("/")[1]) for one in answer.get("CommonPrefixes", []))


def a_day_passes(s3: FrugalS3, bucket: str) -> None:
    """Make every date in the bucket the one before."""
    for day in days(s3, bucket):
        s3.rename(bucket, f"{PREFIX}/{day}/", f"{PREFIX}/{day - DAY}/")
        key = f"{PREFIX}/{day - DAY}/manifest.json"
        manifest = json.loads(s3.client().get_object(Bucket=bucket, Key=key)["Body"].read())
        body = json.dumps(dated(manifest, day - DAY), indent=2).encode()
        s3.client().put_object(Bucket=bucket, Key=key, Body=body, ContentType="application/json")


def dated(manifest: dict[str, Any], day: date) -> dict[str, Any]:
    """Return the manifest as it would have been on that day, the one before its own."""
    manifest |= {"date": str(day)}
    for one in [manifest, *manifest["repos"]]:
        for field in {"started_at", "finished_at", "backed_up_at"} & one.keys():
            one[field] = (datetime.strptime(one[field], MOMENT) - DAY).strftime(MOMENT)
        if one.get("s3_key"):
            one["s3_key"] = "/".join([PREFIX, str(day), *one["s3_key"].split("/")[2:]])
    return manifest
