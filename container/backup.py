#!/usr/bin/env python3
"""Back up every repository that a GitHub App can see to S3, and exit.

The story of a run: configuration, bucket, key, listing; then every repository's way, several at
once: clone, bundle, verify, upload; then the manifest, the metrics and the exit code.
"""

import contextlib
import errno
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
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from structlog.typing import FilteringBoundLogger

import metrics
from app_key import AppKeyError, key_from_file, key_from_secret
from archive import Archive, ArchiveError
from bundle import Bundle, BundleError, prove_bundle, write_bundle
from clone import clone
from configuration import DEFAULT_SERVICE_NAME, Configuration, ConfigurationError, read_configuration
from disk import Disk, DiskFullError, estimate
from git import Git, GitError, Mirror
from github import App, GitHub, GitHubError, Installation, RepositoryGoneError, new_session
from logs import new_logger
from manifest import Entry, Failure, Manifest, Stage, StoredBundle, entry
from redaction import Redactor
from repository import Repository
from stop import Stop, Stopped

OK, SOME_FAILED, NOT_STARTED, STOPPED = 0, 1, 2, 143
# After a signal: workers get so long to come home, and the whole process so long to end. Seconds.
WORKERS_GRACE, DEADLINE = 8.0, 18.0

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
    archive: Archive
    disk: Disk
    scratch: Path
    process: Process


@dataclass(frozen=True)
class Outcome:
    """How one repository's way ended: in which stage, after how many seconds."""

    result: Entry | Failure
    stage: Stage
    seconds: float
    name: str


@dataclass(frozen=True)
class Plan:
    """What GitHub listed, the largest first, and what it could not list."""

    repositories: list[Repository]
    failures: list[Failure]


def main() -> int:
    """Run once and return the exit code."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core file would hold the key and the tokens
    redactor = Redactor()
    # boto3 by itself knows AWS_DEFAULT_REGION only; Fargate sets AWS_REGION.
    aws = boto3.session.Session(region_name=os.environ.get("AWS_REGION") or None)
    process = Process(datetime.now(UTC), aws, redactor, Stop(), new_logger(sys.stdout, redactor))
    service = os.environ.get("SERVICE_NAME", "").strip() or DEFAULT_SERVICE_NAME
    try:
        configuration = read_configuration(os.environ, aws.region_name)
        with scratch_folder() as scratch:
            process.stop.listen(DEADLINE, lambda: give_up(scratch, process))
            return run(configuration, scratch, process)
    except (ConfigurationError, StartError) as error:
        return not_started(error.problems, service, process)
    except Exception:
        process.log.exception("bug, please report it")
        publish({metrics.FAILURE: 1}, service, process)
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
        with process.stop.interrupting():
            services, plan = start(configuration, scratch, process)
            git_version = services.git.version()
    except Stopped:
        publish({metrics.FAILURE: 1}, configuration.service_name, process)
        process.log.error("run stopped before it listed the repositories", exit_code=STOPPED)
        return STOPPED
    process.log.info("repositories listed", repositories=len(plan.repositories), workers=configuration.concurrency)
    outcomes = back_up_all(plan.repositories, configuration.concurrency, services)
    results = [*plan.failures, *(outcome.result for outcome in outcomes)]
    manifest = Manifest(
        run_id=f"{process.started_at:%Y%m%dT%H%M%SZ}-{uuid.uuid4().hex[:8]}",
        started_at=process.started_at,
        finished_at=datetime.now(UTC),
        complete=not process.stop.is_set(),
        git_version=git_version,
        entries=tuple(one for one in results if isinstance(one, Entry)),
        failures=tuple(one for one in results if isinstance(one, Failure)),
    )
    return finish(manifest, configuration.service_name, services)


# -- start ---------------------------------------------------------------------------------------


def start(configuration: Configuration, scratch: Path, process: Process) -> tuple[Services, Plan]:
    """Reach the bucket, git, the key and GitHub. Raises StartError with all that is wrong."""
    problems: list[str] = []
    s3 = process.aws.client("s3", config=s3_config(configuration.concurrency))
    archive = Archive(s3, configuration.bucket, configuration.prefix, process.started_at, process.stop)
    git = Git(scratch, configuration.server_url, process.stop)
    try:
        archive.probe()
    except ArchiveError as error:
        problems.append(str(error))
    try:
        git.version()
    except OSError as error:
        problems.append(f"git can't be run: {error}")
    try:
        github = reach_github(configuration, process)
        plan = list_repositories(github, configuration.installation_id)
    except (AppKeyError, GitHubError) as error:
        raise StartError(*problems, str(error)) from None
    except StartError as error:
        raise StartError(*problems, *error.problems) from None
    if problems:
        raise StartError(*problems)
    return Services(github, git, archive, Disk(scratch, process.stop), scratch, process), plan


def s3_config(workers: int) -> Config:
    """Return the S3 client's settings: retries by botocore, one connection a worker."""
    return Config(
        retries={"mode": "standard", "total_max_attempts": 5},
        max_pool_connections=workers + 2,
        connect_timeout=10,
        read_timeout=60,
    )


