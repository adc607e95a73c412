"""What every restore command shares: its options, the bucket, and the services it works with."""

import argparse
import os
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import boto3
from structlog.typing import FilteringBoundLogger

from github_s3_backup.configuration import DEFAULT_SERVICE_NAME
from github_s3_backup.environment import ConfigurationError
from github_s3_backup.git.process import Git
from github_s3_backup.program import aws_session, s3_config
from github_s3_backup.redaction import Redactor
from github_s3_backup.restore.selection import LATEST, Selection, select
from github_s3_backup.s3.catalogue import Catalogue
from github_s3_backup.s3.download import Bundles
from github_s3_backup.stop import Stop

EVERYTHING = ["*/*"]


@dataclass(frozen=True)
class Session:
    """One run of a restore command. `scratch`: a temporary folder, removed at the end."""

    options: argparse.Namespace
    aws: boto3.session.Session
    catalogue: Catalogue
    bundles: Bundles
    scratch: Path
    redactor: Redactor
    stop: Stop
    log: FilteringBoundLogger
    started_at: datetime

    @property
    def patterns(self) -> list[str]:
        """The repositories asked for; all of them if none is named."""
        return self.options.patterns or EVERYTHING

    def git(self, server_url: str = "file:///") -> Git:
        """Return a git that can read local bundles and reach the given server."""
        return Git(self.scratch, server_url, self.stop, "file")

    def select(self, min_age: timedelta = timedelta(0)) -> Selection:
        """Return the repositories that the options ask for. Raises CatalogueError."""
        options = self.options
        return select(self.catalogue, options.date or LATEST, options.run, self.patterns, self.log, min_age)


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
    region = options.region or aws.region_name
    if not region:
        raise ConfigurationError(["the region is unknown: set --region or AWS_REGION to the bucket's region"])
    client = aws.client("s3", region_name=region, config=s3_config(options.concurrency))
    catalogue = Catalogue(client, options.bucket, options.prefix)
    bundles = Bundles(client, options.bucket, stop, log)
    return Session(options, aws, catalogue, bundles, scratch, redactor, stop, log, datetime.now(UTC))
