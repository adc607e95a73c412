"""The configuration of a run: its whole environment, checked before anything touches the network."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from github_s3_backup.records.content import Kind
from github_s3_backup.repository_filter import RepositoryFilter
from github_s3_backup.runtime.environment import NUMBER, ConfigurationError, EnvironmentReader

DEFAULT_PREFIX = "github-backup"
DEFAULT_SERVICE_NAME = "github-backup"
DEFAULT_API_URL = "https://api.github.com"
DEFAULT_SERVER_URL = "https://github.com"
# Four clones keep a CPU busy; most repositories only ask for refs, and wait for the network (docs/performance.md). By
# default no more in all than GitHub serves well to one client.
WORKERS_PER_CPU, MAX_DEFAULT_WORKERS = 8, 64
MAX_WORKERS = 256
# Days within which each repository is cloned afresh though it did not change.
DEFAULT_FULL_BACKUP_DAYS, MAX_FULL_BACKUP_DAYS = 28, 365
DEFAULT_ANOMALY_PERCENT = 5.0
# The variable of each kind of content.
CONTENT_FLAGS: Mapping[Kind, str] = MappingProxyType(
    {
        "wiki": "BACKUP_WIKIS",
        "lfs": "BACKUP_LFS",
        "releases": "BACKUP_RELEASES",
        "issues": "BACKUP_ISSUES",
        "pull_requests": "BACKUP_PULL_REQUESTS",
        "discussions": "BACKUP_DISCUSSIONS",
    }
)
# What says what a run backs up, and for how long. The manifest has it, so that a report can tell when it changed.
TOLD = (
    *("BACKUP_INCLUDE", "BACKUP_EXCLUDE", "BACKUP_SKIP_FORKS", "BACKUP_SKIP_ARCHIVED"),
    *CONTENT_FLAGS.values(),
    *("BACKUP_RETENTION_DAYS", "FULL_BACKUP_DAYS", "DIFFERENTIAL"),
)
MIN_DEADLINE_HOURS, MAX_DEADLINE_HOURS = 0.0001, 24 * 31
# AWS Step Functions starts at most 10,000 children of a map at once; more shards than this would not help.
MAX_SHARDS = 1000
# GitHub allows 100 concurrent requests; a few are kept for tokens and look-ups.
# https://docs.github.com/en/rest/using-the-rest-api/rate-limits-for-the-rest-api#about-secondary-rate-limits
DEFAULT_INSTALLATION_REQUESTS, MAX_INSTALLATION_REQUESTS = 96, 10_000
DEFAULT_SHARD_DISK_GIB, MAX_SHARD_DISK_GIB = 21, 200

APP_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
SECRET_ARN = re.compile(r"arn:aws[a-z-]*:secretsmanager:[a-z0-9-]+:[0-9]{12}:secret:\S+")
KMS_KEY_ARN = re.compile(r"arn:aws[a-z-]*:kms:[a-z0-9-]+:[0-9]{12}:(key/[A-Za-z0-9-]+|alias/[A-Za-z0-9/_-]+)")
BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
REGION = re.compile(r"[A-Za-z0-9-]+")
PREFIX = re.compile(r"[A-Za-z0-9!_.*'()-]+(/[A-Za-z0-9!_.*'()-]+)*")
# A CloudWatch dimension value is printable ASCII and does not start with a colon.
SERVICE_NAME = re.compile(r"[!-9;-~][ -~]{0,254}")
# The name of an execution of AWS Step Functions. It becomes a part of keys.
RUN_NAME = re.compile(r"[A-Za-z0-9_-]{1,80}")
SHARD = re.compile(r"[0-9]{1,4}")

# `backup` does it all in one task. Elsewhere one task lists, one for each shard backs it up, and one merges.
Command = Literal["backup", "list", "shard", "merge"]


@dataclass(frozen=True)
class GitHubSettings:
    """Which GitHub, as which App. Holds no secret: the key is read from the secret or the file."""

    app_id: str
    installation_id: int | None
    key_secret_arn: str | None
    key_file: Path | None
    api_url: str
    server_url: str


@dataclass(frozen=True)
class Orchestration:
    """The run in several tasks that this task is a part of.

    `shards`: how many it may have. `shard_disk_gib`: what a shard's task has without a volume. `installation_requests`:
    the requests of one installation in flight, in all shards together. `shard`: the one that this task is to back up.
    """

    run_name: str
    shards: int
    shard_disk_gib: int
    installation_requests: int
    shard: str


@dataclass(frozen=True)
class Signing:
    """The key that signs manifests: one in AWS KMS, or a local one. Neither: they are not signed."""

    key_arn: str | None
    key_file: Path | None


@dataclass(frozen=True)
class Configuration:
    """What one run needs to know.

    `differential`: a changed repository stores what changed since its full bundle. `orchestration`: None where the run
    is a single task. `variables`: those of TOLD that are set.
    """

    github: GitHubSettings
    bucket: str
    prefix: str
    service_name: str
    concurrency: int
    full_backup_days: int
    differential: bool
    deadline_hours: float | None
    anomaly_percent: float
    repository_filter: RepositoryFilter
    content: frozenset[Kind]
    signing: Signing
    orchestration: Orchestration | None
    variables: Mapping[str, str]

    @property
    def installation_requests(self) -> int:
        """The requests of one installation in flight, in all tasks together."""
        return self.orchestration.installation_requests if self.orchestration else DEFAULT_INSTALLATION_REQUESTS


def read_configuration(
    environment: Mapping[str, str], region: str | None, command: Command = "backup"
) -> Configuration:
    """Return the run's configuration, or raise ConfigurationError naming every problem at once.

    `region` is what boto3 found in the environment or the AWS profile. Makes no network call.
    """
    read = EnvironmentReader(environment)
    github = _read_github(read)
    bucket = read.required("S3_BUCKET", "the name of the bucket for the backups")
    read.matching("S3_BUCKET", bucket, BUCKET, "the bare name of a bucket (3 to 63 of a-z 0-9 . -)")
    prefix = _read_prefix(read)
    service = read.text("SERVICE_NAME") or DEFAULT_SERVICE_NAME
    read.matching("SERVICE_NAME", service, SERVICE_NAME, "1 to 255 printable ASCII characters, the first not a colon")
    workers = min(MAX_DEFAULT_WORKERS, WORKERS_PER_CPU * (os.cpu_count() or 1))
    configuration = Configuration(
        github=github,
        bucket=str(bucket),
        prefix=prefix,
        service_name=service,
        concurrency=read.number("BACKUP_CONCURRENCY", workers, MAX_WORKERS),
        full_backup_days=read.number("FULL_BACKUP_DAYS", DEFAULT_FULL_BACKUP_DAYS, MAX_FULL_BACKUP_DAYS),
        differential=read.flag("DIFFERENTIAL", default=True),
        deadline_hours=read.decimal("RUN_DEADLINE_HOURS", None, MIN_DEADLINE_HOURS, MAX_DEADLINE_HOURS),
        anomaly_percent=read.decimal("ANOMALY_PERCENT", DEFAULT_ANOMALY_PERCENT, 0, 100),
        repository_filter=_read_repository_filter(read),
        content=_read_content(read),
        signing=_read_signing(read),
        orchestration=None if command == "backup" else _read_orchestration(read, command),
        variables={name: text for name in TOLD if (text := environment.get(name, "").strip())},
    )
    _check_machine(read, region)
    if read.problems:
        raise ConfigurationError(read.problems)
    return configuration


def _read_github(read: EnvironmentReader) -> GitHubSettings:
    app_id = read.required("GITHUB_APP_ID", "the App's id or client id, from the App's settings page")
    read.matching("GITHUB_APP_ID", app_id, APP_ID, "the App's id (123456) or client id (Iv1.8a61f9b3a7aba766)")
    installation = read.text("GITHUB_APP_INSTALLATION_ID")
    read.matching("GITHUB_APP_INSTALLATION_ID", installation, NUMBER, "a number, or not set for all installations")
    arn, file = _read_key(read)
    return GitHubSettings(
        app_id=str(app_id),
        installation_id=int(installation) if installation and NUMBER.fullmatch(installation) else None,
        key_secret_arn=arn,
        key_file=Path(file) if file else None,
        api_url=read.url("GITHUB_API_URL", DEFAULT_API_URL),
        server_url=read.url("GITHUB_SERVER_URL", DEFAULT_SERVER_URL),
    )


def _read_key(read: EnvironmentReader) -> tuple[str | None, str | None]:
    arn, file = read.text("GITHUB_APP_KEY_SECRET_ARN"), read.text("GITHUB_APP_KEY_FILE")
    if (arn is None) == (file is None):
        count = "neither is" if arn is None else "both are"
        read.problems.append(
            f"set one of GITHUB_APP_KEY_SECRET_ARN and GITHUB_APP_KEY_FILE ({count} set): "
            "the Secrets Manager secret, or the file, that holds the App's private key"
        )
    example = "the ARN of a Secrets Manager secret (arn:aws:secretsmanager:REGION:ACCOUNT:secret:NAME)"
    read.matching("GITHUB_APP_KEY_SECRET_ARN", arn, SECRET_ARN, example)
    read.file("GITHUB_APP_KEY_FILE")
    return arn, file


def _read_prefix(read: EnvironmentReader) -> str:
    prefix = (read.text("S3_PREFIX") or DEFAULT_PREFIX).strip("/")
    read.matching("S3_PREFIX", prefix, PREFIX, "a key prefix such as github-backup (letters, digits, !_.*'()-, and /)")
    if {".", ".."} & set(prefix.split("/")):
        read.problems.append(f"S3_PREFIX must not contain '.' or '..' between slashes: {prefix!r}")
    return prefix


def _read_repository_filter(read: EnvironmentReader) -> RepositoryFilter:
    return RepositoryFilter(
        include=read.patterns("BACKUP_INCLUDE", ("*/*",)),
        exclude=read.patterns("BACKUP_EXCLUDE", ()),
        skip_forks=read.flag("BACKUP_SKIP_FORKS"),
        skip_archived=read.flag("BACKUP_SKIP_ARCHIVED"),
    )


def _read_content(read: EnvironmentReader) -> frozenset[Kind]:
    """Return what is backed up besides git data."""
    return frozenset([kind for kind, name in CONTENT_FLAGS.items() if read.flag(name, default=True)])


def _read_signing(read: EnvironmentReader) -> Signing:
    arn, file = read.text("MANIFEST_SIGNING_KEY_ARN"), read.text("MANIFEST_SIGNING_KEY_FILE")
    if arn and file:
        read.problems.append("set MANIFEST_SIGNING_KEY_ARN or MANIFEST_SIGNING_KEY_FILE, not both")
    example = "the ARN of a KMS key (arn:aws:kms:REGION:ACCOUNT:key/ID)"
    read.matching("MANIFEST_SIGNING_KEY_ARN", arn, KMS_KEY_ARN, example)
    read.file("MANIFEST_SIGNING_KEY_FILE")
    return Signing(arn, Path(file) if file else None)


def _read_orchestration(read: EnvironmentReader, command: Command) -> Orchestration:
    name = read.required("RUN_NAME", "the name of the run, the same in all its tasks")
    read.matching("RUN_NAME", name, RUN_NAME, "1 to 80 of A-Z a-z 0-9 _ -, such as the name of an execution")
    started_at = read.required("RUN_STARTED_AT", "when the run started, the same in all its tasks")
    if started_at and parse_started_at(started_at) is None:
        read.problems.append(f"RUN_STARTED_AT must be a moment such as 2026-11-23T04:00:00Z, not {started_at[:40]!r}")
    shard = read.required("RUN_SHARD", "the number of the shard to back up, such as 07") if command == "shard" else "0"
    read.matching("RUN_SHARD", shard, SHARD, "the number of a shard, such as 07")
    return Orchestration(
        run_name=str(name),
        shards=read.number("RUN_SHARDS", 1, MAX_SHARDS),
        shard_disk_gib=read.number("SHARD_DISK_GIB", DEFAULT_SHARD_DISK_GIB, MAX_SHARD_DISK_GIB),
        installation_requests=read.number(
            "INSTALLATION_REQUESTS", DEFAULT_INSTALLATION_REQUESTS, MAX_INSTALLATION_REQUESTS
        ),
        shard=str(shard),
    )


def parse_started_at(text: str) -> datetime | None:
    """Return the moment in RUN_STARTED_AT, in UTC; None where it is none, or has no time zone."""
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        return None
    return moment.astimezone(UTC) if moment.tzinfo else None


def _check_machine(read: EnvironmentReader, region: str | None) -> None:
    """Note what is wrong with this machine's certificates, temporary folder and AWS region."""
    read.certificates("GITHUB_CA_PEM")
    read.file("SSL_CERT_FILE")
    read.folder("TMPDIR")
    read.matching("AWS_REGION", region, REGION, "the name of a region such as eu-central-1")
    if not region:
        read.problems.append("AWS_REGION is not set: set it to the bucket's region, for instance eu-central-1")
