"""The end of a run: one manifest of what the shards report, the metrics, and the exit code.

Every run ends here, whatever task calls it. A task that is tried again does what is missing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from github_s3_backup.backup.plan.records import Plan, Report
from github_s3_backup.backup.plan.store import PlanStore
from github_s3_backup.backup.plan.vanished import is_anomaly
from github_s3_backup.backup.services import Bucket, RunContext
from github_s3_backup.backup.signature import is_signed, signing_key
from github_s3_backup.exit_codes import NOT_STARTED, OK, SOME_FAILED, STOPPED
from github_s3_backup.records.manifest import Manifest, new_manifest
from github_s3_backup.runtime import metrics
from github_s3_backup.s3.archive import Archive
from github_s3_backup.s3.errors import AbsentError, S3Error


@dataclass(frozen=True)
class Results:
    """What a run planned and did.

    `anomaly_percent`: the share of lost repositories that somebody must look at. `variables`: what the run was told.
    """

    plan: Plan
    reports: Sequence[Report]
    git_version: str
    anomaly_percent: float
    variables: Mapping[str, str]


def finish(results: Results, bucket: Bucket, context: RunContext) -> int:
    """Write the manifest, publish the metrics, log the summary, and return the run's exit code."""
    earlier = _earlier_attempt(bucket, context)
    key = signing_key(bucket, context)
    manifest = earlier or manifest_of(results, context, key.id if key else None)
    written = _write(manifest, bool(earlier), bucket, context)
    signed = bool(written and is_signed(written, manifest, key, bucket, context))
    anomaly = has_anomaly(manifest, results, context)
    code = exit_code(manifest, results.plan, bool(written), anomaly or not signed)
    values = metrics_of(manifest, results.reports, code, anomaly) | _overdue_copies(results, bucket.archive, context)
    _publish(values, bucket.plan_store, context)
    url = bucket.archive.manifest_url(context.run_id) if written else None
    log_summary(manifest, values, code, url, context)
    return code


def _earlier_attempt(bucket: Bucket, context: RunContext) -> Manifest | None:
    """Return the run's manifest where an earlier attempt to finish this run has written it."""
    if bucket.plan_store is None:
        return None
    try:
        return bucket.catalogue.manifest(context.date, context.run_id)
    except AbsentError:
        return None
    except S3Error as error:
        context.log.warning("manifest of an earlier attempt not readable", error=str(error))
        return None


def _write(manifest: Manifest, is_there: bool, bucket: Bucket, context: RunContext) -> bytes | None:
    """Write the manifest, only the day's where the run's `is_there`; return the bytes of the run's, None on failure."""
    try:
        if not is_there:
            return bucket.archive.put_manifest(manifest)
        bucket.archive.put_day_manifest(manifest)
        return bucket.catalogue.manifest_bytes(context.date, context.run_id)
    except S3Error as error:
        context.log.error("manifest not written or not readable", error=str(error))
        return None


def manifest_of(results: Results, context: RunContext, key_id: str | None) -> Manifest:
    """Return what the run's manifest says. `key_id`: of the key that is to sign it."""
    plan, reports = results.plan, results.reports
    return new_manifest(
        run_id=context.run_id,
        started_at=context.started_at,
        finished_at=datetime.now(UTC),
        complete=not any(report.state == "stopped" for report in reports),
        git_version=results.git_version,
        entries=[entry for report in reports for entry in report.entries],
        failures=[*plan.failures, *(failure for report in reports for failure in report.failures)],
        vanished=[*plan.vanished, *(lost for report in reports for lost in report.vanished)],
        last_good=[*plan.last_good, *(entry for report in reports for entry in report.last_good)],
        previous=plan.previous,
        signing_key=key_id,
        variables=results.variables,
    )


def has_anomaly(manifest: Manifest, results: Results, context: RunContext) -> bool:
    """Return whether so many repositories are lost since the last backup that the run must count as failed."""
    gone = [entry.id for entry in manifest.entries if entry.status == "gone"]
    lost = {*gone, *(record.id for record in manifest.vanished if record.since == manifest.date)}
    lost -= {record.id for record in results.plan.vanished}
    all_gone = bool(gone) and len(gone) == manifest.total_repos
    if not all_gone and not is_anomaly(lost, results.plan.held, results.anomaly_percent):
        return False
    context.log.error("anomaly: many repositories are gone", gone=len(lost), repositories=manifest.total_repos)
    return True


def exit_code(manifest: Manifest, plan: Plan, written: bool, has_problem: bool) -> int:
    """Return what the run ends with. `has_problem`: an anomaly, or no signature where there is to be one."""
    if not manifest.complete:
        return STOPPED
    if not written and manifest.success_count == 0:
        return NOT_STARTED  # the bucket took nothing at all
    return SOME_FAILED if manifest.failure_count or plan.problems or has_problem or not written else OK


# -- metrics -------------------------------------------------------------------------------------


def metrics_of(manifest: Manifest, reports: Sequence[Report], code: int, anomaly: bool) -> dict[str, float]:
    """Return the metrics that the manifest and the reports tell. A run that was stopped did not look for all."""
    values: dict[str, float] = {
        metrics.SUCCESS: manifest.success_count,
        metrics.FAILURE: manifest.failure_count or int(code != OK),
        metrics.BYTES: sum(report.bytes_uploaded for report in reports),
        metrics.UNCHANGED: manifest.unchanged_count,
        metrics.AS_CHANGES: sum(bundle.base is not None for bundle in manifest.new_bundles),
        metrics.FETCHED: sum(bundle.size_bytes for bundle in manifest.new_bundles),
        metrics.ISSUES_WAITING: manifest.issues_waiting,
        metrics.SHARDS: len(reports),
        metrics.SHARDS_FAILED: sum(report.state == "lost" for report in reports),
    }
    if manifest.complete:
        values[metrics.VANISHED] = len(manifest.vanished)
    if manifest.complete or anomaly:
        values[metrics.ANOMALY] = int(anomaly)
    return values


def _overdue_copies(results: Results, archive: Archive, context: RunContext) -> dict[str, float]:
    """Return how many objects of the last backup the replica bucket should have and has not; nothing if unknown."""
    try:
        if results.plan.last_run:
            archive.check_copy_of(results.plan.last_run.date, results.plan.last_run.run_id)
    except S3Error as error:
        context.log.warning("replication status unknown", error=str(error))
        return {}
    seen = [results.plan.overdue_copies, *(report.overdue_copies for report in results.reports)]
    count = len(archive.overdue_copies.union(*seen))
    if count:
        context.log.warning("replica is behind", objects=count)
    return {metrics.REPLICATION_BEHIND: count}


def _publish(values: dict[str, float], store: PlanStore | None, context: RunContext) -> None:
    """Publish the metrics, once a run."""
    try:
        if store and store.is_published():
            return
    except S3Error as error:
        context.log.warning("progress not saved", error=str(error))
    metrics.publish_run(context.aws, context.service_name, context.seconds(), values, context.log)
    try:
        if store:
            store.note_published()
    except S3Error as error:
        context.log.warning("progress not saved", error=str(error))


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
