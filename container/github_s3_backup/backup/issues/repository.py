"""The issues of one repository: what changed since the last backup, merged into the last list."""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import msgspec

from github_s3_backup.backup.issues.table import IssueTable, new_table
from github_s3_backup.backup.repository.unchanged import flaw_of
from github_s3_backup.backup.services import Services
from github_s3_backup.github.issues.reader import DETAILS_AT_ONCE, IssueReader, Listed, Listing, Seen
from github_s3_backup.github.points import Points
from github_s3_backup.records.content import ISSUE_KINDS, IssueCount, IssueKind, IssuesSummary, ListError
from github_s3_backup.records.issue_list import read_lines
from github_s3_backup.records.json_fields import utc
from github_s3_backup.records.stored_object import StoredObject
from github_s3_backup.repository import Repository
from github_s3_backup.s3.errors import S3Error

# The share of an installation's points that is left to others: names are checked with them too.
RESERVE = 0.2
# GitHub's servers may show a change some seconds late.
OVERLAP = timedelta(seconds=60)


def back_up_issues(repository: Repository, seen: Mapping[IssueKind, Seen], services: Services) -> IssuesSummary:
    """Store what changed of the kinds that are `seen`, and return the summary.

    What can't be read within GitHub's budget is left to the next run. Raises GitHubError and UploadError.
    """
    last = _last(repository.id, services)
    if last and all(_is_same(last.count(kind), seen.get(kind)) for kind in ISSUE_KINDS):
        return last
    with tempfile.TemporaryDirectory(dir=services.scratch) as folder, new_table(Path(folder)) as table:
        return _IssuesBackup(repository, last, table, services).run(seen, Path(folder))


def _last(repository_id: int, services: Services) -> IssuesSummary | None:
    """Return the last summary, None where its list can't be used, so that all must be read anew."""
    entry = services.last_backup.stored(repository_id)
    last = entry.issues if entry else None
    if last and last.list and (flaw := flaw_of(last.list, services)):
        services.context.log.warning("last list not usable", error=flaw)
        return None
    if last and not last.waiting and services.last_backup.is_due(last.backed_up_at, repository_id):
        return _to_read_anew(last, services)
    return last


def _to_read_anew(last: IssuesSummary, services: Services) -> IssuesSummary:
    """Return the summary of a list of which nothing counts as read: a comment in it may have been edited since."""
    counts = {
        kind: msgspec.structs.replace(count, updated_at=None, complete=False)
        for kind in ISSUE_KINDS
        if (count := last.count(kind))
    }
    return msgspec.structs.replace(last, backed_up_at=utc(services.context.started_at), **counts)


def _is_same(count: IssueCount | None, seen: Seen | None) -> bool:
    """Return whether everything that GitHub has of a kind is stored."""
    if count is None or seen is None:
        return count is None and seen is None
    return count.complete and (count.total, count.updated_at) == (seen.total, seen.updated_at)


def nothing_read(seen: Mapping[IssueKind, Seen], services: Services) -> IssuesSummary:
    """Return the summary of a repository of which nothing is stored yet."""
    counts = {
        kind: IssueCount(total=seen[kind].total, stored=0, updated_at=None, complete=False) if kind in seen else None
        for kind in ISSUE_KINDS
    }
    return IssuesSummary(backed_up_at=utc(services.context.started_at), list=None, **counts)


