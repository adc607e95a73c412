"""A backup run, as a story: configuration, start, every repository, manifest, metrics, exit code."""

import contextlib
import io
import os
import resource
import shutil
import sys
import tempfile
import threading
import uuid
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from github_s3_backup import metrics
from github_s3_backup.backup.context import RunContext
from github_s3_backup.backup.listing import Plan, is_anomaly, vanished
from github_s3_backup.backup.one_repository import Outcome
from github_s3_backup.backup.services import Services
from github_s3_backup.backup.start import StartError, start
from github_s3_backup.backup.workers import back_up_all
from github_s3_backup.configuration import (
    DEFAULT_SERVICE_NAME,
    SERVICE_NAME,
    Configuration,
    read_configuration,
)
from github_s3_backup.environment import ConfigurationError
from github_s3_backup.logs import new_logger
from github_s3_backup.manifest import Entry, Failure, Manifest, new_manifest
from github_s3_backup.program import aws_session, trust_private_ca
from github_s3_backup.redaction import Redactor
from github_s3_backup.s3.archive import ArchiveError
from github_s3_backup.stop import Stop, Stopped

OK, SOME_FAILED, NOT_STARTED, STOPPED = 0, 1, 2, 143
# After a signal, in seconds: when the process is ended whatever it does, and how long its last log line may take.
STOP_TIMEOUT, LAST_WORDS = 16.0, 2.0


def main() -> int:
    """Run once and return the exit code."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core file would hold the key and the tokens
    if isinstance(sys.stdout, io.TextIOWrapper):  # a line that can't be encoded would be lost; JSON is always UTF-8
        sys.stdout.reconfigure(encoding=None if sys.stdout.isatty() else "utf-8", errors="backslashreplace")
    redactor, stop = Redactor(), Stop()
    log = new_logger(sys.stdout, redactor)
    aws, problems = aws_session()
    context = RunContext(datetime.now(UTC), service_name(), aws, redactor, stop, log)
    try:
        with scratch_folder() as scratch:
            stop.listen(STOP_TIMEOUT, lambda: give_up(scratch, context))
            configuration = read_configuration(os.environ, aws.region_name)
            if problems:
                raise StartError(*problems)
            trust_private_ca(scratch)
            return run(configuration, scratch, context)
    except (ConfigurationError, StartError) as error:
        return not_started(dict.fromkeys([*problems, *error.problems]), context)
    except Exception:
        log.exception("bug, please report it")
        publish({metrics.FAILURE: 1}, context)
        log.error("run failed", exit_code=SOME_FAILED)
        return SOME_FAILED


def service_name() -> str:
    """Return the metrics' dimension: the default if the variable is wrong, so that the alarm still fires."""
    name = os.environ.get("SERVICE_NAME", "").strip()
    return name if SERVICE_NAME.fullmatch(name) else DEFAULT_SERVICE_NAME


@contextlib.contextmanager
def scratch_folder() -> Iterator[Path]:
    """Yield the run's temporary folder, removed afterwards whatever happens."""
    try:
        folder = tempfile.TemporaryDirectory(prefix="github-backup-", ignore_cleanup_errors=True)
    except OSError as error:
        raise StartError(f"TMPDIR: cannot create a temporary folder: {error}") from None
    with folder as name:
        yield Path(name)


def run(configuration: Configuration, scratch: Path, context: RunContext) -> int:
    """Do everything between a valid configuration and the exit code. Raises StartError."""
    if configuration.deadline_hours:
        context.stop.expire_after(configuration.deadline_hours * 3600)
    try:
        services, plan = start(configuration, scratch, context)
    except Stopped:
        if context.stop.reason == "deadline":
            hours = f"{configuration.deadline_hours:g}"
            raise StartError(f"RUN_DEADLINE_HOURS: the repositories were not listed within {hours} hours") from None
        publish({metrics.FAILURE: 1}, context)
        context.log.error("run stopped before it listed the repositories", exit_code=STOPPED)
        return STOPPED
    context.log.info("repositories listed", repositories=len(plan.repositories), workers=configuration.concurrency)
    for failure in plan.failures:
        context.log.error("failed", full_name=failure.full_name, stage="list", duration=0.0, error=failure.error)
    outcomes = back_up_all(plan.repositories, configuration.concurrency, services)
    manifest = manifest_of(plan, outcomes, services)
    anomaly = has_anomaly(manifest, services, configuration.anomaly_percent)
    return finish(manifest, anomaly, services)


