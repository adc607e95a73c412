"""The last complete backup: what it holds, and what must be cloned even if it did not change."""

from collections.abc import Iterable
from datetime import date

from github_s3_backup.content import Kind
from github_s3_backup.json_fields import parse_moment
from github_s3_backup.manifest import Entry, Failure, Manifest


class LastBackup:
    """What the newest complete manifest says, and which of its bundles today's manifest may refer to."""

    def __init__(
        self, manifest: Manifest | None, today: date, full_backup_days: int, older: Iterable[Entry] = ()
    ) -> None:
        self.manifest, self._today, self._days = manifest, today, full_backup_days
        entries = (*older, *(manifest.entries if manifest else ()))
        self._entries = {entry.id: entry for entry in entries if entry.status != "gone"}
        failures = manifest.failures if manifest else ()
        self._failed = {failure.partial.id: failure for failure in failures if failure.partial}

    def with_older(self, entries: Iterable[Entry]) -> "LastBackup":
        """Return the same backup, with older entries of what it failed to store."""
        return LastBackup(self.manifest, self._today, self._days, entries)

    @property
    def entries(self) -> Iterable[Entry]:
        """What it holds of each repository, those left out that were gone."""
        return self._entries.values()

    def named(self) -> list[Entry | Failure]:
        """Return every repository that it names: what it holds, and what it failed to store."""
        failures = self.manifest.failures if self.manifest else ()
        return [*self.entries, *(f for f in failures if f.id is not None and f.id not in self._entries)]

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


def is_due(made_at: str, repository_id: int, today: date, full_backup_days: int) -> bool:
    """Return whether what was made then of a repository is due to be made afresh, even if it did not change.

    Each has its day in every `full_backup_days`, given by its id, so that the days share the work. No bundle is
    referred to for longer than that: S3 expires it so many days after the retention.
    """
    age = (today - parse_moment(made_at).date()).days
    if full_backup_days == 1 or not 0 <= age < full_backup_days:
        return True
    return age > 0 and (today.toordinal() + repository_id) % full_backup_days == 0
