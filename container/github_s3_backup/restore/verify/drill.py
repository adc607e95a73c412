"""The restore drill: which repositories are verified today, and the report about them.

Each drill verifies the repositories whose last verification is the oldest, as many as it takes to verify all of them
within `within`, and always the largest, because its time is the one to plan with. The last report says what was
verified when, so a missed drill is made up for by the next one.
"""

import hashlib
import json
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from github_s3_backup.records.json_fields import utc
from github_s3_backup.repository import WIKI_SUFFIX
from github_s3_backup.restore.selection.records import Selected, Selection, Unavailable
from github_s3_backup.restore.verify.repository import Verified
from github_s3_backup.s3.catalogue import DATE
from github_s3_backup.s3.errors import S3Error
from github_s3_backup.s3.objects import Objects

REPORT_VERSION = 1
# What was proven besides the repositories' own git data.
CONTENT = ("wikis", "lfs_objects", "release_files", "issues", "content_bytes")
NEVER = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True)
class History:
    """By repository id: when it was last verified, or since when it has been waiting for its first verification."""

    proven: dict[int, datetime] = field(default_factory=dict)
    waiting: dict[int, datetime] = field(default_factory=dict)

    def after(self, seen: Iterable[int], good: Iterable[int], now: datetime) -> "History":
        """Return the history after one more drill. Repositories that it did not see are kept."""
        proven = self.proven | dict.fromkeys(good, now)
        waiting = dict.fromkeys(seen, now) | self.waiting
        return History(proven, {number: since for number, since in waiting.items() if number not in proven})


class ReportError(Exception):
    """A report can't be written, or the last one can't be read."""


def sample(
    selected: tuple[Selected, ...], history: History, now: datetime, within: timedelta, every: timedelta
) -> list[Selected]:
    """Return what to verify now.

    `every`: the time between two drills. `within`: the time in which each repository is verified once.
    """
    if not selected:
        return []
    drills = max(1, within // every)
    queue = sorted(selected, key=lambda item: (history.proven.get(item.entry.id, NEVER), _shuffled(item)))
    quota = math.ceil(len(queue) / drills)
    # Those that would be overdue before the next drill can't wait for their turn.
    since = {item.entry.id: now for item in selected} | history.waiting | history.proven
    overdue = [item for item in queue[quota:] if since[item.entry.id] + within < now + every]
    largest = max(selected, key=lambda item: item.size_bytes)
    return list({item.entry.id: item for item in [*queue[:quota], *overdue, largest]}.values())


def _shuffled(item: Selected) -> str:
    """Return the sort key of repositories that were never verified: old and new, large and small ones mixed."""
    return hashlib.sha256(str(item.entry.id).encode()).hexdigest()


@dataclass(frozen=True)
class Outcome:
    """What a verification found: a result for each repository, and what could not be verified."""

    results: list[Verified]
    unavailable: list[Unavailable]


def new_report(
    bucket: str, selection: Selection, outcome: Outcome, started_at: datetime, history: History
) -> dict[str, Any]:
    """Return the report of a verification as JSON holds it."""
    results, unavailable = outcome.results, outcome.unavailable
    now = datetime.now(UTC)
    good = [result for result in results if result.status == "verified"]
    # A wiki alone has the id of its repository, of which it proves nothing.
    seen = (item.entry.id for item in selection.selected if not _is_wiki(item.entry.full_name))
    updated = history.after(seen, (result.id for result in good if not _is_wiki(result.full_name)), now)
    newest = selection.manifest.finished
    return {
        "schema_version": REPORT_VERSION,
        "command": "verify",
        "bucket": bucket,
        "date": selection.manifest.date,
        "run_id": selection.manifest.run_id,
        "started_at": utc(started_at),
        "finished_at": utc(now),
        "duration_seconds": round((now - started_at).total_seconds(), 3),
        "verified": len(good),
        "failed": len(results) - len(good) + len(unavailable),
        "size_bytes": sum(result.size_bytes for result in good),
        **{name: sum(getattr(result, name) for result in results) for name in CONTENT},
        "restore_seconds": max((result.seconds for result in results), default=0.0),
        "newest_backup_finished_at": utc(newest),
        "oldest_proof_seconds": _oldest_proof(selection, updated, now),
        "backup_age_seconds": round((now - newest).total_seconds()),
        "repositories": [asdict(result) for result in sorted(results, key=lambda result: result.full_name)],
        "missing": [asdict(item) for item in unavailable],
        "last_proven": _write_times(updated.proven),
        "waiting_since": _write_times(updated.waiting),
    }


def _oldest_proof(selection: Selection, history: History, now: datetime) -> int:
    """Return the age of the oldest proof; a repository that was never verified counts from when it was first seen."""
    since = history.waiting | history.proven
    times = [since[item.entry.id] for item in selection.selected if item.entry.id in since]
    return round((now - min(times, default=now)).total_seconds())


def _is_wiki(full_name: str) -> bool:
    return full_name.endswith(WIKI_SUFFIX)


def failures(report: dict[str, Any]) -> list[Unavailable]:
    """Return the failures in a report."""
    failed = [result for result in report["repositories"] if result["status"] == "failed"]
    return [
        *(Unavailable(result["full_name"], f"{result['stage']}: {result['error']}") for result in failed),
        *(Unavailable(item["full_name"], item["error"]) for item in report["missing"]),
    ]


def _write_times(times: dict[int, datetime]) -> dict[str, str]:
    return {str(number): utc(time) for number, time in sorted(times.items())}


def _read_times(times: dict[str, str], now: datetime) -> dict[int, datetime]:
    read = {int(number): datetime.fromisoformat(time) for number, time in times.items()}
    return {number: time for number, time in read.items() if time <= now}


class Reports:
    """The reports of earlier drills under `s3://bucket/prefix/`."""

    def __init__(self, objects: Objects, prefix: str) -> None:
        self.objects, self.folder = objects, prefix.strip("/")

    def history(self, now: datetime) -> History:
        """Return what the newest report knows about each repository. Raises ReportError.

        A report or a time of the future was made with a wrong clock, and counts for nothing.
        """
        try:
            dates = [date for date in self._dates() if date <= f"{now:%Y-%m-%d}"]
            if not dates:
                return History()
            report = json.loads(self.objects.get(self._key(max(dates))))
            proven, waiting = (_read_times(report[name], now) for name in ("last_proven", "waiting_since"))
            return History(proven, waiting)
        except S3Error as error:
            raise ReportError(str(error)) from None
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ReportError(f"the last report can't be read: {type(error).__name__} {error}") from None

    def put(self, report: dict[str, Any]) -> str:
        """Write a report and return its URL. Raises ReportError."""
        key = self._key(str(report["started_at"])[:10])
        try:
            self.objects.put_json(key, json.dumps(report, indent=2).encode())
        except S3Error as error:
            raise ReportError(str(error)) from None
        return self.objects.url(key)

    def put_page(self, html: str, date: str) -> str:
        """Write a day's page for auditors and return its URL. Raises ReportError."""
        key = f"{self.folder}/{date}/report.html"
        try:
            self.objects.put(key, html.encode(), "text/html; charset=utf-8")
        except S3Error as error:
            raise ReportError(str(error)) from None
        return self.objects.url(key)

    def _dates(self) -> list[str]:
        names = (folder.rstrip("/").rpartition("/")[2] for folder in self.objects.folders(f"{self.folder}/"))
        return [name for name in names if DATE.fullmatch(name)]

    def _key(self, date: str) -> str:
        return f"{self.folder}/{date}/report.json"
