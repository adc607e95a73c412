"""Makes the plan of a run: what GitHub lists, and what the last backup held and GitHub no longer lists."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from github_s3_backup.backup.context import RunContext
from github_s3_backup.backup.plan.last_backup import LastBackup, last_backup_of
from github_s3_backup.backup.plan.listing import Listed, find_unlisted, list_repositories, without_object
from github_s3_backup.backup.plan.older_backups import older_entries
from github_s3_backup.backup.plan.records import LastRun, Plan, Shard
from github_s3_backup.backup.plan.split import Limits, split
from github_s3_backup.backup.start import Bucket, Problems, new_git, open_bucket, reach_github
from github_s3_backup.configuration import Configuration
from github_s3_backup.git.process import Git
from github_s3_backup.github.client import GitHub
from github_s3_backup.records.manifest import Manifest, Vanished
from github_s3_backup.records.stored_object import StoredObject
from github_s3_backup.repository import Repository
from github_s3_backup.runtime.background import in_background
from github_s3_backup.s3.archive import Archive, ArchiveError
from github_s3_backup.s3.catalogue import CatalogueError


@dataclass(frozen=True)
class Planned:
    """A plan with its shards, and what it was made with."""

    plan: Plan
    shards: list[Shard]
    github: GitHub
    git: Git
    git_version: str
    bucket: Bucket


def make_plan(configuration: Configuration, scratch: Path, context: RunContext) -> Planned:
    """Reach the bucket, git, the key and GitHub, and list. Raises StartError with everything that is wrong."""
    problems = Problems()
    listing = None
    with problems.of("GitHub"):
        github = reach_github(configuration, context)
        # GitHub's answers take the longest; S3 is reached meanwhile.
        listing = in_background(
            lambda: list_repositories(github, configuration.github.installation_id, configuration.repository_filter)
        )
    with problems.of("S3"):
        bucket = open_bucket(configuration, context)
        bucket.archive.probe()
        last_manifest = _newest_manifest(bucket, context)
    with problems.of("git"):
        git = new_git(configuration, scratch, context)
        git_version = git.version()
    if listing is not None:
        with problems.of("GitHub"):
            listed = listing.result()
    problems.check()
    last = last_backup_of(last_manifest, context.started_at.date(), configuration.full_backup_days)
    if last_manifest:
        last = last.with_older(older_entries(listed, last_manifest, bucket.catalogue))
    _add_unlisted(listed, last, last_manifest, configuration, github, bucket.archive, context)
    shards = split(listed.repositories, _limits(configuration), last)
    plan = _plan(listed, last, last_manifest, shards, bucket.archive, context)
    return Planned(plan, shards, github, git, git_version, bucket)


def _limits(configuration: Configuration) -> Limits:
    workers, orchestration = configuration.concurrency, configuration.orchestration
    if orchestration is None:
        return Limits(shards=1, workers=workers, installation_workers=workers)
    return Limits(orchestration.shards, workers, orchestration.installation_requests)


def _plan(
    listed: Listed,
    last: LastBackup,
    last_manifest: Manifest | None,
    shards: list[Shard],
    archive: Archive,
    context: RunContext,
) -> Plan:
    clean = context.redactor.clean
    return Plan(
        failures=tuple(msgspec.structs.replace(failure, error=clean(failure.error)) for failure in listed.failures),
        vanished=tuple(listed.vanished),
        vanished_before=tuple(known.id for known in last_manifest.vanished) if last_manifest else (),
        held=len(last.entries),
        last_run=LastRun(date=last_manifest.date, run_id=last_manifest.run_id) if last_manifest else None,
        overdue_copies=tuple(archive.overdue_copies),
        shards=tuple(shard.number for shard in shards),
    )


def _newest_manifest(bucket: Bucket, context: RunContext) -> Manifest | None:
    """Return the newest complete manifest in the bucket, None where there is none that can be read."""
    try:
        manifest = bucket.catalogue.newest_complete(f"{context.started_at:%Y-%m-%d}")
        reason = "there is no complete manifest"
    except CatalogueError as error:
        manifest, reason = None, str(error)
    if manifest:
        context.log.info("comparing with the last backup", date=manifest.date, run_id=manifest.run_id)
    else:
        context.log.info("no earlier backup, cloning every repository", reason=reason)
    return manifest


# -- what is no longer listed --------------------------------------------------------------------


def _add_unlisted(
    listed: Listed,
    last: LastBackup,
    last_manifest: Manifest | None,
    configuration: Configuration,
    github: GitHub,
    archive: Archive,
    context: RunContext,
) -> None:
    """Add what the last backup held and GitHub did not list, and what had vanished before."""
    find_unlisted(
        listed,
        last,
        configuration.repository_filter,
        f"{context.started_at:%Y-%m-%d}",
        _look_up(listed, github),
        configuration.concurrency,
        context.log,
    )
    listed.vanished[:] = [known if _is_kept(known, archive) else without_object(known) for known in listed.vanished]
    present = listed.ids | {known.id for known in listed.vanished}
    for known in last_manifest.vanished if last_manifest else ():
        if known.id not in present and _is_kept(known, archive):
            listed.vanished.append(_without_expired(known, archive))


def _look_up(listed: Listed, github: GitHub) -> Callable[[int, str], Repository]:
    """Return what looks a repository up by its id, with a token of its owner's installation where there is one."""
    some = listed.repositories[0].installation_id
    return lambda number, owner: github.look_up(number, listed.installations.get(owner, some))


def _is_kept(known: Vanished, archive: Archive) -> bool:
    """Return whether a vanished repository's last bundle has not expired yet; its wiki's, where it was empty."""
    stored = known.object or (known.wiki.object if known.wiki else None)
    return stored is not None and _is_stored(stored, archive)


def _without_expired(known: Vanished, archive: Archive) -> Vanished:
    """Return the record without the wiki and the lists that have expired before its bundle."""
    parts = {
        "wiki": known.wiki and known.wiki.object,
        "lfs": known.lfs and known.lfs.list,
        "releases": known.releases and known.releases.list,
    }
    expired = {part: None for part, stored in parts.items() if stored and not _is_stored(stored, archive)}
    return msgspec.structs.replace(known, **expired)


def _is_stored(stored: StoredObject, archive: Archive) -> bool:
    try:
        archive.check(stored)
    except ArchiveError:
        return False
    return True
