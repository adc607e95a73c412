"""The last complete backup: what it holds, and what must be cloned even if it did not change."""

from collections.abc import Collection, Iterable
from datetime import date

from github_s3_backup.records.content import Kind
from github_s3_backup.records.json_fields import parse_moment
from github_s3_backup.records.manifest import Entry, Failure, Manifest


class LastBackup:
    """What the last backup holds of some repositories, and which of its bundles today's manifest may refer to."""

    def __init__(
        self, entries: Iterable[Entry], failures: Iterable[Failure], today: date, full_backup_days: int
    ) -> None:
        self._entries = {entry.id: entry for entry in entries if entry.status != "gone"}
        self._failures = tuple(failures)
        self._failed = {failure.partial.id: failure for failure in self._failures if failure.partial}
        self._today, self._days = today, full_backup_days

    def holding(self, entries: Iterable[Entry], failures: Iterable[Failure]) -> "LastBackup":
        """Return a backup that holds this."""
        return LastBackup(entries, failures, self._today, self._days)

    def with_older(self, entries: Iterable[Entry]) -> "LastBackup":
        """Return the same backup, with older entries of what it failed to store."""
        return self.holding((*entries, *self.entries), self._failures)

    def of(self, repository_ids: Collection[int]) -> tuple[tuple[Entry, ...], tuple[Failure, ...]]:
        """Return what it holds of these repositories, and what it failed to store of them."""
        entries = tuple(entry for number, entry in self._entries.items() if number in repository_ids)
        return entries, tuple(failure for number, failure in self._failed.items() if number in repository_ids)

    @property
    def entries(self) -> Collection[Entry]:
        """What it holds of each repository, those left out that were gone."""
        return self._entries.values()

    def named(self) -> list[Entry | Failure]:
        """Return every repository that it names: what it holds, and what it failed to store."""
        return [*self.entries, *(f for f in self._failures if f.id is not None and f.id not in self._entries)]

    def entry(self, repository_id: int) -> Entry | None:
        """Return what it holds of the repository."""
        return self._entries.get(repository_id)

    def stored(self, repository_id: int) -> Entry | None:
        """Return what is stored of the repository, also where it failed in part."""
        failure = self._failed.get(repository_id)
        return failure.partial if failure else self._entries.get(repository_id)

    def lacks(self, entry: Entry, kind: Kind) -> bool:
        """Return whether it is what was stored of a repository of which this part failed."""
        failure = self._failed.get(entry.id)
        return failure is not None and failure.partial is entry and kind in failure.not_stored

    def must_be_cloned(self, entry: Entry) -> bool:
        """Return whether the repository is due to be cloned even if it did not change."""
        return entry.s3_key is not None and self.is_due(entry.backed_up_at, entry.id)

    def is_due(self, made_at: str, repository_id: int) -> bool:
        """Return whether what was made then of a repository is due to be made afresh."""
        return is_due(made_at, repository_id, self._today, self._days)


def last_backup_of(manifest: Manifest | None, today: date, full_backup_days: int) -> LastBackup:
    """Return what a manifest says, or that there was no backup."""
    entries, failures = (manifest.entries, manifest.failures) if manifest else ((), ())
    return LastBackup(entries, failures, today, full_backup_days)


def is_due(made_at: str, repository_id: int, today: date, full_backup_days: int) -> bool:
    """Return whether what was made then of a repository is due to be made afresh, even if it did not change.

    Each has its day in every `full_backup_days`, given by its id, so that the days share the work. No bundle is
    referred to for longer than that: S3 expires it so many days after the retention.
    """
    age = (today - parse_moment(made_at).date()).days
    if full_backup_days == 1 or not 0 <= age < full_backup_days:
        return True
    return age > 0 and (today.toordinal() + repository_id) % full_backup_days == 0
