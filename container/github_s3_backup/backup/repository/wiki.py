"""The wiki of a repository: a repository of its own, which exists only once somebody has written its first page."""

import msgspec

from github_s3_backup.backup.repository.clone_and_upload import store
from github_s3_backup.backup.repository.git_data import GitData
from github_s3_backup.backup.repository.unchanged import are_stored, served_refs, unchanged_data
from github_s3_backup.backup.services import Services
from github_s3_backup.git.served_refs import ServedRefs
from github_s3_backup.github.client import RepositoryGoneError
from github_s3_backup.github.rest import GitHubError
from github_s3_backup.github.tokens import TokenError
from github_s3_backup.records.manifest import Entry
from github_s3_backup.repository import WIKI_SUFFIX, Repository


def back_up_wiki(data: GitData, last: Entry | None, services: Services) -> Entry | None:
    """Return the wiki's entry, None where there is none. Raises what EXPECTED_ERRORS names."""
    known = last.wiki if last else None
    if not data.repository.has_wiki:
        _log_gone(known, services)
        return None
    wiki = data.repository.wiki
    if known:
        wiki = wiki.with_default_branch(known.default_branch)
    try:
        served = served_refs(wiki, services)
        unchanged = _unchanged(wiki, known, served, services) if served else None
        entry = (unchanged or store(wiki, known.size_bytes if known else 0, services)).entry
        return wiki_of(data.entry, entry)  # it may have been renamed a moment ago
    except RepositoryGoneError:
        pass
    except GitHubError as error:
        if error.status != 404 or isinstance(error, TokenError):
            raise
    _log_gone(known, services)
    return None


def wiki_of(entry: Entry, wiki: Entry) -> Entry:
    """Return a wiki's entry under the name of its repository."""
    name = f"{entry.name}{WIKI_SUFFIX}"
    return msgspec.structs.replace(wiki, full_name=f"{entry.owner}/{name}", owner=entry.owner, name=name)


def _unchanged(wiki: Repository, known: Entry | None, served: ServedRefs, services: Services) -> GitData | None:
    if known is None or services.last_backup.must_be_cloned(known) or not are_stored(known, services):
        return None
    return unchanged_data(wiki, known, served)


def _log_gone(known: Entry | None, services: Services) -> None:
    if known:
        services.context.log.warning("wiki is gone", last_backup=known.s3_key)
