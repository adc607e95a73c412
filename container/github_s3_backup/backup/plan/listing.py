"""What is to be backed up: what GitHub lists and the configuration selects, and what could not be listed."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from github_s3_backup.backup.plan.last_backup import LastBackup
from github_s3_backup.github.client import GitHub, Listing
from github_s3_backup.github.transport.rest import GitHubError
from github_s3_backup.records.entry import Entry, Failure, Vanished
from github_s3_backup.repository import Repository
from github_s3_backup.repository_filter import RepositoryFilter


class NothingListedError(Exception):
    """GitHub lists no repository: one sentence a problem."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


@dataclass(frozen=True)
class Listed:
    """The repositories to back up, each id once, and what could not be listed.

    `installations`: their ids, by owner. `ids`: of all repositories that GitHub lists, selected or not.
    """

    repositories: list[Repository] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    installations: dict[str, int] = field(default_factory=dict)
    ids: set[int] = field(default_factory=set)


def list_repositories(github: GitHub, filter_: RepositoryFilter) -> Listed:
    """Return what GitHub lists and the configuration selects.

    A repository that moves to another owner meanwhile is listed twice, and kept where it was found last. Raises
    NothingListedError, and GitHubError without an answer.
    """
    listed, found = Listed(), dict[int, Repository]()
    installations = github.installations.all()
    for installation in installations:
        try:
            listing = github.repositories(installation)
        except GitHubError as error:
            listed.installations[installation.owner] = installation.id
            if len(installations) == 1:
                raise
            listed.failures.append(owner_failure(installation.owner, str(error)))
            continue
        owner = next((repository.owner for repository in listing.repositories), installation.owner)
        listed.installations[owner] = installation.id
        found.update({repository.id: repository for repository in listing.repositories})
        listed.failures.extend(_failures(owner, listing))
    listed.ids.update(found)
    listed.repositories.extend(repository for repository in found.values() if filter_.selects(repository))
    if not listed.repositories:
        raise NothingListedError(_why_nothing(listed))
    return listed


def _failures(owner: str, listing: Listing) -> Iterable[Failure]:
    """Yield what GitHub lists of an installation and can't be stored, and that it lists too few."""
    for refused in listing.refused:
        yield Failure(full_name=refused.full_name, id=refused.id, stage="list", error=str(refused))
    if listing.missing:
        short = f"GitHub counts {listing.total_count} repositories and lists {listing.missing} fewer, repeatedly"
        yield owner_failure(owner, short)


def owner_failure(owner: str, error: str) -> Failure:
    """Return the failure that stands for all of an owner's repositories that could not be listed."""
    return Failure(full_name=f"{owner}/*", id=None, stage="list", error=error)


def _why_nothing(listed: Listed) -> list[str]:
    if listed.failures:
        return [f"{failure.full_name}: {failure.error}" for failure in listed.failures]
    if listed.ids:
        count = len(listed.ids)
        return [f"BACKUP_INCLUDE, BACKUP_EXCLUDE and BACKUP_SKIP_* exclude all {count} repositories that GitHub lists"]
    return ["GitHub lists no repository: is the App installed, and does the installation include any?"]


# -- what the last backup names, and the listing lacks -------------------------------------------


def unlisted(listed: Listed, last: LastBackup, filter_: RepositoryFilter) -> list[Entry | Failure]:
    """Return what the last backup names of the selected repositories, and GitHub does not list."""
    accounted = listed.ids | {failure.id for failure in listed.failures}
    return [known for known in last.named() if known.id not in accounted and _may_be_selected(known, filter_)]


def uncovered_owners(missing: Iterable[Entry | Failure], listed: Listed) -> list[Failure]:
    """Return a failure for each owner of what is missing, where no installation covers the owner any more.

    GitHub does not list an installation that was removed: without this, all of the owner's repositories would pass for
    deleted.
    """
    covered = {owner.lower() for owner in listed.installations} | failed_owners(listed.failures)
    owners = {owner_of(known) for known in missing}
    error = (
        "the last backup has repositories of this owner, and the App is no longer installed there: install it again, "
        "or exclude them with BACKUP_EXCLUDE (the module's repository_filter)"
    )
    return [owner_failure(owner, error) for owner in sorted(owners) if owner.lower() not in covered]


def failed_owners(failures: Iterable[Failure]) -> set[str]:
    """Return the owners, in lower case, whose repositories could not be listed, or not all of them."""
    return {owner_of(failure).lower() for failure in failures if is_owner(failure)}


def is_owner(failure: Failure) -> bool:
    """Return whether the failure stands for an owner."""
    return failure.id is None and failure.full_name.endswith("/*")


def owner_of(known: Entry | Failure | Vanished) -> str:
    return known.full_name.partition("/")[0]


def _may_be_selected(known: Entry | Failure, filter_: RepositoryFilter) -> bool:
    """Return whether to look a repository up. What a failure does not record is checked afterwards."""
    return filter_.selects(known) if isinstance(known, Entry) else filter_.selects_name(known.full_name)
