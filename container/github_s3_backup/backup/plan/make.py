"""Makes the plan of a run: what GitHub lists, and what the last backup held and GitHub no longer lists."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from github_s3_backup.backup.plan.earlier import Earlier, earlier_runs
from github_s3_backup.backup.plan.last_backup import LastBackup, last_backup_of
from github_s3_backup.backup.plan.listing import (
    Listed,
    failed_owners,
    list_repositories,
    owner_of,
    uncovered_owners,
    unlisted,
)
from github_s3_backup.backup.plan.records import LastRun, Plan, Shard
from github_s3_backup.backup.plan.split import Limits, split
from github_s3_backup.backup.plan.vanished import Unlisted, describe, is_anomaly, still_held
from github_s3_backup.backup.problems import Problems
from github_s3_backup.backup.services import Bucket, RunContext, Servers, new_git, open_bucket, reach_github
from github_s3_backup.configuration import Configuration
from github_s3_backup.records.entry import Entry, Failure, Vanished
from github_s3_backup.records.manifest import Manifest
from github_s3_backup.records.signing import PublicKey, SigningError
from github_s3_backup.runtime.threads import in_background
from github_s3_backup.s3.archive import Archive


@dataclass(frozen=True)
class Planned:
    """A plan with its shards, and what it was made with."""

    plan: Plan
    shards: list[Shard]
    servers: Servers
    git_version: str


@dataclass(frozen=True)
class Last:
    """The runs before this one, and what the newest complete one holds."""

    earlier: Earlier
    backup: LastBackup

    @property
    def manifest(self) -> Manifest | None:
        """The newest complete manifest."""
        return self.earlier.manifest


def make_plan(configuration: Configuration, scratch: Path, context: RunContext) -> Planned:
    """Reach the bucket, git, the key and GitHub, and list. Raises StartError with everything that is wrong."""
    problems = Problems()
    listing = None
    with problems.of("GitHub"):
        github = reach_github(configuration, context)
        # GitHub's answers take the longest; S3 is reached meanwhile.
        listing = in_background(lambda: list_repositories(github, configuration.repository_filter))
    with problems.of("S3"):
        bucket = open_bucket(configuration, context)
        bucket.archive.probe()
        last = _last(bucket, configuration, context)
    with problems.of("git"):
        git = new_git(configuration, scratch, context)
        git_version = git.version()
    if listing is not None:
        with problems.of("GitHub"):
            listed = listing.result()
    problems.check()
    shards, plan = _plan(listed, last, configuration, bucket.archive, context)
    return Planned(plan, shards, Servers(github, bucket, git), git_version)


def _last(bucket: Bucket, configuration: Configuration, context: RunContext) -> Last:
    """Return what the newest complete manifest in the bucket says. Raises S3Error where that can't be read."""
    earlier = earlier_runs(bucket.catalogue, context.date, _signing_key(bucket, context))
    manifest = earlier.manifest
    if manifest:
        context.log.info("comparing with the last backup", date=manifest.date, run_id=manifest.run_id)
    else:
        context.log.info("no earlier backup, cloning every repository")
    backup = last_backup_of(manifest, context.started_at.date(), configuration.full_backup_days)
    return Last(earlier, backup)


def _signing_key(bucket: Bucket, context: RunContext) -> PublicKey | None:
    """Return the key that the last manifest must be signed with, None without one, and where it can't be read."""
    try:
        return bucket.signer.public_key() if bucket.signer else None
    except SigningError as error:
        context.log.warning("signatures not checked", error=str(error))
        return None


def _plan(
    listed: Listed, last: Last, configuration: Configuration, archive: Archive, context: RunContext
) -> tuple[list[Shard], Plan]:
    missing = unlisted(listed, last.backup, configuration.repository_filter)
    listed.failures.extend(uncovered_owners(missing, listed))
    settled, to_look_up = _by_owner(missing, listed.failures)
    before = _vanished_before(last.manifest, listed)
    held = len(last.manifest.entries) + len(last.manifest.last_good) if last.manifest else 0
    look_up = [describe(known, listed.installations, context.date) for known in to_look_up]
    look_up += [describe(record, listed.installations, context.date) for record in before if not record.confirmed]
    patient = not is_anomaly((item.id for item in look_up), held, configuration.anomaly_percent)
    shards = split(listed.repositories, _limits(configuration), last.backup)
    shards = [_with_unlisted(shard, look_up[n :: len(shards)], patient, last) for n, shard in enumerate(shards)]
    vanished = still_held([record for record in before if record.confirmed], archive)
    clean = context.redactor.clean
    failures = [msgspec.structs.replace(failure, error=clean(failure.error)) for failure in listed.failures]
    return shards, Plan(
        failures=tuple(failures),
        last_good=(*settled, *_refused(failures, last.backup)),
        vanished=tuple(vanished),
        problems=last.earlier.problems,
        previous=last.earlier.previous,
        held=held,
        last_run=LastRun(date=last.manifest.date, run_id=last.manifest.run_id) if last.manifest else None,
        overdue_copies=tuple(archive.overdue_copies),
        shards=tuple(shard.number for shard in shards),
    )


def _limits(configuration: Configuration) -> Limits:
    workers, orchestration = configuration.concurrency, configuration.orchestration
    if orchestration is None:
        return Limits(shards=1, workers=workers, installation_workers=workers)
    return Limits(orchestration.shards, workers, orchestration.installation_requests)


# -- what is not listed --------------------------------------------------------------------------


def _by_owner(
    missing: Sequence[Entry | Failure], failures: Sequence[Failure]
) -> tuple[list[Entry], list[Entry | Failure]]:
    """Return what is stored of owners that could not be listed, and what of other owners has to be looked up."""
    failed = failed_owners(failures)
    kept = [known.partial if isinstance(known, Failure) else known for known in missing if _owner(known) in failed]
    return [entry for entry in kept if entry], [known for known in missing if _owner(known) not in failed]


def _owner(known: Entry | Failure) -> str:
    return owner_of(known).lower()


def _refused(failures: Sequence[Failure], last: LastBackup) -> list[Entry]:
    """Return what is stored of repositories that are listed and can't be backed up under their name."""
    known = [last.stored(failure.id) for failure in failures if failure.id is not None]
    return [entry for entry in known if entry]


def _vanished_before(manifest: Manifest | None, listed: Listed) -> list[Vanished]:
    """Return what had vanished by the last backup, and has not come back."""
    return [record for record in manifest.vanished if record.id not in listed.ids] if manifest else []


def _with_unlisted(shard: Shard, missing: list[Unlisted], patient: bool, last: Last) -> Shard:
    """Return the shard with a part of what is to be looked up after its repositories."""
    known, failed = last.backup.of({item.id for item in missing})
    return msgspec.structs.replace(
        shard,
        unlisted=tuple(missing),
        patient=patient,
        known=(*shard.known, *known),
        failed=(*shard.failed, *failed),
    )
