"""What every restore command shares: its options, the bucket, and the services it works with."""

import argparse
import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
from structlog.typing import FilteringBoundLogger

from github_s3_backup.configuration import DEFAULT_SERVICE_NAME
from github_s3_backup.git.process import Git
from github_s3_backup.program import aws_session
from github_s3_backup.records.json_fields import utc
from github_s3_backup.restore.by_hand import ByHand
from github_s3_backup.restore.fallback import FallbackReader, readable_catalogue
from github_s3_backup.restore.selection.latest import LATEST
from github_s3_backup.restore.selection.records import Selection, Unavailable
from github_s3_backup.restore.selection.repositories import Asked, select
from github_s3_backup.restore.workers import Ended, Pool, Workers
from github_s3_backup.runtime.environment import ConfigurationError
from github_s3_backup.runtime.redaction import Redactor
from github_s3_backup.runtime.stop import Stop
from github_s3_backup.s3.catalogue import Catalogue
from github_s3_backup.s3.client import reading_client
from github_s3_backup.s3.download import BucketReader
from github_s3_backup.s3.objects import Objects
from github_s3_backup.s3.trust import trusted_keys

OK, SOME_FAILED, STOPPED = 0, 1, 143
EVERYTHING = ["*/*"]
# LFS objects and release files at once, for each repository at once: these wait for the network, not for git.
FILES_PER_WORKER = 2


@dataclass(frozen=True)
class Session:
    """One run of a restore command.

    `scratch`: a temporary folder, removed at the end. `workers`: for repositories. `pool`: for their content.
    `by_hand`: what the command leaves for a person to do.
    """

    options: argparse.Namespace
    aws: boto3.session.Session
    catalogue: Catalogue
    reader: BucketReader
    workers: Workers
    pool: Pool
    scratch: Path
    redactor: Redactor
    stop: Stop
    log: FilteringBoundLogger
    started_at: datetime
    by_hand: ByHand

    @property
    def patterns(self) -> list[str]:
        """The repositories asked for; all of them if none is named."""
        return self.options.patterns or EVERYTHING

    def git(self, server_url: str = "file:///") -> Git:
        """Return a git that reads local bundles and reaches the given server. Raises ConfigurationError without git."""
        if shutil.which("git") is None:
            raise ConfigurationError(["git is not installed here: install git 2.30 or newer"])
        return Git(self.scratch, server_url, self.stop, "file")

    def select(self, min_age: timedelta = timedelta(0)) -> Selection:
        """Return the repositories that the options ask for. Raises S3Error."""
        options = self.options
        asked = Asked(options.date or LATEST, options.run, self.patterns, min_age, options.git_only)
        selection = select(self.catalogue, asked, self.log)
        if selection.manifest.signing_key and not options.trusted_key:
            self.log.info("signatures not checked: name the key that you trust with --trusted-key")
        return selection.without(options.exclude).with_first(options.first)


def service_name() -> str:
    """Return the value of the metrics' dimension."""
    return os.environ.get("SERVICE_NAME", "").strip() or DEFAULT_SERVICE_NAME


def open_session(
    options: argparse.Namespace, scratch: Path, redactor: Redactor, stop: Stop, log: FilteringBoundLogger
) -> Session:
    """Connect to the bucket's region. Raises ConfigurationError."""
    aws, problems = aws_session()
    if problems:
        raise ConfigurationError(problems)
    trusted = trusted_keys(options.trusted_key, aws)
    files_at_once = FILES_PER_WORKER * options.concurrency
    workers = options.concurrency + files_at_once
    client = reading_client(aws, options.bucket, options.region, workers)
    catalogue = Catalogue(Objects(client, options.bucket), options.prefix, trusted)
    reader = BucketReader(client, options.bucket, stop, log)
    if options.fallback_bucket:
        other = reading_client(aws, options.fallback_bucket, options.fallback_region or options.region, workers)
        replica = Catalogue(Objects(other, options.fallback_bucket), options.prefix, trusted)
        catalogue = readable_catalogue(catalogue, replica, log)
        reader = FallbackReader(reader, BucketReader(other, options.fallback_bucket, stop, log), log)
    workers, pool = Workers(options.concurrency, stop, log), Pool(files_at_once, stop)
    now = datetime.now(UTC)
    return Session(options, aws, catalogue, reader, workers, pool, scratch, redactor, stop, log, now, ByHand())


def write_result(path: Path, session: Session, failures: Sequence[Unavailable], summary: dict[str, Any]) -> None:
    """Write what a command did as JSON, whole or not at all. Raises OSError."""
    document = {
        "schema_version": 1,
        "command": session.options.command,
        "bucket": session.options.bucket,
        "started_at": utc(session.started_at),
        "finished_at": utc(datetime.now(UTC)),
        **summary,
        "failures": [asdict(failure) for failure in failures],
        "by_hand": session.by_hand.tasks(),
    }
    unfinished = path.with_name(f"{path.name}.part")
    unfinished.write_text(json.dumps(document, indent=2) + "\n")
    unfinished.replace(path)


def finish(session: Session, failures: Sequence[Unavailable], done: int, ended: Ended[Any] | None = None) -> int:
    """Log every failure, what is left to do by hand, and the summary; write the report; return the exit code.

    `ended`: how the repositories ended. One that is left was stopped.
    """
    command = session.options.command
    for failure in failures:
        session.log.error("failed", full_name=failure.full_name, error=failure.error)
    for task, places in session.by_hand.tasks().items():
        session.log.warning("left to do by hand", task=task, places=len(places), first=places[0])
    stopped = bool(ended and ended.left)
    code = STOPPED if stopped else SOME_FAILED if failures else OK
    seconds = round((datetime.now(UTC) - session.started_at).total_seconds(), 3)
    summary = {"exit_code": code, "done": done, "failed": len(failures), "duration": seconds}
    if report := getattr(session.options, "result", None):
        names = {"repositories_done": ended.done, "repositories_left": ended.left} if ended else {}
        write_result(report, session, failures, summary | names)
    if stopped:
        session.log.error(f"{command} stopped", **summary)
    elif failures:
        session.log.error(f"{command} finished", **summary)
    elif command in ("fetch", "verify", "push"):
        session.log.info(f"{command} finished", **summary)
    return code
