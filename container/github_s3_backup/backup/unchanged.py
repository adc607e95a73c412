"""Finds repositories that did not change since the last complete backup: same refs, and their bundle is in S3."""

import msgspec
from structlog.typing import FilteringBoundLogger

from github_s3_backup.backup.services import Services
from github_s3_backup.git.refs import Refs, refs_sha256, summarize
from github_s3_backup.git.served_refs import ServedRefsError
from github_s3_backup.github.client import GitHub
from github_s3_backup.github.rest import GitHubError
from github_s3_backup.manifest import Entry, new_entry
from github_s3_backup.repository import Repository
from github_s3_backup.s3.archive import Archive, ArchiveError
from github_s3_backup.stored_object import StoredObject


def check_unchanged(listed: Repository, services: Services) -> Entry | None:
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
