"""The restore drill: which repositories are proven today, and what is said of it afterwards.

Each drill proves those whose last proof is the oldest, as many as it takes to prove every repository once in
`within_days`, and the largest besides, for its time is the one to reckon with. What was proven when is in the last
report: a drill that fell out is made up for by the next.
"""

import hashlib
import json
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from github_s3_backup.manifest import utc
from github_s3_backup.restore.selection import Chosen, Missing, Selection
from github_s3_backup.restore.verify import Verified
from github_s3_backup.s3.catalogue import DATE, explain

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

REPORT_VERSION = 1


@dataclass(frozen=True)
class History:
    """By the id of a repository: when it was proven last, and since when it waits for the first time."""

    proven: dict[int, datetime] = field(default_factory=dict)
    waiting: dict[int, datetime] = field(default_factory=dict)

    def after(self, seen: Iterable[int], good: Iterable[int], now: datetime) -> "History":
        """Return the history with one more verification. What a later one may know again stays in it."""
        proven = self.proven | dict.fromkeys(good, now)
        waiting = dict.fromkeys(seen, now) | self.waiting
        return History(proven, {number: since for number, since in waiting.items() if number not in proven})


class ReportError(Exception):
    """The report can't be written, or the last one can't be read."""


def sample(
    chosen: tuple[Chosen, ...], history: History, now: datetime, within: timedelta, every: timedelta
) -> list[Chosen]:
    """Return what to prove now, so that with a drill `every` so often each is proven `within` that time."""
    if not chosen:
        return []
    turns = max(1, within // every)
    never = datetime.min.replace(tzinfo=UTC)
    queue = sorted(chosen, key=lambda one: (history.proven.get(one.entry.id, never), _mixed(one)))
    quota = math.ceil(len(queue) / turns)
    # What would be too old before the next drill comes can't wait its turn.
    since = {one.entry.id: now for one in chosen} | history.waiting | history.proven
    late = [one for one in queue[quota:] if since[one.entry.id] + within < now + every]
    largest = max(chosen, key=lambda one: one.entry.size_bytes)
    picked = {one.entry.id: one for one in [*queue[:quota], *late, largest]}
    return list(picked.values())


def _mixed(one: Chosen) -> str:
    """Return what orders repositories that were never proven: old and new, large and small mixed."""
    return hashlib.sha256(str(one.entry.id).encode()).hexdigest()


def new_report(
    bucket: str, selection: Selection, results: list[Verified], started_at: datetime, history: History
) -> dict[str, Any]:
    """Return the report of a verification, as JSON can hold it."""
    now = datetime.now(UTC)
    good = [one for one in results if one.status == "verified"]
    known = history.after((one.entry.id for one in selection.chosen), (one.id for one in good), now)
    newest = selection.manifest.finished_at
    return {
        "schema_version": REPORT_VERSION,
        "command": "verify",
        "bucket": bucket,
        "date": selection.manifest.date,
        "manifest_version": selection.manifest.version_id,
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
        "last_proven": _write(known.proven),
        "waiting_since": _write(known.waiting),
    }


def _write(moments: dict[int, datetime]) -> dict[str, str]:
    return {str(number): utc(moment) for number, moment in sorted(moments.items())}


def _read(moments: dict[str, str]) -> dict[int, datetime]:
    return {int(number): datetime.fromisoformat(moment) for number, moment in moments.items()}


class Reports:
    """The reports of earlier drills under `s3://bucket/prefix/`."""

    def __init__(self, client: "S3Client", bucket: str, prefix: str) -> None:
        self._client, self._bucket, self._prefix = client, bucket, prefix.strip("/")

    def history(self) -> History:
        """Return what the newest report knows of each repository. Raises ReportError."""
        try:
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self._bucket, Prefix=f"{self._prefix}/", Delimiter="/"
            )
            folders = [one["Prefix"].rstrip("/") for page in pages for one in page.get("CommonPrefixes", [])]
            dates = [folder.rpartition("/")[2] for folder in folders if DATE.fullmatch(folder.rpartition("/")[2])]
            if not dates:
                return History()
            body = self._client.get_object(Bucket=self._bucket, Key=self._key(max(dates)))["Body"].read()
            report = json.loads(body)
            return History(_read(report["last_proven"]), _read(report["waiting_since"]))
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
