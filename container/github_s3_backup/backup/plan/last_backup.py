"""The last complete backup: what it holds, and what must be cloned even if it did not change."""

from collections.abc import Collection, Iterable
from datetime import date

from github_s3_backup.records.content import Kind
from github_s3_backup.records.entry import Entry, Failure
from github_s3_backup.records.json_fields import parse_moment
from github_s3_backup.records.manifest import Manifest


class LastBackup:
    """What the last backup holds of some repositories, and which of its bundles today's manifest may refer to.

    `entries`: the last good entry of each repository, also of one that failed. `failures`: what failed in that run.
    """

    def __init__(
        self, entries: Iterable[Entry], failures: Iterable[Failure], today: date, full_backup_days: int
    ) -> None:
        self._entries = {entry.id: entry for entry in entries if entry.status != "gone"}
        self._failures = {int(failure.id): failure for failure in failures if failure.id is not None}
        self._today, self._days = today, full_backup_days

    def of(self, repository_ids: Collection[int]) -> tuple[tuple[Entry, ...], tuple[Failure, ...]]:
        """Return what it holds of these repositories, and what it failed to store of them."""
        entries = tuple(entry for number, entry in self._entries.items() if number in repository_ids)
        return entries, tuple(failure for number, failure in self._failures.items() if number in repository_ids)

    def named(self) -> list[Entry | Failure]:
        """Return every repository that it names: what is stored of it, or that nothing is."""
        named = dict[int, Entry | Failure](self._failures) | self._entries
        return list((named | {n: failure.partial for n, failure in self._failures.items() if failure.partial}).values())

    def failed(self, repository_id: int) -> bool:
        """Return whether the repository, or a part of it, was not stored."""
        return repository_id in self._failures

    def stored(self, repository_id: int) -> Entry | None:
        """Return what is stored of the repository, also where it failed in part."""
        failure = self._failures.get(repository_id)
        return (failure and failure.partial) or self._entries.get(repository_id)

    def timed_out(self, repository_id: int) -> bool:
        """Return whether it took too long to store the repository."""
        failure = self._failures.get(repository_id)
        return failure is not None and failure.timed_out

    def lacks(self, entry: Entry, kind: Kind) -> bool:
        """Return whether it is what was stored of a repository of which this part failed."""
        failure = self._failures.get(entry.id)
        return failure is not None and failure.partial is entry and kind in failure.not_stored

    def must_be_cloned(self, entry: Entry) -> bool:
        """Return whether the repository is due to be cloned even if it did not change: its full bundle is old."""
        return entry.full is not None and self.is_due(entry.full.backed_up_at, entry.id)

    def is_due(self, made_at: str, repository_id: int) -> bool:
        """Return whether a repository is due for a new full backup."""
        return is_due(made_at, repository_id, self._today, self._days)


def last_backup_of(manifest: Manifest | None, today: date, full_backup_days: int) -> LastBackup:
    """Return what a manifest says, or that there was no backup."""
    if manifest is None:
        return LastBackup((), (), today, full_backup_days)
    return LastBackup((*manifest.last_good, *manifest.entries), manifest.failures, today, full_backup_days)


def is_due(made_at: str, repository_id: int, today: date, full_backup_days: int) -> bool:
    """Return whether a repository is due for a new full backup, even if it did not change.

    Each has its day in every `full_backup_days`, given by its id, so that the days share the work. No bundle is
    referred to for longer than that: S3 expires it so many days after the retention.
    """
    age = (today - parse_moment(made_at).date()).days
    if full_backup_days == 1 or not 0 <= age < full_backup_days:
        return True
    return age > 0 and (today.toordinal() + repository_id) % full_backup_days == 0
