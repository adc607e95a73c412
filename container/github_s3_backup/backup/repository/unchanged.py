"""Finds repositories that did not change since the last complete backup: same refs, and their bundle is in S3."""

import msgspec

from github_s3_backup.backup.repository.git_data import GitData
from github_s3_backup.backup.services import Services
from github_s3_backup.git.refs import Refs, default_branch, refs_sha256, summarize
from github_s3_backup.git.served_refs import ServedRefs, ServedRefsError
from github_s3_backup.github.client import RenamedError
from github_s3_backup.github.transport.rest import GitHubError
from github_s3_backup.records.entry import Entry, new_entry
from github_s3_backup.records.stored_object import StoredObject
from github_s3_backup.repository import Repository
from github_s3_backup.s3.content_store import MAX_LIST_DAYS
from github_s3_backup.s3.errors import S3Error
from github_s3_backup.s3.keys import day_of

# What GitHub answers where somebody has switched Git LFS off. Any other refusal may be over tomorrow.
LFS_DISABLED = "Git LFS is disabled for this repository"


def current_refs(listed: Repository, known: Entry, services: Services) -> ServedRefs | None:
    """Return the refs that GitHub serves, None where the repository must be cloned whatever they are.

    `known`: what the last backup holds of it. If GitHub's answer or an object in S3 is unexpected, that is logged.
    """
    # Asked first, and of every repository: the answer also tells whether the replica has the bundle.
    if not are_stored(known, services) or services.last_backup.must_be_cloned(known) or _lacks_lfs(known, services):
        return None
    try:
        return served_refs(listed, services)
    except GitHubError as error:
        services.context.log.warning("refs not available, cloning", error=str(error))
        return None


def unchanged_data(listed: Repository, known: Entry, served: ServedRefs) -> GitData | None:
    """Return the git data where these refs are those of the last backup, else None.

    None too where it had refs and now has none: a clone asks twice more.
    """
    refs = served.refs
    if not refs and known.object is None:
        return GitData(listed, new_entry(listed, "empty", None, None, 0.0), known=known)
    if not refs or refs_sha256(refs) != known.refs_sha256:
        return None
    # The listing may name a branch that is no longer the default one.
    listed = listed.with_default_branch(default_branch(refs, served.head, listed.default_branch))
    return GitData(listed, _unchanged_entry(listed, known, refs), refs, known=known)


def are_stored(known: Entry, services: Services) -> bool:
    """Return whether S3 holds the bundles, and the list of LFS objects, that today's entry would refer to."""
    lists = [known.lfs.list] if known.lfs else []
    return all(_is_stored(stored, services) for stored in (*known.bundles, *lists) if stored)


def _lacks_lfs(known: Entry, services: Services) -> bool:
    """Return whether the last backup did not store all LFS objects that it could, and this one is to."""
    if "lfs" not in services.content.wanted or any(LFS_DISABLED in refusal.error for refusal in known.not_read):
        return False
    return known.lfs is None or services.last_backup.lacks(known, "lfs")


def served_refs(repository: Repository, services: Services) -> ServedRefs | None:
    """Return the refs that GitHub serves, None where its answer tells nothing of them. Raises GitHubError."""
    github = services.github
    tokens = github.access(repository.installation_id).tokens
    try:
        return tokens.with_token(lambda token: github.served_refs(repository, token))
    except (ServedRefsError, RenamedError) as error:
        services.context.log.warning("refs not available, cloning", error=str(error))
        return None


def _is_stored(stored: StoredObject, services: Services) -> bool:
    """Return whether S3 holds an object that the last manifest names."""
    flaw = flaw_of(stored, services)
    if flaw:
        services.context.log.warning("last bundle not usable, cloning", error=flaw)
    return flaw is None


def flaw_of(stored: StoredObject, services: Services) -> str | None:
    """Return why today's manifest can't refer to an object; not known is reason enough to store it again."""
    try:
        return services.archive.flaw(stored)
    except S3Error as error:
        return str(error)


def may_be_named(stored: StoredObject | None, services: Services) -> bool:
    """Return whether a manifest of today may name what was stored then: S3 may expire what is older."""
    if stored is None:
        return True
    age = services.context.started_at.date() - day_of(stored.key)
    return age.days <= MAX_LIST_DAYS


def _unchanged_entry(listed: Repository, known: Entry, refs: Refs) -> Entry:
    """Return the entry that refers to the last bundles, under the repository's present name."""
    entry = new_entry(listed, "unchanged", known.object, summarize(refs, listed.default_branch), 0.0)
    last = {"backed_up_at": known.backed_up_at, "base": known.base, "objects": known.objects}
    return msgspec.structs.replace(entry, **last)
