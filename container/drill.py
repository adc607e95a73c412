"""The restore drill: which repositories are proven today, and what is said of it afterwards.

Each drill proves those whose last proof is the oldest, as many as it takes to prove every repository once in
`within_days`, and the largest besides, for its time is the one to reckon with. What was proven when is in the last
report: a drill that fell out is made up for by the next.
"""

import hashlib
import json
import math
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from catalogue import DATE, explain
from manifest import utc
from selection import Chosen, Missing, Selection
from verify import Verified

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

REPORT_VERSION = 1
# By the id of a repository, when it was proven last.
Proven = dict[int, datetime]


class ReportError(Exception):
    """The report can't be written, or the last one can't be read."""


def sample(
    chosen: tuple[Chosen, ...], proven: Proven, now: datetime, within: timedelta, every: timedelta
) -> list[Chosen]:
    """Return what to prove now, so that with a drill `every` so often each is proven `within` that time."""
    if not chosen:
        return []
    turns = max(1, within // every)
    queue = sorted(chosen, key=lambda one: (proven.get(one.entry.id, datetime.min.replace(tzinfo=UTC)), _mixed(one)))
    quota = math.ceil(len(queue) / turns)
    # What would be too old before the next drill comes can't wait its turn.
    late = [one for one in queue[quota:] if one.entry.id in proven and proven[one.entry.id] + within < now + every]
    largest = max(chosen, key=lambda one: one.entry.size_bytes)
    picked = {one.entry.id: one for one in [*queue[:quota], *late, largest]}
    return list(picked.values())


def _mixed(one: Chosen) -> str:
    """Return what orders repositories that were never proven: old and new, large and small mixed."""
    return hashlib.sha256(str(one.entry.id).encode()).hexdigest()


def new_report(
    bucket: str, selection: Selection, results: list[Verified], started_at: datetime, proven: Proven
) -> dict[str, Any]:
    """Return the report of a verification, as JSON can hold it."""
    now = datetime.now(UTC)
    good = [one for one in results if one.status == "verified"]
    last = {chosen.entry.id: proven[chosen.entry.id] for chosen in selection.chosen if chosen.entry.id in proven}
    last |= {one.id: now for one in good}
    newest = selection.manifest.finished_at
    return {
        "schema_version": REPORT_VERSION,
        "command": "verify",
        "bucket": bucket,
        "date": selection.manifest.date,
        "started_at": utc(started_at),
        "finished_at": utc(now),
        "duration_seconds": round((now - started_at).total_seconds(), 3),
        "verified": len(good),
        "failed": len(results) - len(good) + len(selection.missing),
        "size_bytes": sum(one.size_bytes for one in good),
        "restore_seconds": max((one.seconds for one in results), default=0.0),
        "newest_backup_finished_at": utc(newest),
        "backup_age_seconds": round((now - newest).total_seconds()),
        "repositories": [asdict(one) for one in sorted(results, key=lambda one: one.full_name)],
        "missing": [asdict(one) for one in selection.missing],
        "last_proven": {str(number): utc(moment) for number, moment in sorted(last.items())},
    }


class Reports:
    """The reports of earlier drills under `s3://bucket/prefix/`."""

    def __init__(self, client: "S3Client", bucket: str, prefix: str) -> None:
        self._client, self._bucket, self._prefix = client, bucket, prefix.strip("/")

    def proven(self) -> Proven:
        """Return when each repository was proven last, as the newest report says. Raises ReportError."""
        try:
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self._bucket, Prefix=f"{self._prefix}/", Delimiter="/"
            )
            folders = [one["Prefix"].rstrip("/") for page in pages for one in page.get("CommonPrefixes", [])]
            dates = [folder.rpartition("/")[2] for folder in folders if DATE.fullmatch(folder.rpartition("/")[2])]
            if not dates:
                return {}
            body = self._client.get_object(Bucket=self._bucket, Key=self._key(max(dates)))["Body"].read()
            last = json.loads(body)["last_proven"]
            return {int(number): datetime.fromisoformat(moment) for number, moment in last.items()}
        except (ClientError, BotoCoreError) as error:
            raise ReportError(explain(error, f"s3://{self._bucket}/{self._prefix}/")) from None
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ReportError(f"the last report can't be read: {type(error).__name__} {error}") from None

    def put(self, report: dict[str, Any]) -> str:
        """Write a report and return its URL. Raises ReportError."""
        key = self._key(str(report["started_at"])[:10])
        url = f"s3://{self._bucket}/{key}"
        try:
            self._client.put_object(
                Bucket=self._bucket,
                Key=key,
                Body=json.dumps(report, indent=2).encode(),
                ContentType="application/json",
                ChecksumAlgorithm="SHA256",
            )
        except (ClientError, BotoCoreError) as error:
            raise ReportError(explain(error, url)) from None
        return url

    def _key(self, date: str) -> str:
        return f"{self._prefix}/{date}/report.json"


def failures(report: dict[str, Any]) -> list[Missing]:
    """Return what a report holds that is not as it should be."""
    failed = [one for one in report["repositories"] if one["status"] == "failed"]
    found = [Missing(one["full_name"], f"{one['stage']}: {one['error']}") for one in failed]
    return found + [Missing(one["full_name"], one["error"]) for one in report["missing"]]
