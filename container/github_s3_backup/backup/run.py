"""Back up every repository that a GitHub App can see to S3, and exit.

The story of a run: configuration, bucket, key, listing; then every repository's way, several at
once: clone, then bundle, verify and upload in one reading; then the manifest, the metrics and the exit code.
"""

import contextlib
import errno
import io
import os
import queue
import resource
import shutil
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Iterable, Iterator
from concurrent.futures import wait
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from structlog.typing import FilteringBoundLogger

from github_s3_backup import metrics
from github_s3_backup.backup.background import in_background
from github_s3_backup.backup.clone import clone
from github_s3_backup.backup.unchanged import LastBackup, carry_over
from github_s3_backup.capacity import BUFFERS, Admission, Budget, Job, memory_budget
from github_s3_backup.configuration import (
    DEFAULT_SERVICE_NAME,
    SERVICE_NAME,
    Configuration,
    ConfigurationError,
    read_configuration,
)
from github_s3_backup.disk import DiskFullError
from github_s3_backup.git.bundle import Bundle, BundleError, open_bundle
from github_s3_backup.git.process import Git, GitError, Mirror, count, fingerprint
from github_s3_backup.github.app import App, GitHub, Installation, RepositoryGoneError
from github_s3_backup.github.app_key import AppKeyError, key_from_file, key_from_secret
from github_s3_backup.github.rest import GitHubError, new_session
from github_s3_backup.logs import ABOUT, new_logger
from github_s3_backup.manifest import Entry, Failure, Manifest, Stage, StoredBundle, entry
from github_s3_backup.program import aws_session, s3_config
from github_s3_backup.redaction import Redactor
from github_s3_backup.repository import Repository
from github_s3_backup.s3.archive import Archive, ArchiveError, StoredObject, memory_for, part_size
from github_s3_backup.s3.catalogue import Catalogue, CatalogueError
from github_s3_backup.stop import Stop, Stopped

OK, SOME_FAILED, NOT_STARTED, STOPPED = 0, 1, 2, 143
# After a signal, in seconds: workers come home, the whole process ends, and what did not end is said.
WORKERS_GRACE, DEADLINE, LAST_WORDS = 8.0, 16.0, 2.0

EXPECTED_ERRORS = (GitError, GitHubError, BundleError, ArchiveError, DiskFullError, OSError)


class StartError(Exception):
    """The run can't start or can't list; one sentence a problem."""

    def __init__(self, *problems: str) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


@dataclass(frozen=True)
class Process:
    """What every part of this process shares, from its first line on."""

    started_at: datetime
    aws: boto3.session.Session
    redactor: Redactor
    stop: Stop
    log: FilteringBoundLogger


@dataclass(frozen=True)
class Services:
    """What a repository needs on its way, made once a run."""

    github: GitHub
    git: Git
    git_version: str
    archive: Archive
    last_backup: LastBackup
    admission: Admission
    buffers: Budget
    scratch: Path
    process: Process


@dataclass(frozen=True)
class Outcome:
    """How one repository's way ended: in which stage, after how many seconds."""

    result: Entry | Failure
    stage: Stage
    seconds: float
    id: int


@dataclass(frozen=True)
class Plan:
    """What GitHub listed, the largest first, and what it could not list."""

    repositories: list[Repository]
    failures: list[Failure]


def main() -> int:
    """Run once and return the exit code."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core file would hold the key and the tokens
    redactor, stop = Redactor(), Stop()
    if isinstance(sys.stdout, io.TextIOWrapper):  # a line that can't be encoded would be lost; JSON is UTF-8 anywhere
        sys.stdout.reconfigure(encoding=None if sys.stdout.isatty() else "utf-8", errors="backslashreplace")
    log = new_logger(sys.stdout, redactor)
    aws, problems = aws_session()
    process = Process(datetime.now(UTC), aws, redactor, stop, log)
    service = os.environ.get("SERVICE_NAME", "").strip()
    service = service if SERVICE_NAME.fullmatch(service) else DEFAULT_SERVICE_NAME
    try:
        with scratch_folder() as scratch:
            stop.listen(DEADLINE, lambda: give_up(scratch, service, process))
            configuration = read_configuration(os.environ, aws.region_name)
            if problems:
                raise StartError(*problems)
            return run(configuration, scratch, process)
    except (ConfigurationError, StartError) as error:
        return not_started([*problems, *(one for one in error.problems if one not in problems)], service, process)
    except Exception:
        log.exception("bug, please report it")
        publish({metrics.FAILURE: 1}, service, process)
        log.error("run broken off", exit_code=SOME_FAILED)
        return SOME_FAILED


@contextlib.contextmanager
def scratch_folder() -> Iterator[Path]:
    """Yield the run's temporary folder, gone afterwards whatever happens."""
    try:
        folder = tempfile.TemporaryDirectory(prefix="github-backup-", ignore_cleanup_errors=True)
    except OSError as error:
        raise StartError(f"TMPDIR: no temporary folder can be made: {error}") from None
    with folder as name:
        yield Path(name)


