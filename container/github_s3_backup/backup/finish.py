"""The end of a run: makes one manifest of what the shards report, publishes the metrics, and says how the run ended."""

from collections.abc import Sequence
from datetime import UTC, datetime

from github_s3_backup.backup.context import RunContext
from github_s3_backup.backup.plan.listing import is_anomaly
from github_s3_backup.backup.plan.records import Plan, Report
from github_s3_backup.exit_codes import NOT_STARTED, OK, SOME_FAILED, STOPPED
from github_s3_backup.records.manifest import Manifest, new_manifest
from github_s3_backup.runtime import metrics
from github_s3_backup.s3.archive import Archive, ArchiveError


def merge(
    plan: Plan, reports: Sequence[Report], git_version: str, archive: Archive, percent: float, context: RunContext
) -> int:
    """Write the manifest, publish the metrics, log the summary, and return the run's exit code."""
    manifest = manifest_of(plan, reports, git_version, context)
    anomaly = has_anomaly(manifest, plan, percent, context)
    url: str | None = archive.manifest_url(manifest.run_id)
    try:
        archive.put_manifest(manifest)
    except ArchiveError as error:
        context.log.error("manifest not written or not readable", error=str(error))
        url = None
    code = exit_code(manifest, url is not None, anomaly)
    values = metrics_of(manifest, reports, code, anomaly) | {
        metrics.REPLICATION_BEHIND: overdue_copies(plan, reports, archive, context)
    }
    metrics.publish_run(context.aws, context.service_name, context.seconds(), values, context.log)
    log_summary(manifest, values, code, url, context)
    return code


def manifest_of(plan: Plan, reports: Sequence[Report], git_version: str, context: RunContext) -> Manifest:
    """Return what the run's manifest says."""
    return new_manifest(
        run_id=context.run_id,
        started_at=context.started_at,
        finished_at=datetime.now(UTC),
        complete=not any(report.state == "stopped" for report in reports),
        git_version=git_version,
        entries=[entry for report in reports for entry in report.entries],
        failures=[*plan.failures, *(failure for report in reports for failure in report.failures)],
        vanished=[*plan.vanished, *(lost for report in reports for lost in report.vanished)],
    )


def has_anomaly(manifest: Manifest, plan: Plan, percent: float, context: RunContext) -> bool:
    """Return whether so many repositories are lost since the last backup that the run must count as failed."""
    gone = [entry.id for entry in manifest.entries if entry.status == "gone"]
    lost = {*gone, *(repository.id for repository in manifest.vanished if repository.since == manifest.date)}
    lost -= set(plan.vanished_before)
    all_gone = bool(gone) and len(gone) == manifest.total_repos
    if not all_gone and not is_anomaly(lost, plan.held, percent):
        return False
    context.log.error("anomaly: many repositories are gone", gone=len(lost), repositories=manifest.total_repos)
    return True


def exit_code(manifest: Manifest, written: bool, anomaly: bool) -> int:
    """Return what the run ends with."""
    if not manifest.complete:
        return STOPPED
    if not written and manifest.success_count == 0:
        return NOT_STARTED  # the bucket took nothing at all
    return SOME_FAILED if manifest.failure_count or anomaly or not written else OK


def metrics_of(manifest: Manifest, reports: Sequence[Report], code: int, anomaly: bool) -> dict[str, float]:
    """Return the metrics that the manifest and the reports tell."""
    return {
        metrics.SUCCESS: manifest.success_count,
        metrics.FAILURE: manifest.failure_count or int(code != OK),
        metrics.BYTES: sum(report.bytes_uploaded for report in reports),
        metrics.UNCHANGED: manifest.unchanged_count,
        metrics.VANISHED: len(manifest.vanished),
        metrics.ANOMALY: int(anomaly),
        metrics.SHARDS: len(reports),
        metrics.SHARDS_FAILED: sum(report.state == "lost" for report in reports),
    }


def overdue_copies(plan: Plan, reports: Sequence[Report], archive: Archive, context: RunContext) -> int:
    """Return how many objects of the last backup the replica bucket should have and has not."""
    try:
        if plan.last_run:
            archive.check_copy_of(plan.last_run.date, plan.last_run.run_id)
    except ArchiveError as error:
        context.log.warning("replication status unknown", error=str(error))
    seen = [plan.overdue_copies, *(report.overdue_copies for report in reports)]
    count = len(archive.overdue_copies.union(*seen))
    if count:
        context.log.warning("replica is behind", objects=count)
    return count


def log_summary(manifest: Manifest, values: dict[str, float], code: int, url: str | None, context: RunContext) -> None:
    """Log the run's last line."""
    log = context.log.info if code == OK else context.log.error
    log(
        "run finished" if manifest.complete else "run stopped",
        exit_code=code,
        repositories=manifest.total_repos,
        success=manifest.success_count,
        failed=manifest.failure_count,
        gone=manifest.gone_count,
        vanished=len(manifest.vanished),
        refs=manifest.ref_count,
        size_bytes=values[metrics.BYTES],
        duration=round(context.seconds(), 3),
        manifest=url,
    )
