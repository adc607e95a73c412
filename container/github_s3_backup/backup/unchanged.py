"""Finds repositories that did not change since the last complete backup: same refs, and their bundle is in S3."""

from collections.abc import Iterable
from datetime import date
from typing import TYPE_CHECKING

import msgspec
from structlog.typing import FilteringBoundLogger

from github_s3_backup.git.refs import Refs, refs_sha256, summarize
from github_s3_backup.git.served_refs import ServedRefsError
from github_s3_backup.github.client import GitHub
from github_s3_backup.github.rest import GitHubError
from github_s3_backup.manifest import Entry, Failure, Manifest, StoredObject, new_entry, parse_moment
from github_s3_backup.repository import Repository
from github_s3_backup.s3.archive import Archive, ArchiveError

if TYPE_CHECKING:
    from github_s3_backup.backup.services import Services


class LastBackup:
    """What the newest complete manifest says, and which of its bundles today's manifest may refer to."""

    def __init__(
        self, manifest: Manifest | None, today: date, full_backup_days: int, older: Iterable[Entry] = ()
    ) -> None:
        self.manifest, self._today, self._days = manifest, today, full_backup_days
        entries = (*older, *(manifest.entries if manifest else ()))
        self._entries = {entry.id: entry for entry in entries if entry.status != "gone"}

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
        """Return what is known of the repository."""
        return self._entries.get(repository_id)

    def must_be_cloned(self, entry: Entry) -> bool:
        """Return whether the repository is due to be cloned even if it did not change."""
        return entry.s3_key is not None and is_due(entry, self._today, self._days)

    def size(self, repository_id: int) -> int:
        """Return the bytes of the repository's last bundle, 0 where there is none."""
        entry = self.entry(repository_id)
        return entry.size_bytes if entry else 0


def is_due(entry: Entry, today: date, full_backup_days: int) -> bool:
    """Return whether a repository is due to be cloned even if it did not change.

    Each has its day in every `full_backup_days`, given by its id, so that the days share the work. No bundle is
    referred to for longer than that: S3 expires it so many days after the retention.
    """
    age = (today - parse_moment(entry.backed_up_at).date()).days
    if full_backup_days == 1 or not 0 <= age < full_backup_days:
        return True
    return age > 0 and (today.toordinal() + entry.id) % full_backup_days == 0


def check_unchanged(listed: Repository, services: "Services") -> Entry | None:
    """Return the entry of a repository that did not change, None for one that must be cloned.

    If GitHub's answer or the object in S3 is unexpected, that is logged, and the repository is cloned. So is one that
    had refs and now has none: the clone asks twice more.
    """
    known, log = services.last_backup.entry(listed.id), services.context.log
    if known is None:
        return None
    # Asked first, and of every repository: the answer also tells whether the replica has the bundle.
    is_stored = known.object is None or _is_stored(known.object, services.archive, log)
    if not is_stored or services.last_backup.must_be_cloned(known):
        return None
    refs = _served_refs(listed, services.github, log)
    if not refs and refs is not None and known.object is None:
        return new_entry(listed, "empty", None, None, 0.0)
    if not refs or refs_sha256(refs) != known.refs_sha256:
        return None
    return _unchanged_entry(listed, known, refs)


def _served_refs(repository: Repository, github: GitHub, log: FilteringBoundLogger) -> Refs | None:
    """Return the refs that GitHub serves, None if they are not available."""
    tokens = github.tokens(repository.installation_id)
    try:
        return tokens.with_token(lambda token: github.served_refs(repository, token))
    except (GitHubError, ServedRefsError) as error:
        log.warning("refs not available, cloning", error=str(error))
        return None


def _is_stored(stored: StoredObject, archive: Archive, log: FilteringBoundLogger) -> bool:
    """Return whether S3 holds the bundle that the last manifest names."""
    try:
        archive.check(stored)
    except ArchiveError as error:
        log.warning("last bundle not usable, cloning", error=str(error))
        return False
    return True


def _unchanged_entry(listed: Repository, known: Entry, refs: Refs) -> Entry:
    """Return the entry that refers to the last bundle, under the repository's present name."""
    entry = new_entry(listed, "unchanged", known.object, summarize(refs, listed.default_branch), 0.0)
    return msgspec.structs.replace(entry, backed_up_at=known.backed_up_at)
