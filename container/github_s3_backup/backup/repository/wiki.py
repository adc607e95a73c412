"""The wiki of a repository: a repository of its own, which exists only once somebody has written its first page."""

from concurrent.futures import Future

import msgspec

from github_s3_backup.backup.repository.changes import store_what_changed
from github_s3_backup.backup.repository.git_data import GitData
from github_s3_backup.backup.repository.unchanged import are_stored, served_refs
from github_s3_backup.backup.services import Services
from github_s3_backup.git.served_refs import ServedRefs
from github_s3_backup.github.client import RepositoryGoneError
from github_s3_backup.github.tokens import TokenError
from github_s3_backup.github.transport.rest import GitHubError
from github_s3_backup.records.entry import Entry
from github_s3_backup.repository import WIKI_SUFFIX, Repository
from github_s3_backup.runtime.threads import in_background


def ask_about_wiki(listed: Repository, last: Entry | None, services: Services) -> "Future[ServedRefs | None] | None":
    """Ask for the refs of a wiki while its repository is asked for its own; None where that need not be known yet."""
    if last is None or not listed.has_wiki or "wiki" not in services.content.wanted:
        return None
    return in_background(lambda: served_refs(listed.wiki, services))


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
        served = data.wiki_refs.result() if data.wiki_refs else served_refs(wiki, services)
        current = served if known and _is_usable(known, services) else None
        entry = store_what_changed(wiki, known, current, services).entry
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


def _is_usable(known: Entry, services: Services) -> bool:
    """Return whether today's entry may refer to what the last backup holds of the wiki."""
    return not services.last_backup.must_be_cloned(known) and are_stored(known, services)


def _log_gone(known: Entry | None, services: Services) -> None:
    if known:
        services.context.log.warning("wiki is gone", last_backup=known.s3_key)
