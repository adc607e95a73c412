"""A run in several tasks: one lists, one backs up each shard, one merges. An engine outside starts and retries them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from github_s3_backup.backup.finish import Results, finish
from github_s3_backup.backup.plan.records import Plan, Report, Shard
from github_s3_backup.backup.plan.store import READERS, MapItem, PlanStore
from github_s3_backup.backup.problems import Problems, StartError
from github_s3_backup.backup.run import START_GRACE, list_all
from github_s3_backup.backup.services import (
    Bucket,
    RunContext,
    Servers,
    Services,
    new_git,
    new_services,
    open_bucket,
    reach_github,
)
from github_s3_backup.backup.shard import back_up_shard, report_of_lost_shard
from github_s3_backup.configuration import Configuration, Orchestration
from github_s3_backup.exit_codes import OK, SOME_FAILED, STOPPED
from github_s3_backup.records.entry import Entry
from github_s3_backup.records.json_fields import utc
from github_s3_backup.runtime.capacity import volume_gib
from github_s3_backup.runtime.stop import Stopped
from github_s3_backup.runtime.threads import map_at_once, within_grace
from github_s3_backup.s3.errors import S3Error

# -- list ----------------------------------------------------------------------------------------


def list_task(configuration: Configuration, scratch: Path, context: RunContext) -> int:
    """Write the run's plan to S3, unless it is there. Raises StartError and Stopped."""
    planned = list_all(configuration, scratch, context)
    store, orchestration = _parts(planned.servers.bucket, configuration)
    items = [_map_item(shard, orchestration, context) for shard in planned.shards]
    problems = Problems()
    with problems.of("S3"):
        if store.plan():
            context.log.info("plan already written", plan=store.url)
            return OK
        store.write_plan(planned.plan, planned.shards, items)
    problems.check()
    for item in items:
        context.log.info("shard planned", **_about(item))
    context.log.info("plan written", exit_code=OK, shards=len(items), plan=store.url)
    return OK


def _parts(bucket: Bucket, configuration: Configuration) -> tuple[PlanStore, Orchestration]:
    assert bucket.plan_store is not None
    assert configuration.orchestration is not None
    return bucket.plan_store, configuration.orchestration


def _map_item(shard: Shard, orchestration: Orchestration, context: RunContext) -> MapItem:
    return MapItem(
        shard=shard.number,
        run_name=orchestration.run_name,
        run_started_at=utc(context.started_at),
        volume_gib=volume_gib(shard.disk, orchestration.shard_disk_gib),
        repositories=len(shard.repositories),
        size_kb=sum(repository.size_kb for repository in shard.repositories),
    )


def _about(item: MapItem) -> dict[str, str | int]:
    return {
        "shard": item.shard,
        "repositories": item.repositories,
        "size_kb": item.size_kb,
        "volume_gib": item.volume_gib,
    }


# -- shard ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _ShardTask:
    """What a shard's task begins with. `stored`: what tasks before it, which died, have stored of the shard."""

    shard: Shard
    stored: Sequence[Entry]
    services: Services
    store: PlanStore
    is_reported: bool


def shard_task(configuration: Configuration, scratch: Path, context: RunContext) -> int:
    """Back up one shard and write its report to S3. Raises StartError and Stopped."""
    task = within_grace(lambda: _start_shard(configuration, scratch, context), context.stop, START_GRACE)
    if context.stop.reason == "signal":
        raise Stopped
    number, store, log = task.shard.number, task.store, context.log
    if task.is_reported:
        log.info("shard already reported", exit_code=OK, shard=number)
        return OK
    log.info("shard started", shard=number, repositories=len(task.shard.repositories), already_stored=len(task.stored))

    def save(entry: Entry) -> None:
        try:
            store.save(number, entry)
        except S3Error as error:
            log.warning("progress not saved", error=str(error))

    report = back_up_shard(task.shard, task.services, task.stored, save)
    if report.state == "stopped":
        log.error("shard stopped", exit_code=STOPPED, shard=number)
        return STOPPED
    return _write_report(report, store, context)


def _start_shard(configuration: Configuration, scratch: Path, context: RunContext) -> _ShardTask:
    """Read what is to be done. Raises StartError with everything that is wrong."""
    problems, shares = Problems(), 1
    with problems.of("S3"):
        bucket = open_bucket(configuration, context)
        store, orchestration = _parts(bucket, configuration)
        shard = store.shard(orchestration.shard)
        shares = shard.shares
        stored = store.stored(shard.number)
        is_reported = store.report(shard.number) is not None
    with problems.of("GitHub"):
        github = reach_github(configuration, context, shares)
    with problems.of("git"):
        git = new_git(configuration, scratch, context)
    problems.check()
    servers = Servers(github, bucket, git)
    services = new_services(shard, configuration, servers, scratch, context)
    return _ShardTask(shard, stored, services, store, is_reported)


def _write_report(report: Report, store: PlanStore, context: RunContext) -> int:
    try:
        store.write_report(report)
    except S3Error as error:
        context.log.error("report not written", error=str(error))
        context.log.error("shard failed", exit_code=SOME_FAILED, shard=report.shard)
        return SOME_FAILED
    context.log.info(
        "shard finished",
        exit_code=OK,
        shard=report.shard,
        success=len(report.entries),
        failed=len(report.failures),
        size_bytes=report.bytes_uploaded,
        duration=round(context.task_seconds(), 3),
    )
    return OK


# -- merge ---------------------------------------------------------------------------------------


def merge_task(configuration: Configuration, scratch: Path, context: RunContext) -> int:
    """Make the run's manifest of the plan and the reports, and return the run's exit code.

    Raises StartError and Stopped.
    """
    results, bucket = within_grace(lambda: _start_merge(configuration, scratch, context), context.stop, START_GRACE)
    if context.stop.reason == "signal":
        raise Stopped
    for report in results.reports:
        if report.state == "lost":
            _log_lost(report, context)
    return finish(results, bucket, context)


def _start_merge(configuration: Configuration, scratch: Path, context: RunContext) -> tuple[Results, Bucket]:
    """Read what the other tasks have written. Raises StartError with everything that is wrong."""
    problems = Problems()
    with problems.of("git"):
        git_version = new_git(configuration, scratch, context).version()
    with problems.of("S3"):
        bucket = open_bucket(configuration, context)
        store, _ = _parts(bucket, configuration)
        plan = store.plan()
        if plan is None:
            raise StartError(*problems.found, f"there is no plan in {store.url}: did `backup list` succeed?")
        reports = _reports(plan, store)
    problems.check()
    return Results(plan, reports, git_version, configuration.anomaly_percent, configuration.variables), bucket


def _reports(plan: Plan, store: PlanStore) -> list[Report]:
    def report_of(number: str) -> Report:
        return store.report(number) or report_of_lost_shard(store.shard(number), store.stored(number))

    return map_at_once(report_of, plan.shards, READERS)


def _log_lost(report: Report, context: RunContext) -> None:
    for failure in report.failures:
        context.log.error("failed", full_name=failure.full_name, stage=failure.stage, duration=0.0, error=failure.error)
    context.log.error("shard lost", shard=report.shard, stored=len(report.entries), failed=len(report.failures))