def run(configuration: Configuration, scratch: Path, process: Process) -> int:
    """Do everything between a sound configuration and the exit code. Raises StartError."""
    try:
        services, plan = start_stoppable(configuration, scratch, process)
    except Stopped:
        publish({metrics.FAILURE: 1}, configuration.service_name, process)
        process.log.error("run stopped before it listed the repositories", exit_code=STOPPED)
        return STOPPED
    process.log.info("repositories listed", repositories=len(plan.repositories), workers=configuration.concurrency)
    for failure in plan.failures:
        process.log.error("failed", full_name=failure.full_name, stage="list", duration=0.0, error=failure.error)
    outcomes = back_up_all(plan.repositories, configuration.concurrency, services)
    results = [*plan.failures, *(outcome.result for outcome in outcomes)]
    failures = (one for one in results if isinstance(one, Failure))
    manifest = Manifest(
        run_id=f"{process.started_at:%Y%m%dT%H%M%SZ}-{uuid.uuid4().hex[:8]}",
        started_at=process.started_at,
        finished_at=datetime.now(UTC),
        complete=not process.stop.is_set(),
        git_version=services.git_version,
        entries=tuple(one for one in results if isinstance(one, Entry)),
        failures=tuple(replace(one, error=process.redactor.clean(one.error)) for one in failures),
    )
    return finish(manifest, configuration.service_name, services)


# -- start ---------------------------------------------------------------------------------------


def start_stoppable(configuration: Configuration, scratch: Path, process: Process) -> tuple[Services, Plan]:
    """Start in a thread, so that a server that does not answer keeps nobody from stopping the run. Raises Stopped."""
    started = in_background(lambda: start(configuration, scratch, process))
    while process.stop.seconds() < WORKERS_GRACE:
        if wait([started], timeout=0.1).done:
            result = started.result()
            process.stop.check()
            return result
    raise Stopped


def start(configuration: Configuration, scratch: Path, process: Process) -> tuple[Services, Plan]:
    """Reach the bucket, git, the key and GitHub. Raises StartError with all that is wrong."""
    problems: list[str] = []
    listing = None
    git = Git(scratch, configuration.server_url, process.stop)
    with collecting(problems, "GitHub"):
        github = reach_github(configuration, process)
        # GitHub's answers take the longest; S3 is reached meanwhile.
        listing = in_background(lambda: list_repositories(github, configuration.installation_id))
    with collecting(problems, "S3"):
        s3 = process.aws.client("s3", config=s3_config(configuration.concurrency))
        day = (configuration.bucket, configuration.prefix, process.started_at)
        archive = Archive(s3, *day, process.stop, process.log)
        archive.probe()
        last_backup = read_last_backup(
            Catalogue(s3, configuration.bucket, configuration.prefix), configuration, process
        )
    with collecting(problems, "git"):
        git_version = git.version()
    if listing is not None:
        with collecting(problems, "GitHub"):
            plan = listing.result()
    if problems:
        raise StartError(*problems)
    admission, buffers = Admission(scratch, memory_budget(), process.stop), Budget(process.stop, BUFFERS)
    return Services(github, git, git_version, archive, last_backup, admission, buffers, scratch, process), plan