def manifest_of(plan: Plan, outcomes: list[Outcome], services: Services) -> Manifest:
    """Return what the run's manifest says."""
    context, results = services.context, [outcome.result for outcome in outcomes]
    entries = [result for result in results if isinstance(result, Entry)]
    lost = [services.last_backup.stored(entry.id) for entry in entries if entry.status == "gone"]
    return new_manifest(
        run_id=f"{context.started_at:%Y%m%dT%H%M%SZ}-{uuid.uuid4().hex[:8]}",
        started_at=context.started_at,
        finished_at=datetime.now(UTC),
        complete=context.stop.reason != "signal",
        git_version=services.git_version,
        entries=entries,
        failures=[
            msgspec.structs.replace(f, error=context.redactor.clean(f.error))
            for f in (*plan.failures, *results)
            if isinstance(f, Failure)
        ],
        vanished=[*plan.vanished, *(vanished(entry, f"{context.started_at:%Y-%m-%d}") for entry in lost if entry)],
    )


def has_anomaly(manifest: Manifest, services: Services, percent: float) -> bool:
    """Return whether so many repositories are lost since the last backup that the run must count as failed."""
    gone = [entry.id for entry in manifest.entries if entry.status == "gone"]
    lost = {*gone, *(repository.id for repository in manifest.vanished if repository.since == manifest.date)}
    before = services.last_backup.manifest
    lost -= {repository.id for repository in before.vanished} if before else set()
    all_gone = bool(gone) and len(gone) == manifest.total_repos
    if not all_gone and not is_anomaly(lost, services.last_backup, percent):
        return False
    services.context.log.error("anomaly: many repositories are gone", gone=len(lost), repositories=manifest.total_repos)
    return True


# -- the end -------------------------------------------------------------------------------------


def finish(manifest: Manifest, anomaly: bool, services: Services) -> int:
    """Write the manifest, publish the metrics, log the summary, and return the exit code."""
    context, archive = services.context, services.archive
    services.uploader.abort_open_uploads()
    url: str | None = archive.manifest_url(manifest.run_id)
    try:
        archive.put_manifest(manifest)
    except ArchiveError as error:
        context.log.error("manifest not written or not readable", error=str(error))
        url = None
    code = exit_code(manifest, url is not None, anomaly)
    values: dict[str, float] = {
        metrics.SUCCESS: manifest.success_count,
        metrics.FAILURE: manifest.failure_count or int(code != OK),
        metrics.BYTES: services.uploader.bytes_uploaded,
        metrics.UNCHANGED: manifest.unchanged_count,
        metrics.VANISHED: len(manifest.vanished),
        metrics.ANOMALY: int(anomaly),
        metrics.REPLICATION_BEHIND: overdue_copies(services),
    }
    publish(values, context)
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
        size_bytes=services.uploader.bytes_uploaded,
        duration=round(context.seconds(), 3),
        manifest=url,
    )
    return code


def exit_code(manifest: Manifest, written: bool, anomaly: bool) -> int:
    """Return what the run ends with: see docs/decisions/0003-failure-isolation-and-exit-codes.md."""
    if not manifest.complete:
        return STOPPED
    if not written and manifest.success_count == 0:
        return NOT_STARTED  # the bucket took nothing at all
    return SOME_FAILED if manifest.failure_count or anomaly or not written else OK


def overdue_copies(services: Services) -> int:
    """Return how many objects of the last backup the replica bucket should have and has not."""
    try:
        services.archive.check_copy_of(services.last_backup.manifest)
    except ArchiveError as error:
        services.context.log.warning("replication status unknown", error=str(error))
    count = services.archive.overdue_copies
    if count:
        services.context.log.warning("replica is behind", objects=count)
    return count


def not_started(problems: Iterable[str], context: RunContext) -> int:
    """Log everything that keeps the run from starting, raise the alarm where possible, and return the exit code."""
    for problem in problems:
        context.log.error("problem", error=problem)
    if context.aws.region_name:
        publish({metrics.FAILURE: 1}, context)
    context.log.error("run could not start", exit_code=NOT_STARTED)
    return NOT_STARTED


def publish(values: dict[str, float], context: RunContext) -> None:
    """Publish the run's metrics, 0 for what `values` lacks."""
    all_values = dict.fromkeys(metrics.UNITS, 0.0) | {metrics.DURATION: context.seconds()} | values
    metrics.publish(context.aws, context.service_name, all_values, context.log)


def give_up(scratch: Path, context: RunContext) -> None:
    """End a stopped run that did not finish in time."""
    context.stop.kill_processes()
    shutil.rmtree(scratch, ignore_errors=True)

    def last_words() -> None:
        publish({metrics.FAILURE: 1}, context)
        context.log.error("run stopped, but something did not respond in time", exit_code=STOPPED)

    # In a thread, because the log or CloudWatch may be what does not respond.
    speaker = threading.Thread(target=last_words, daemon=True)
    speaker.start()
    speaker.join(LAST_WORDS)
    os._exit(STOPPED)
