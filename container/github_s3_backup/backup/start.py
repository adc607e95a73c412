"""The start of a task: reach S3, git and GitHub. All problems are reported at once."""

import contextlib
import os
from collections.abc import Callable, Iterator
from concurrent.futures import wait
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from botocore.exceptions import BotoCoreError

from github_s3_backup.backup.context import RunContext
from github_s3_backup.backup.plan.last_backup import last_backup_of
from github_s3_backup.backup.plan.listing import NothingListedError
from github_s3_backup.backup.plan.store import PlanStore
from github_s3_backup.backup.repository.transfers import AT_ONCE, Transfers
from github_s3_backup.backup.services import Content, Services
from github_s3_backup.configuration import Configuration
from github_s3_backup.git.process import Git, GitError
from github_s3_backup.github.app_key import AppKeyError, key_from_file, key_from_secret
from github_s3_backup.github.client import GitHub
from github_s3_backup.github.rest import GitHubError, new_session
from github_s3_backup.github.tokens import App
from github_s3_backup.program import s3_config
from github_s3_backup.runtime.background import in_background
from github_s3_backup.runtime.capacity import UPLOAD_BUFFERS, Capacity, Reservation, machine_capacity
from github_s3_backup.runtime.stop import Stopped
from github_s3_backup.s3.archive import Archive, ArchiveError
from github_s3_backup.s3.catalogue import Catalogue
from github_s3_backup.s3.content_store import ContentStore
from github_s3_backup.s3.keys import lfs_root, releases_root
from github_s3_backup.s3.plan_folder import PlanFolder, PlanFolderError
from github_s3_backup.s3.upload import Uploader

# Seconds that the start has to finish after the task was stopped.
START_GRACE = 8.0

T = TypeVar("T")


class StartError(Exception):
    """The task can't start, or can't list; one sentence a problem."""

    def __init__(self, *problems: str) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


class Problems:
    """What is wrong at the start."""

    def __init__(self) -> None:
        self.found: list[str] = []

    @contextlib.contextmanager
    def of(self, where: str) -> Iterator[None]:
        """Keep what goes wrong in this block."""
        try:
            yield
        except NothingListedError as error:
            self.found.extend(error.problems)
        except (ArchiveError, PlanFolderError, AppKeyError, GitHubError) as error:
            self.found.append(str(error))
        except (BotoCoreError, GitError, OSError, ValueError) as error:
            self.found.append(f"{where} can't be used: {error}")

    def check(self) -> None:
        """Raise StartError with all of it, if there is any."""
        if self.found:
            raise StartError(*self.found)


def in_grace(action: Callable[[], T], context: RunContext) -> T:
    """Return what `action` returns. Raises Stopped where it still goes on some seconds after the task was stopped.

    Works in a thread, so that the task can be stopped even while a server does not respond.
    """
    started = in_background(action)
    while context.stop.seconds() < START_GRACE:
        if wait([started], timeout=0.1).done:
            return started.result()
    raise Stopped


def reach_github(configuration: Configuration, context: RunContext) -> GitHub:
    """Return GitHub as the App sees it. Raises AppKeyError where its key can't be had."""
    settings = configuration.github
    if settings.key_secret_arn:
        key = key_from_secret(context.aws.client("secretsmanager"), settings.key_secret_arn)
    else:
        key = key_from_file(Path(str(settings.key_file)))
    session = new_session(os.environ.get("SSL_CERT_FILE"), configuration.concurrency + AT_ONCE + 2)
    app = App(settings.app_id, key, settings.api_url, settings.server_url)
    return GitHub(app, session, context.redactor, context.stop, context.log)


@dataclass(frozen=True)
class Bucket:
    """What a task writes to, and what it reads. `plan_store`: of a run in several tasks."""

    archive: Archive
    uploader: Uploader
    content: Content
    catalogue: Catalogue
    plan_store: PlanStore | None


def open_bucket(configuration: Configuration, context: RunContext) -> Bucket:
    """Return the bucket. Makes no network call."""
    client = context.aws.client("s3", config=s3_config(configuration.concurrency + AT_ONCE))
    name, prefix, log, stop = configuration.bucket, configuration.prefix, context.log, context.stop
    uploader = Uploader(client, name, Capacity(Reservation(0, UPLOAD_BUFFERS), stop), stop, log)
    lfs, releases = (
        ContentStore(client, name, root(prefix), context.started_at, uploader, log)
        for root in (lfs_root, releases_root)
    )
    plan_store = None
    if configuration.orchestration:
        date = f"{context.started_at:%Y-%m-%d}"
        plan_store = PlanStore(PlanFolder(client, name, prefix, date, configuration.orchestration.run_name))
    return Bucket(
        Archive(client, name, prefix, context.started_at, context.task_started_at, uploader),
        uploader,
        Content(configuration.content, lfs, releases, Transfers(stop)),
        Catalogue(client, name, prefix),
        plan_store,
    )


def new_services(
    github: GitHub, git: Git, bucket: Bucket, configuration: Configuration, scratch: Path, context: RunContext
) -> Services:
    """Return what the repositories' backups need; what the last backup holds is told shard by shard."""
    return Services(
        github=github,
        git=git,
        archive=bucket.archive,
        uploader=bucket.uploader,
        content=bucket.content,
        last_backup=last_backup_of(None, context.started_at.date(), configuration.full_backup_days),
        capacity=machine_capacity(scratch, context.stop),
        scratch=scratch,
        context=context,
    )


def new_git(configuration: Configuration, scratch: Path, context: RunContext) -> Git:
    """Return git as the task runs it."""
    return Git(scratch, configuration.github.server_url, context.stop)