def read_last_backup(catalogue: Catalogue, configuration: Configuration, process: Process) -> LastBackup:
    """Return what the newest complete manifest says; nothing where there is none that can be read."""
    try:
        manifest = catalogue.newest_complete(f"{process.started_at:%Y-%m-%d}")
        missing = "there is no complete manifest"
    except CatalogueError as error:
        manifest, missing = None, str(error)
    if manifest:
        process.log.info("comparing with the last backup", date=manifest.date, run_id=manifest.run_id)
    else:
        process.log.info("no last backup, cloning every repository", reason=missing)
    return LastBackup(manifest, process.started_at.date(), configuration.full_backup_days)


@contextlib.contextmanager
def collecting(problems: list[str], where: str) -> Iterator[None]:
    """Add what goes wrong in this block to `problems`, so that all problems are said at once."""
    try:
        yield
    except StartError as error:
        problems.extend(error.problems)
    except (AppKeyError, ArchiveError, GitHubError) as error:
        problems.append(str(error))
    except (BotoCoreError, GitError, OSError, ValueError) as error:
        problems.append(f"{where} can't be used: {error}")


def reach_github(configuration: Configuration, process: Process) -> GitHub:
    """Return GitHub as the App sees it. Raises AppKeyError where its key can't be had."""
    if configuration.key_secret_arn:
        key = key_from_secret(process.aws.client("secretsmanager"), configuration.key_secret_arn)
    else:
        key = key_from_file(Path(str(configuration.key_file)))
    session = new_session(os.environ.get("SSL_CERT_FILE"), configuration.concurrency + 2)
    app = App(configuration.app_id, key, configuration.api_url, configuration.server_url)
    return GitHub(app, session, process.redactor, process.stop, process.log)


def list_repositories(github: GitHub, installation_id: int | None) -> Plan:
    """Return what is to be backed up. Raises StartError where there is nothing, GitHubError without an answer."""
    chosen = [Installation(installation_id, "?")] if installation_id else github.installations()
    plan = Plan([], [])
    for installation in chosen:
        try:
            listing = github.repositories(installation)
        except GitHubError as error:
            if installation_id:
                raise
            plan.failures.append(Failure(f"{installation.owner}/*", "list", str(error)))
            continue
        plan.repositories.extend(listing.repositories)
        plan.failures.extend(Failure(one.full_name, "list", str(one)) for one in listing.refused)
        if listing.missing:
            owner = listing.repositories[0].owner if listing.repositories else installation.owner
            short = f"GitHub counts {listing.total_count} repositories and lists {listing.missing} fewer, twice over"
            plan.failures.append(Failure(f"{owner}/*", "list", short))
    if not plan.repositories:
        nothing = "GitHub lists no repository: is the App installed, and does the installation include any?"
        raise StartError(*([f"{one.full_name}: {one.error}" for one in plan.failures] or [nothing]))
    plan.repositories.sort(key=lambda one: -one.size_kb)
    return plan


# -- every repository ----------------------------------------------------------------------------


def back_up_all(repositories: list[Repository], workers: int, services: Services) -> list[Outcome]:
    """Send each repository on its way, `workers` at once, and return how each ended."""
    admission = services.admission
    finished: queue.SimpleQueue[Outcome] = queue.SimpleQueue()
    for repository in repositories:
        admission.put(Job(repository))

    def work() -> None:
        with contextlib.suppress(Stopped):
            for job in admission.jobs():
                result = back_up(job, services)
                admission.put(result) if isinstance(result, Job) else finished.put(result)

    # Daemons: one that hangs in a system call does not keep a stopped run from ending.
    threads = [threading.Thread(target=work, daemon=True) for _ in range(min(workers, len(repositories)))]
    for thread in threads:
        thread.start()
    outcomes: list[Outcome] = []
    while len(outcomes) < len(repositories) and services.process.stop.seconds() < WORKERS_GRACE:
        alive = any(thread.is_alive() for thread in threads)
        try:
            outcomes.append(finished.get(timeout=0.2 if alive else 0))
            report(outcomes[-1], len(outcomes), len(repositories), services.process.log)
        except queue.Empty:
            if not alive:
                break
    home = {outcome.id for outcome in outcomes}
    lost = [one for one in repositories if one.id not in home]
    return outcomes + [Outcome(unfinished(one.full_name, "clone"), "clone", 0.0, one.id) for one in lost]


def unfinished(full_name: str, stage: Stage) -> Failure:
    return Failure(full_name, stage, "the run was stopped before this repository was stored")


