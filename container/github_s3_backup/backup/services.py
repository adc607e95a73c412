"""What a task of a run works with: its context, GitHub, git, the bucket, and this machine's capacity."""

import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import boto3
from structlog.typing import FilteringBoundLogger

from github_s3_backup.backup.plan.last_backup import LastBackup
from github_s3_backup.backup.plan.records import Shard
from github_s3_backup.backup.plan.store import PlanStore
from github_s3_backup.backup.repository.transfers import AT_ONCE, Transfers
from github_s3_backup.backup.turns import Turns, checks_at_once
from github_s3_backup.configuration import Command, Configuration
from github_s3_backup.git.process import Git
from github_s3_backup.github.app_key import key_from_file, key_from_secret
from github_s3_backup.github.client import GitHub
from github_s3_backup.github.installations import Installations
from github_s3_backup.github.tokens import App
from github_s3_backup.github.transport.http import new_session
from github_s3_backup.github.transport.limiter import Budget
from github_s3_backup.github.transport.rest import Api
from github_s3_backup.program import s3_config
from github_s3_backup.records.content import ISSUE_KINDS, Kind
from github_s3_backup.records.signing import KMS_CONFIG, KmsSigner, Signer, signer_from_file
from github_s3_backup.repository_filter import RepositoryFilter
from github_s3_backup.runtime.capacity import UPLOAD_BUFFERS, Capacity, Reservation, machine_capacity
from github_s3_backup.runtime.redaction import Redactor
from github_s3_backup.runtime.stop import Stop
from github_s3_backup.s3.archive import Archive
from github_s3_backup.s3.catalogue import Catalogue
from github_s3_backup.s3.content_store import ContentStore
from github_s3_backup.s3.keys import lfs_root, plan_folder, releases_root
from github_s3_backup.s3.objects import Objects
from github_s3_backup.s3.upload import Uploader


@dataclass(frozen=True)
class RunContext:
    """What the task knows before it reads its configuration. Made in the first lines of `main`.

    `started_at`: when the run started. `task_started_at`: when this task did; later, where a run has several tasks.
    """

    run_id: str
    started_at: datetime
    task_started_at: datetime
    command: Command
    service_name: str
    aws: boto3.session.Session
    redactor: Redactor
    stop: Stop
    log: FilteringBoundLogger

    @property
    def date(self) -> str:
        """The run's day in UTC: what it stores is in this folder."""
        return f"{self.started_at:%Y-%m-%d}"

    def seconds(self) -> float:
        """Return the seconds since the run started."""
        return (datetime.now(UTC) - self.started_at).total_seconds()

    def task_seconds(self) -> float:
        """Return the seconds since this task started."""
        return (datetime.now(UTC) - self.task_started_at).total_seconds()


@dataclass(frozen=True)
class Content:
    """What it takes to store LFS objects and the files of releases, and which kinds of content are wanted."""

    wanted: frozenset[Kind]
    lfs: ContentStore
    releases: ContentStore
    transfers: Transfers


@dataclass(frozen=True)
class Bucket:
    """What a task writes to, and what it reads. `plan_store`: of a run in several tasks.

    `signer`: of the manifest, None where it is not to be signed.
    """

    archive: Archive
    uploader: Uploader
    content: Content
    catalogue: Catalogue
    plan_store: PlanStore | None
    signer: Signer | None


@dataclass(frozen=True)
class Servers:
    """What a task has reached: GitHub, the bucket, and git."""

    github: GitHub
    bucket: Bucket
    git: Git


@dataclass(frozen=True)
class Services:
    """What the backup of one repository needs.

    `checks`: how many are asked at once whether they changed. `differential`: one that did may store what changed.
    """

    github: GitHub
    git: Git
    archive: Archive
    uploader: Uploader
    content: Content
    last_backup: LastBackup
    checks: int
    turns: Turns
    differential: bool
    capacity: Capacity
    repository_filter: RepositoryFilter
    scratch: Path
    context: RunContext


def reach_github(configuration: Configuration, context: RunContext, shares: int = 1) -> GitHub:
    """Return GitHub as the App sees it. Raises AppKeyError where its key can't be had.

    `shares`: how many tasks share what an installation may ask.
    """
    settings = configuration.github
    if settings.key_secret_arn:
        key = key_from_secret(context.aws.client("secretsmanager"), settings.key_secret_arn)
    else:
        key = key_from_file(Path(str(settings.key_file)))
    budget = Budget(configuration.installation_requests, shares)
    session = new_session(os.environ.get("SSL_CERT_FILE"), budget.at_once + AT_ONCE + 2)
    app = App(
        settings.app_id,
        key,
        settings.api_url,
        settings.server_url,
        optional=frozenset(configuration.content.intersection(ISSUE_KINDS)),
        installation_id=settings.installation_id,
    )
    api = Api(app.api_url, session, context.stop, context.log)
    return GitHub(Installations(app, api, context.redactor, budget))


def open_bucket(configuration: Configuration, context: RunContext) -> Bucket:
    """Return the bucket. Makes no network call. Raises SigningError where the file of the signing key has no key."""
    checks = checks_at_once(configuration.concurrency, configuration.installation_requests)
    client = context.aws.client("s3", config=s3_config(checks + AT_ONCE))
    name, prefix, log, stop = configuration.bucket, configuration.prefix, context.log, context.stop
    objects = Objects(client, name)
    uploader = Uploader(objects, Capacity(Reservation(0, UPLOAD_BUFFERS), stop), stop, log)
    lfs, releases = (
        ContentStore(objects, uploader, root(prefix), context.started_at, log) for root in (lfs_root, releases_root)
    )
    plan_store = None
    if configuration.orchestration:
        plan_store = PlanStore(objects, plan_folder(prefix, context.date, configuration.orchestration.run_name))
    return Bucket(
        Archive(objects, uploader, prefix, context.started_at, context.task_started_at),
        uploader,
        Content(configuration.content, lfs, releases, Transfers(stop)),
        Catalogue(objects, prefix),
        plan_store,
        _new_signer(configuration, context),
    )


def _new_signer(configuration: Configuration, context: RunContext) -> Signer | None:
    signing = configuration.signing
    if signing.key_file:
        return signer_from_file(signing.key_file)
    if signing.key_arn is None:
        return None
    region = signing.key_arn.split(":")[3]
    return KmsSigner(context.aws.client("kms", region_name=region, config=KMS_CONFIG), signing.key_arn)


def new_git(configuration: Configuration, scratch: Path, context: RunContext) -> Git:
    """Return git as the task runs it."""
    return Git(scratch, configuration.github.server_url, context.stop)


def new_services(
    shard: Shard, configuration: Configuration, servers: Servers, scratch: Path, context: RunContext
) -> Services:
    """Return what the backup of a shard's repositories needs."""
    today, days = context.started_at.date(), configuration.full_backup_days
    return Services(
        github=servers.github,
        git=servers.git,
        archive=servers.bucket.archive,
        uploader=servers.bucket.uploader,
        content=servers.bucket.content,
        last_backup=LastBackup(shard.known, shard.failed, today, days),
        checks=checks_at_once(shard.workers, configuration.installation_requests // shard.shares),
        turns=Turns(shard.workers, context.stop),
        differential=configuration.differential and days > 1,
        capacity=machine_capacity(scratch, context.stop),
        repository_filter=configuration.repository_filter,
        scratch=scratch,
        context=context,
    )