def reach_github(configuration: Configuration, process: Process) -> GitHub:
    """Return GitHub as the App sees it. Raises AppKeyError where its key can't be had."""
    if configuration.key_secret_arn:
        key = key_from_secret(process.aws.client("secretsmanager"), configuration.key_secret_arn)
    else:
        key = key_from_file(Path(str(configuration.key_file)))
    session = new_session(configuration.api_url, os.environ.get("SSL_CERT_FILE"))
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
    waiting: queue.SimpleQueue[Repository] = queue.SimpleQueue()
    finished: queue.SimpleQueue[Outcome] = queue.SimpleQueue()
    for repository in repositories:
        waiting.put(repository)

    def work() -> None:
        with contextlib.suppress(queue.Empty):
            while True:
                finished.put(back_up(waiting.get_nowait(), services))

    for _ in range(min(workers, len(repositories))):
        # Daemons: one that hangs in a system call does not keep a stopped run from ending.
        threading.Thread(target=work, daemon=True).start()
    outcomes: list[Outcome] = []
    while len(outcomes) < len(repositories) and services.process.stop.seconds() < WORKERS_GRACE:
        with contextlib.suppress(queue.Empty):
            outcomes.append(finished.get(timeout=0.2))
            report(outcomes[-1], len(outcomes), len(repositories), services.process.log)
    home = {outcome.name for outcome in outcomes}
    lost = [one for one in repositories if one.full_name not in home]
    return outcomes + [Outcome(unfinished(one.full_name, "clone"), "clone", 0.0, one.full_name) for one in lost]


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
    """Where a repository is on its way, for its log lines."""

    def __init__(self, full_name: str, log: FilteringBoundLogger) -> None:
        self.stage: Stage = "clone"
        self._full_name, self._log, self._started = full_name, log, time.monotonic()

    def seconds(self) -> float:
        return time.monotonic() - self._started

    def log(self) -> FilteringBoundLogger:
        """Return a logger whose lines say which repository, which stage, and how long so far."""
        return self._log.bind(full_name=self._full_name, stage=self.stage, duration=round(self.seconds(), 3))


def back_up(listed: Repository, services: Services) -> Outcome:
    """Take one repository all its way. The one place where an error becomes an outcome."""
    way = Way(listed.full_name, services.process.log)
    way.log().info("started", size_kb=listed.size_kb)
    result: Entry | Failure
    try:
        result = store(listed, services, way)
    except RepositoryGoneError:
        result = entry(listed, "gone", None, way.seconds())
    except Stopped:
        result = unfinished(listed.full_name, way.stage)
    except EXPECTED_ERRORS as error:
        result = Failure(listed.full_name, way.stage, services.process.redactor.clean(str(error)))
    except Exception as error:
        way.log().exception("bug, please report it")
        result = Failure(listed.full_name, way.stage, services.process.redactor.clean(f"bug: {error!r}"))
    return Outcome(result, way.stage, way.seconds(), listed.full_name)


def store(listed: Repository, services: Services, way: Way) -> Entry:
    """Store the repository; where GitHub's estimate was too low for the disk, once more alone on it."""
    try:
        return store_within(estimate(listed.size_kb), listed, services, way)
    except (GitError, OSError) as error:
        if not disk_is_full(error):
            raise
        way.log().warning("disk full, trying again alone", error=str(error))
    try:
        return store_within(services.disk.budget, listed, services, way)
    except (GitError, OSError) as error:
        if not disk_is_full(error):
            raise
        raise DiskFullError(services.disk.too_small(str(error))) from None


def disk_is_full(error: GitError | OSError) -> bool:
    return error.disk_full if isinstance(error, GitError) else error.errno == errno.ENOSPC


def store_within(size: int, listed: Repository, services: Services, way: Way) -> Entry:
    """Clone, bundle, verify and upload, in a folder of its own, on `size` bytes of disk."""
    with (
        services.disk.reserve(size),
        tempfile.TemporaryDirectory(dir=services.scratch, ignore_cleanup_errors=True) as name,
    ):
        folder = Path(name)
        way.stage = "clone"
        repository, mirror = clone(
            listed, folder / "mirror.git", services.github, services.git, services.process.stop, way.log
        )
        if not mirror.refs:
            return entry(repository, "empty", None, way.seconds())
        way.stage = "bundle"
        write_bundle(services.git, mirror, folder / "bundle")
        way.stage = "verify"
        bundle = prove_bundle(folder / "bundle", mirror)
        shutil.rmtree(mirror.path)
        way.stage = "upload"
        version_id = services.archive.put_bundle(repository, bundle)
        stored = stored_bundle(repository, mirror, bundle, services.archive.key(repository), version_id)
        return entry(repository, "stored", stored, way.seconds())


def stored_bundle(
    repository: Repository, mirror: Mirror, bundle: Bundle, key: str, version_id: str | None
) -> StoredBundle:
    """Return what the manifest says of a bundle that S3 holds."""
    sha = mirror.refs.get(f"refs/heads/{repository.default_branch}".encode())
    return StoredBundle(
        key=key,
        version_id=version_id,
        size=bundle.size,
        sha256=bundle.sha256.hex(),
        ref_count=bundle.ref_count,
        refs_sha256=bundle.refs_sha256,
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
        process.log.error("manifest not written", error=str(error))
        manifest_url = None
    failed = manifest.failure_count or int(manifest_url is None or not manifest.complete)
    code = STOPPED if not manifest.complete else SOME_FAILED if failed else OK
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


def give_up(scratch: Path, process: Process) -> None:
    """End a stopped run that did not come to its end by itself."""
    process.log.error("run stopped, and something did not answer in time", exit_code=STOPPED)
    process.stop.kill_processes()
    shutil.rmtree(scratch, ignore_errors=True)
    os._exit(STOPPED)


if __name__ == "__main__":
    sys.exit(main())