def report(outcome: Outcome, done: int, total: int, log: FilteringBoundLogger) -> None:
    """Log how one repository's way ended."""
    result = outcome.result
    about = {"full_name": result.full_name, "stage": outcome.stage, "duration": round(outcome.seconds, 3)}
    if isinstance(result, Failure):
        log.error("failed", **about, done=done, total=total, error=result.error)
    else:
        log.info(result.status, **about, done=done, total=total, size_bytes=result.size_bytes, refs=result.ref_count)


# -- one repository ------------------------------------------------------------------------------


class Way:
    """Where a repository is on its way: what every log line of its thread says."""

    def __init__(self, full_name: str) -> None:
        self.stage: Stage = "clone"
        self._full_name, self._started = full_name, time.monotonic()
        ABOUT.set(self.about)

    def seconds(self) -> float:
        return time.monotonic() - self._started

    def about(self) -> dict[str, object]:
        return {"full_name": self._full_name, "stage": self.stage, "duration": round(self.seconds(), 3)}


def back_up(job: Job, services: Services) -> Outcome | Job:
    """Take one repository a step on its way: to its end or to its next job. Here an error becomes an outcome."""
    listed, log = job.repository, services.process.log
    way = Way(listed.full_name)
    result: Entry | Failure | Job
    try:
        if job.weight is None:
            log.info("started", size_kb=listed.size_kb)
            result = look(listed, services, way)
        else:
            result = store(job, services, way)
    except RepositoryGoneError:
        result = entry(listed, "gone", None, way.seconds())
    except Stopped:
        result = unfinished(listed.full_name, way.stage)
    except EXPECTED_ERRORS as error:
        result = Failure(listed.full_name, way.stage, services.process.redactor.clean(str(error)))
    except Exception as error:
        log.exception("bug, please report it")
        result = Failure(listed.full_name, way.stage, services.process.redactor.clean(f"bug: {error!r}"))
    if isinstance(result, Job):
        return result
    return Outcome(result, way.stage, way.seconds(), listed.id)


def look(listed: Repository, services: Services, way: Way) -> Entry | Job:
    """Carry the repository over if nothing changed; return the job to clone it otherwise."""
    known = services.last_backup.of(listed)
    carried = known and carry_over(listed, known, services.github, services.archive, services.process.log)
    if carried:
        return replace(carried, duration_seconds=round(way.seconds(), 3))
    size = max(listed.size_kb * 1024, services.last_backup.size_of(listed))
    return services.admission.to_clone(listed, size)


def store(job: Job, services: Services, way: Way) -> Entry | Job:
    """Store a clone; where the disk was too small for all, return the job to do it once more alone."""
    try:
        git = services.git.giving_way() if job.gives_way else services.git
        return store_clone(job.repository, replace(services, git=git), way)
    except (GitError, OSError) as error:
        if not disk_is_full(error):
            raise
        again = services.admission.alone(job)
        if again is None:
            raise DiskFullError(services.admission.too_small(str(error))) from None
        services.process.log.warning("disk full, trying again alone", error=str(error))
        return again


def disk_is_full(error: GitError | OSError) -> bool:
    return error.disk_full if isinstance(error, GitError) else error.errno in (errno.ENOSPC, errno.EDQUOT)


def store_clone(listed: Repository, services: Services, way: Way) -> Entry:
    """Clone, and upload the bundle, in a folder of its own."""
    with tempfile.TemporaryDirectory(dir=services.scratch, ignore_cleanup_errors=True) as name:
        repository, mirror = clone(
            listed,
            Path(name) / "mirror.git",
            services.github,
            services.git,
            services.process.stop,
            services.process.log,
        )
        if not mirror.refs:
            return entry(repository, "empty", None, way.seconds())
        stored = upload(repository, mirror, services, way)
        return entry(repository, "stored", stored, way.seconds())


def upload(repository: Repository, mirror: Mirror, services: Services, way: Way) -> StoredBundle:
    """Bundle, verify and upload in one reading. The stage is that in which it went wrong."""
    way.stage = "bundle"
    with (
        open_bundle(services.git, mirror) as bundle,
        services.buffers.reserve(memory_for(bundle.estimate)),
    ):
        way.stage = "upload"
        try:
            stored = services.archive.put_bundle(repository, bundle, part_size(bundle.estimate))
        except (GitError, OSError):
            way.stage = "bundle"
            raise
        except BundleError:
            way.stage = "verify"
            raise
        return stored_bundle(repository, mirror, bundle, stored)