class _IssuesBackup:
    """The backup of one repository's issues. `last`: what is in the table from the last backup."""

    def __init__(
        self, repository: Repository, last: IssuesSummary | None, table: IssueTable, services: Services
    ) -> None:
        self._repository, self._last, self._table, self._services = repository, last, table, services
        self._to = services.github.access(repository.installation_id)

    def run(self, seen: Mapping[IssueKind, Seen], folder: Path) -> IssuesSummary:
        self._load(folder / "last")
        counts: dict[IssueKind, IssueCount | None] = {}
        for kind in ISSUE_KINDS:
            if kind not in seen:
                self._table.remove(self._table.updates(kind))
            counts[kind] = self._count(kind, seen[kind]) if kind in seen else None
        now = utc(self._services.context.started_at)
        made_at = self._last.backed_up_at if self._last else now
        stored = self._list(made_at == now, folder / "today")
        return IssuesSummary(backed_up_at=made_at, list=stored, **counts)

    def _load(self, path: Path) -> None:
        """Take over the last list. One that can't be read is no reason to fail: all of it is read anew."""
        if self._last is None or self._last.list is None:
            return
        try:
            self._services.archive.download(self._last.list, path)
            self._table.load(read_lines(path))
        except (S3Error, ListError) as error:
            self._services.context.log.warning("last list not usable", error=str(error))
            self._table.clear()
            self._last = None

    def _count(self, kind: IssueKind, seen: Seen) -> IssueCount:
        """Take in what changed of a kind, and return how far that went."""
        last = self._last.count(kind) if self._last else None
        if last and _is_same(last, seen):
            return last
        if seen.total == 0:
            self._table.remove(self._table.updates(kind))
            return IssueCount(total=0, stored=0, updated_at=None, complete=True)
        reader = IssueReader(self._to, self._repository.node_id, kind)
        reading = _Reading(kind, reader, self._table, self._services, self._to.points)
        return reading.run(last, seen)

    def _list(self, is_anew: bool, path: Path) -> StoredObject | None:
        """Return the list of today: the last one, where it says the same and is not too old to be named again."""
        if not any(self._table.updates(kind) for kind in ISSUE_KINDS):
            return None
        if self._last and self._last.list and not self._table.changed and not is_anew:
            return self._last.list
        self._table.write(path)
        return self._services.archive.put_issue_list(self._repository.full_name, path)


@dataclass(frozen=True)
class _Reading:
    """Takes what GitHub has of one kind into the table, the oldest change first, as far as the budget goes."""

    kind: IssueKind
    reader: IssueReader
    table: IssueTable
    services: Services
    points: Points

    def run(self, last: IssueCount | None, seen: Seen) -> IssueCount:
        since = last.updated_at if last else None
        if not self._may_ask():
            return last or IssueCount(total=seen.total, stored=0, updated_at=None, complete=False)
        listing = self.reader.listing(_before(since) if since else None)
        until = self._take_in(listing.items) or since
        is_done = not listing.items or until == listing.items[-1].updated_at
        if is_done and (since is None or len(self.table.updates(self.kind)) != listing.total):
            is_done = self._compare(listing if since is None else self.reader.listing(None))
        return IssueCount(
            total=listing.total,
            stored=len(self.table.updates(self.kind)),
            updated_at=until if listing.items or not is_done else seen.updated_at,
            complete=is_done,
        )

    def _compare(self, listing: Listing) -> bool:
        """Leave out what GitHub no longer lists, and take in what is missing all the same. Return whether all is."""
        stored = self.table.updates(self.kind)
        self.table.remove(stored.keys() - {item.number for item in listing.items})
        missing = [item for item in listing.items if stored.get(item.number) != item.updated_at]
        until = self._take_in(missing)
        return not missing or until == missing[-1].updated_at

    def _take_in(self, items: Sequence[Listed]) -> str | None:
        """Read these, and return when the last one changed that was read; None where there was nothing to read."""
        until = None
        for start in range(0, len(items), DETAILS_AT_ONCE):
            batch = items[start : start + DETAILS_AT_ONCE]
            if not self._may_ask():
                break
            for node in self.reader.details([item.node_id for item in batch]):
                self.table.put(self.kind, node)
            until = batch[-1].updated_at
        return until

    def _may_ask(self) -> bool:
        self.services.context.stop.check()
        return self.points.share_left > RESERVE


def _before(moment: str) -> str:
    """Return a moment, as GitHub writes it, that is so much earlier that nothing is missed."""
    return utc(datetime.fromisoformat(moment) - OVERLAP)
