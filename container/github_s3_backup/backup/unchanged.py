"""Repositories that did not change since the last complete backup: told by their refs, carried over by a copy."""

from dataclasses import replace
from datetime import UTC, date, datetime

from structlog.typing import FilteringBoundLogger

from github_s3_backup.git.process import Refs, fingerprint
from github_s3_backup.git.served_refs import ServedRefsError
from github_s3_backup.github.app import GitHub
from github_s3_backup.github.rest import GitHubError
from github_s3_backup.manifest import Entry, Manifest, entry
from github_s3_backup.repository import Repository
from github_s3_backup.s3.archive import Archive, ArchiveError, StoredObject


class LastBackup:
    """What the newest complete manifest says, and which of it may be carried over today."""

    def __init__(self, manifest: Manifest | None, today: date, full_backup_days: int) -> None:
        self._today, self._days = today, full_backup_days
        entries = manifest.entries if manifest else ()
        self._entries = {one.id: one for one in entries if one.status != "gone"}

    def of(self, repository: Repository) -> Entry | None:
        """Return what is known of the repository, None where it must be cloned whatever its refs are."""
        known = self._entries.get(repository.id)
        if known is None or (known.s3_key and is_due(known, self._today, self._days)):
            return None
        return known

    def size_of(self, repository: Repository) -> int:
        """Return the bytes of the repository's last bundle, 0 where there is none."""
        known = self._entries.get(repository.id)
        return known.size_bytes if known else 0


def is_due(known: Entry, today: date, full_backup_days: int) -> bool:
    """Return whether a repository is to be cloned though it may not have changed.

    Each has its day in every `full_backup_days`, told by its id, so that the days share the work; and none
    is carried over for longer than that.
    """
    try:
        age = (today - datetime.fromisoformat(known.backed_up_at).astimezone(UTC).date()).days
    except (ValueError, TypeError):
        return True
    if full_backup_days == 1 or not 0 <= age < full_backup_days:
        return True
    return age > 0 and (today.toordinal() + known.id) % full_backup_days == 0


def carry_over(
    listed: Repository, known: Entry, github: GitHub, archive: Archive, log: FilteringBoundLogger
) -> Entry | None:
    """Return today's entry of a repository that did not change, None for one that is to be cloned.

    Whatever is not as it should be (an answer, an object in S3) is said and left to the clone. So is what had refs
    and now has none: the clone asks twice more.
    """
    try:
        refs = ask_for_refs(listed, github)
    except (GitHubError, ServedRefsError) as error:
        log.warning("refs not told, cloning", error=str(error))
        return None
    if not refs and not known.s3_key:
        return entry(listed, "empty", None, 0.0)
    if fingerprint(refs) != known.refs_sha256:
        return None
    try:
        return unchanged(listed, known, refs, archive.copy_bundle(listed, known))
    except ArchiveError as error:
        log.warning("last bundle not copied, cloning", error=str(error))
        return None


def ask_for_refs(repository: Repository, github: GitHub) -> Refs:
    """Return what the git server serves; a rejected token is replaced once. Raises GitHubError and ServedRefsError."""
    tokens = github.tokens(repository.installation_id)
    token = tokens.token()
    try:
        return github.served_refs(repository, token)
    except GitHubError as error:
        if error.status != 401:
            raise
        return github.served_refs(repository, tokens.replace(token))


def unchanged(listed: Repository, known: Entry, refs: Refs, copied: StoredObject) -> Entry:
    """Return the entry of a bundle that was carried over: made when it was made, named as the repository is today."""
    sha = refs.get(f"refs/heads/{listed.default_branch}".encode())
    return replace(
        entry(listed, "unchanged", None, 0.0),
        sha=sha.decode() if sha else None,
        s3_key=copied.key,
        version_id=copied.version_id,
        s3_checksum_sha256=copied.checksum,
        size_bytes=known.size_bytes,
        sha256=known.sha256,
        ref_count=known.ref_count,
        refs_sha256=known.refs_sha256,
        backed_up_at=known.backed_up_at,
    )