def stored_bundle(repository: Repository, mirror: Mirror, bundle: Bundle, stored: StoredObject) -> StoredBundle:
    """Return what the manifest says of a bundle that S3 holds."""
    sha = mirror.refs.get(f"refs/heads/{repository.default_branch}".encode())
    return StoredBundle(
        key=stored.key,
        version_id=stored.version_id,
        s3_checksum=stored.checksum,
        size=bundle.size,
        sha256=bundle.sha256.hex(),
        ref_count=count(mirror.refs),
        refs_sha256=fingerprint(mirror.refs),
        sha=sha.decode() if sha else None,
    )


# -- the end -------------------------------------------------------------------------------------


def finish(manifest: Manifest, service: str, services: Services) -> int:
    """Write the manifest, publish the metrics, log the summary, and return the exit code."""
    process, archive = services.process, services.archive
    archive.abort_open_uploads()
    manifest_url: str | None = archive.url(archive.manifest_key)
    try:
        archive.put_manifest(manifest)
    except ArchiveError as error:
        process.log.error("manifest not written or not readable", error=str(error))
        manifest_url = None
    failed = manifest.failure_count or int(manifest_url is None or not manifest.complete)
    code = exit_code(manifest, manifest_url is not None)
    values: dict[str, float] = {
        metrics.SUCCESS: manifest.success_count,
        metrics.FAILURE: failed,
        metrics.BYTES: manifest.bytes_uploaded,
        metrics.UNCHANGED: manifest.unchanged_count,
    }
    publish(values, service, process)
    say = process.log.info if code == OK else process.log.error
    say(
        "run finished" if manifest.complete else "run stopped",
        exit_code=code,
        repositories=manifest.total_count,
        success=manifest.success_count,
        failed=manifest.failure_count,
        gone=manifest.gone_count,
        refs=manifest.ref_count,
        size_bytes=manifest.bytes_uploaded,
        duration=round(seconds_since(process.started_at), 3),
        manifest=manifest_url,
    )
    return code


def exit_code(manifest: Manifest, written: bool) -> int:
    """Return what the run ends with: see docs/decisions/0003-failure-isolation-and-exit-codes.md."""
    if not manifest.complete:
        return STOPPED
    if not written and manifest.success_count == 0:
        return NOT_STARTED  # the bucket took nothing at all
    return SOME_FAILED if manifest.failure_count or not written else OK


def not_started(problems: Iterable[str], service: str, process: Process) -> int:
    """Say everything that keeps the run from starting, raise the alarm where possible, and return the exit code."""
    for problem in problems:
        process.log.error("problem", error=problem)
    if process.aws.region_name:
        publish({metrics.FAILURE: 1}, service, process)
    process.log.error("run could not start", exit_code=NOT_STARTED)
    return NOT_STARTED


def publish(values: dict[str, float], service: str, process: Process) -> None:
    """Publish the run's metrics, 0 where `values` has none; a run outside AWS goes on without them."""
    every = dict.fromkeys(metrics.UNITS, 0.0) | {metrics.DURATION: seconds_since(process.started_at)} | values
    config = Config(retries={"mode": "standard", "total_max_attempts": 3}, connect_timeout=5, read_timeout=10)
    try:
        metrics.publish(process.aws.client("cloudwatch", config=config), service, every)
    except (BotoCoreError, ClientError, ValueError) as error:
        process.log.warning("metrics not published", error=str(error))


def seconds_since(moment: datetime) -> float:
    return (datetime.now(UTC) - moment).total_seconds()


def give_up(scratch: Path, service: str, process: Process) -> None:
    """End a stopped run that did not come to its end by itself."""
    process.stop.kill_processes()
    shutil.rmtree(scratch, ignore_errors=True)

    def last_words() -> None:
        publish({metrics.FAILURE: 1}, service, process)
        process.log.error("run stopped, and something did not answer in time", exit_code=STOPPED)

    # In a thread, as what did not answer may be the log or CloudWatch.
    speaker = threading.Thread(target=last_words, daemon=True)
    speaker.start()
    speaker.join(LAST_WORDS)
    os._exit(STOPPED)
