"""What is to be backed up: what GitHub lists, and what the last backup held and GitHub no longer lists."""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import msgspec
from structlog.typing import FilteringBoundLogger

from github_s3_backup.backup.plan.last_backup import LastBackup
from github_s3_backup.github.client import GitHub, Installation, RepositoryGoneError
from github_s3_backup.github.rest import GitHubError
from github_s3_backup.records.manifest import Entry, Failure, Vanished
from github_s3_backup.repository import Repository
from github_s3_backup.repository_filter import RepositoryFilter

# Fewer repositories are never an anomaly, whatever their share.
MIN_ANOMALY = 3


class NothingListedError(Exception):
    """GitHub lists no repository: one sentence a problem."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


@dataclass(frozen=True)
class Listed:
    """The repositories to back up, the largest first, and what could not be listed.

    `vanished`: what the last backup held and GitHub no longer has. `installations`: their ids, by owner. `ids`: of all
    repositories that GitHub lists, selected or not.
    """

    repositories: list[Repository] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    vanished: list[Vanished] = field(default_factory=list)
    installations: dict[str, int] = field(default_factory=dict)
    ids: set[int] = field(default_factory=set)


def list_repositories(github: GitHub, installation_id: int | None, filter_: RepositoryFilter) -> Listed:
    """Return what GitHub lists and the configuration selects.

    Raises NothingListedError, and GitHubError without an answer.
    """
    listed = Listed()
    for installation in [Installation(installation_id, "?")] if installation_id else github.installations():
        listed.installations[installation.owner] = installation.id
        try:
            listing = github.repositories(installation)
        except GitHubError as error:
            if installation_id:
                raise
            listed.failures.append(_owner_failure(installation.owner, str(error)))
            continue
        listed.ids.update(repository.id for repository in listing.repositories)
        listed.repositories.extend(repository for repository in listing.repositories if filter_.selects(repository))
        listed.failures.extend(
            Failure(full_name=refused.full_name, id=refused.id, stage="list", error=str(refused))
            for refused in listing.refused
        )
        if listing.missing:
            owner = listing.repositories[0].owner if listing.repositories else installation.owner
            short = f"GitHub counts {listing.total_count} repositories and lists {listing.missing} fewer, repeatedly"
            listed.failures.append(_owner_failure(owner, short))
    if not listed.repositories:
        raise NothingListedError(_why_nothing(listed))
    listed.repositories.sort(key=lambda repository: -repository.size_kb)
    return listed


def _owner_failure(owner: str, error: str) -> Failure:
    return Failure(full_name=f"{owner}/*", id=None, stage="list", error=error)


def _why_nothing(listed: Listed) -> list[str]:
    if listed.failures:
        return [f"{failure.full_name}: {failure.error}" for failure in listed.failures]
    if listed.ids:
        count = len(listed.ids)
        return [f"BACKUP_INCLUDE, BACKUP_EXCLUDE and BACKUP_SKIP_* exclude all {count} repositories that GitHub lists"]
    return ["GitHub lists no repository: is the App installed, and does the installation include any?"]


# -- what is no longer listed --------------------------------------------------------------------


def find_unlisted(
    listed: Listed,
    last: LastBackup,
    filter_: RepositoryFilter,
    today: str,
    look_up: Callable[[int, str], Repository],
    concurrency: int,
    log: FilteringBoundLogger,
) -> None:
    """Look up what the last backup held and GitHub no longer lists; add each to `listed`.

    If it is alive, it is backed up. If it is gone, it has vanished. Without a clear answer, it is a failure.
    """
    accounted = listed.ids | {failure.id for failure in listed.failures}
    failed = failed_owners(listed.failures)
    unlisted = [
        known
        for known in last.named()
        if known.id not in accounted and _owner(known) not in failed and _may_be_selected(known, filter_)
    ]

    def resolve(known: Entry | Failure) -> Repository | Vanished | Failure | None:
        try:
            found = look_up(int(known.id or 0), _owner(known))
        except RepositoryGoneError:
            stored = known if isinstance(known, Entry) else known.partial
            return vanished(stored, today) if stored else None
        except GitHubError as error:
            return Failure(full_name=known.full_name, id=known.id, stage="list", error=str(error))
        return found if filter_.selects(found) else None

    with ThreadPoolExecutor(concurrency) as pool:
        for result in pool.map(resolve, unlisted):
            if result:
                _add(listed, result, log)


def failed_owners(failures: Iterable[Failure]) -> set[str]:
    """Return the owners whose repositories could not be listed, or not all of them."""
    return {_owner(failure) for failure in failures if failure.id is None and failure.full_name.endswith("/*")}


def _owner(known: Entry | Failure) -> str:
    return known.full_name.partition("/")[0]


def _may_be_selected(known: Entry | Failure, filter_: RepositoryFilter) -> bool:
    """Return whether to look a repository up. What a failure does not record is checked afterwards."""
    return filter_.selects(known) if isinstance(known, Entry) else filter_.selects_name(known.full_name)


def _add(listed: Listed, result: Repository | Vanished | Failure, log: FilteringBoundLogger) -> None:
    if isinstance(result, Repository):
        log.warning("repository not listed, but still there", full_name=result.full_name)
        listed.repositories.append(result)
    elif isinstance(result, Vanished):
        log.warning("repository vanished", full_name=result.full_name, last_backup=result.s3_key)
        listed.vanished.append(result)
    else:
        listed.failures.append(result)


def vanished(entry: Entry, today: str) -> Vanished:
    """Return the record of a repository that GitHub no longer has, with its last good bundle."""
    return Vanished(
        full_name=entry.full_name,
        id=entry.id,
        since=today,
        s3_key=entry.s3_key,
        version_id=entry.version_id,
        size_bytes=entry.size_bytes,
        sha256=entry.sha256,
        default_branch=entry.default_branch,
        ref_count=entry.ref_count,
        refs_sha256=entry.refs_sha256,
        s3_checksum_sha256=entry.s3_checksum_sha256,
        wiki=entry.wiki,
        lfs=entry.lfs,
        releases=entry.releases,
    )


def without_object(known: Vanished) -> Vanished:
    """Return the record of a repository whose last bundle has expired."""
    return msgspec.structs.replace(
        known,
        s3_key=None,
        version_id=None,
        size_bytes=0,
        sha256=None,
        s3_checksum_sha256=None,
        wiki=None,
        lfs=None,
        releases=None,
    )


def is_anomaly(lost: Iterable[int], held: int, percent: float) -> bool:
    """Return whether so many repositories are gone or vanished in one run that somebody must look.

    More than `percent` of the `held` repositories of the last backup, and at least MIN_ANOMALY.
    """
    count = len(set(lost))
    return count >= MIN_ANOMALY and count > held * percent / 100
