"""What the last backup held and GitHub no longer lists: alive, vanished, or not known; and whether it is too much."""

import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import msgspec
from structlog.typing import FilteringBoundLogger

from github_s3_backup.backup.plan.listing import owner_of
from github_s3_backup.github.client import GitHub, RepositoryGoneError
from github_s3_backup.github.transport.rest import GitHubError
from github_s3_backup.records.entry import Entry, Failure, Vanished
from github_s3_backup.records.stored_object import StoredObject
from github_s3_backup.repository import Repository
from github_s3_backup.repository_filter import RepositoryFilter
from github_s3_backup.runtime.stop import Stop
from github_s3_backup.runtime.threads import map_at_once
from github_s3_backup.s3.archive import Archive
from github_s3_backup.s3.errors import S3Error

# Fewer repositories are never an anomaly, whatever their share.
MIN_ANOMALY = 3
# Look-ups and HEADs at once.
AT_ONCE = 16


class Unlisted(msgspec.Struct, frozen=True, kw_only=True):
    """A repository that the last backup names and GitHub does not list.

    `record`: what the manifest says of it if it has vanished, None where nothing is stored of it. `installation_id`:
    who may see it.
    """

    full_name: str
    id: int
    installation_id: int
    record: Vanished | None


class RateLimitedError(Exception):
    """GitHub's rate limit is used up, and is not to be waited for."""


@dataclass(frozen=True)
class LookedUp:
    """What became of unlisted repositories. `alive`: these are backed up like the others."""

    alive: list[Repository]
    vanished: list[Vanished]
    failures: list[Failure]


@dataclass(frozen=True)
class LookUp:
    """Looks unlisted repositories up by their ids, once everything else is stored.

    `patient`: waits for GitHub's rate limit. Not where so many are missing that it would stop the run.
    """

    github: GitHub
    archive: Archive
    filter: RepositoryFilter
    patient: bool
    stop: Stop
    log: FilteringBoundLogger
    rate_limited: threading.Event = field(default_factory=threading.Event)

    def all(self, missing: Sequence[Unlisted]) -> LookedUp:
        """Return what became of each."""
        found = LookedUp([], [], [])
        for result in map_at_once(self._one, missing, AT_ONCE):
            match result:
                case Repository():
                    self.log.warning("repository not listed, but still there", full_name=result.full_name)
                    if self.filter.selects(result):
                        found.alive.append(result)
                case Vanished():
                    self.log.warning("repository vanished", full_name=result.full_name, last_backup=result.s3_key)
                    found.vanished.append(result)
                case Failure():
                    found.failures.append(result)
        if self.rate_limited.is_set():
            count = sum(not record.confirmed for record in found.vanished)
            self.log.error("rate limit reached, not asking for the other missing repositories", repositories=count)
        return found

    def _one(self, missing: Unlisted) -> Repository | Vanished | Failure | None:
        if self.stop.is_set() or self.rate_limited.is_set():
            return unconfirmed(missing)
        try:
            return self._look_up(missing)
        except RepositoryGoneError:
            return missing.record and _as_held(missing.record, self.archive)
        except RateLimitedError:
            self.rate_limited.set()
            return unconfirmed(missing)
        except GitHubError as error:
            return Failure(full_name=missing.full_name, id=missing.id, stage="list", error=str(error))

    def _look_up(self, missing: Unlisted) -> Repository:
        """Return what GitHub says. Raises RateLimitedError where a limit is not to be waited for."""
        if not self.patient:
            try:
                return self.github.look_up(missing.id, missing.installation_id, once=True)
            except GitHubError as error:
                if error.status in (403, 429) and not error.refused:
                    raise RateLimitedError from None
                if error.refused:
                    raise
        return self.github.look_up(missing.id, missing.installation_id)


def describe(known: Entry | Failure | Vanished, installations: dict[str, int], today: str) -> Unlisted:
    """Return what is to be looked up, with a token of its owner's installation where there is one."""
    stored = known.partial if isinstance(known, Failure) else known
    return Unlisted(
        full_name=known.full_name,
        id=int(known.id or 0),
        installation_id=installations.get(owner_of(known), next(iter(installations.values()))),
        record=vanished(stored, today) if isinstance(stored, Entry) else stored,
    )


# -- the records ---------------------------------------------------------------------------------


def vanished(entry: Entry, today: str) -> Vanished:
    """Return the record of a repository that GitHub no longer has, with its last good bundle."""
    names = set(Vanished.__struct_fields__) & set(Entry.__struct_fields__)
    return Vanished(since=today, **{name: getattr(entry, name) for name in names})


def unconfirmed(missing: Unlisted) -> Vanished | None:
    """Return the record of a repository that GitHub was not asked about, None where nothing is stored of it."""
    return missing.record and msgspec.structs.replace(missing.record, confirmed=False)


def still_held(records: Iterable[Vanished], archive: Archive) -> list[Vanished]:
    """Return the records without what has expired in S3. What S3 does not tell is kept as it was."""
    kept = map_at_once(lambda record: _without_expired(record, archive), records, AT_ONCE)
    return [record for record in kept if record]


def _without_expired(record: Vanished, archive: Archive) -> Vanished | None:
    wiki = record.wiki.bundles if record.wiki else ()
    main = record.bundles or wiki
    if not main or any(_has_expired(stored, archive) for stored in main):
        return None
    parts = {
        "wiki": wiki,
        "lfs": (record.lfs and record.lfs.list,),
        "releases": (record.releases and record.releases.list,),
        "issues": (record.issues and record.issues.list,),
    }
    expired = {
        name: None
        for name, objects in parts.items()
        if any(_has_expired(stored, archive) for stored in objects if stored)
    }
    return msgspec.structs.replace(record, confirmed=True, **expired)


def _as_held(record: Vanished, archive: Archive) -> Vanished:
    """Return the record, without what it names where that has expired in S3."""
    nothing = {"s3_key": None, "version_id": None, "size_bytes": 0, "sha256": None}
    nothing |= {"s3_checksum_sha256": None, "base": None}
    parts = {"wiki": None, "lfs": None, "releases": None, "issues": None}
    return _without_expired(record, archive) or msgspec.structs.replace(record, confirmed=True, **nothing, **parts)


def _has_expired(stored: StoredObject, archive: Archive) -> bool:
    try:
        return archive.flaw(stored) is not None
    except S3Error:
        return False


# -- too many ------------------------------------------------------------------------------------


def is_anomaly(lost: Iterable[int], held: int, percent: float) -> bool:
    """Return whether so many repositories are gone or vanished in one run that somebody must look.

    More than `percent` of the `held` repositories of the last backup, and at least MIN_ANOMALY.
    """
    count = len(set(lost))
    return count >= MIN_ANOMALY and count > held * percent / 100
