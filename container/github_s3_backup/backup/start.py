"""The start of a run: reach S3, git and GitHub, and list what is to be backed up. All problems are reported at once."""

import contextlib
import os
from collections.abc import Callable, Iterator
from concurrent.futures import wait
from dataclasses import dataclass
from pathlib import Path

import msgspec
from botocore.exceptions import BotoCoreError

from github_s3_backup.backup.background import in_background
from github_s3_backup.backup.context import RunContext
from github_s3_backup.backup.history import older_entries
from github_s3_backup.backup.last_backup import LastBackup
from github_s3_backup.backup.listing import NothingListedError, Plan, find_unlisted, list_repositories, without_object
from github_s3_backup.backup.services import Content, Services
from github_s3_backup.backup.transfers import AT_ONCE, Transfers
from github_s3_backup.capacity import UPLOAD_BUFFERS, Capacity, Reservation, machine_capacity
from github_s3_backup.configuration import Configuration
from github_s3_backup.git.process import Git, GitError
from github_s3_backup.github.app_key import AppKeyError, key_from_file, key_from_secret
from github_s3_backup.github.client import GitHub
from github_s3_backup.github.rest import GitHubError, new_session
from github_s3_backup.github.tokens import App
from github_s3_backup.manifest import Vanished
from github_s3_backup.program import s3_config
from github_s3_backup.repository import Repository
from github_s3_backup.s3.archive import Archive, ArchiveError
from github_s3_backup.s3.catalogue import Catalogue, CatalogueError
from github_s3_backup.s3.content_store import ContentStore
from github_s3_backup.s3.keys import lfs_root, releases_root
from github_s3_backup.s3.upload import Uploader
from github_s3_backup.stop import Stopped
from github_s3_backup.stored_object import StoredObject

# Seconds that the start has to finish after the run was stopped.
START_GRACE = 8.0


class StartError(Exception):
    """The run can't start or can't list; one sentence a problem."""

    def __init__(self, *problems: str) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


def start(configuration: Configuration, scratch: Path, context: RunContext) -> tuple[Services, Plan]:
    """Return what the run needs and what it is to do. Raises StartError and Stopped.

    Works in a thread, so that the run can be stopped even while a server does not respond.
    """
    started = in_background(lambda: _start(configuration, scratch, context))
    while context.stop.seconds() < START_GRACE:
        if wait([started], timeout=0.1).done:
            result = started.result()
            context.stop.check()
            return result
    raise Stopped


def _start(configuration: Configuration, scratch: Path, context: RunContext) -> tuple[Services, Plan]:
    """Reach the bucket, git, the key and GitHub. Raises StartError with everything that is wrong."""
    problems: list[str] = []
    listing = None
    git = Git(scratch, configuration.github.server_url, context.stop)
    with _collecting(problems, "GitHub"):
        github = _reach_github(configuration, context)
        # GitHub's answers take the longest; S3 is reached meanwhile.
        listing = in_background(
            lambda: list_repositories(github, configuration.github.installation_id, configuration.repository_filter)
        )
    with _collecting(problems, "S3"):
        bucket, last_backup = _reach_s3(configuration, context)
    with _collecting(problems, "git"):
        git_version = git.version()
    if listing is not None:
        with _collecting(problems, "GitHub"):
            plan = listing.result()
    if problems:
        raise StartError(*problems)
    if last_backup.manifest:
        last_backup = last_backup.with_older(older_entries(plan, last_backup.manifest, bucket.catalogue))
    services = Services(
        github=github,
        git=git,
        git_version=git_version,
        archive=bucket.archive,
        uploader=bucket.uploader,
        content=bucket.content,
        last_backup=last_backup,
        capacity=machine_capacity(scratch, context.stop),
        scratch=scratch,
        context=context,
    )
    _add_unlisted(plan, configuration, services)
    return services, plan


@contextlib.contextmanager
def _collecting(problems: list[str], where: str) -> Iterator[None]:
    """Add what goes wrong in this block to `problems`."""
    try:
        yield
    except NothingListedError as error:
        problems.extend(error.problems)
    except (AppKeyError, ArchiveError, GitHubError) as error:
        problems.append(str(error))
    except (BotoCoreError, GitError, OSError, ValueError) as error:
        problems.append(f"{where} can't be used: {error}")


def _reach_github(configuration: Configuration, context: RunContext) -> GitHub:
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
class _Bucket:
    """What a run writes to, and what it reads."""

    archive: Archive
    uploader: Uploader
    content: Content
    catalogue: Catalogue


def _reach_s3(configuration: Configuration, context: RunContext) -> tuple[_Bucket, LastBackup]:
    """Return the bucket, and what the newest complete manifest in it says. Raises ArchiveError."""
    bucket = _open_bucket(configuration, context)
    bucket.archive.probe()
    try:
        manifest = bucket.catalogue.newest_complete(f"{context.started_at:%Y-%m-%d}")
        reason = "there is no complete manifest"
    except CatalogueError as error:
        manifest, reason = None, str(error)
    if manifest:
        context.log.info("comparing with the last backup", date=manifest.date, run_id=manifest.run_id)
    else:
        context.log.info("no earlier backup, cloning every repository", reason=reason)
    return bucket, LastBackup(manifest, context.started_at.date(), configuration.full_backup_days)


def _open_bucket(configuration: Configuration, context: RunContext) -> _Bucket:
    client = context.aws.client("s3", config=s3_config(configuration.concurrency + AT_ONCE))
    name, prefix, log, stop = configuration.bucket, configuration.prefix, context.log, context.stop
    uploader = Uploader(client, name, Capacity(Reservation(0, UPLOAD_BUFFERS), stop), stop, log)
    lfs, releases = (
        ContentStore(client, name, root(prefix), context.started_at, uploader, log)
        for root in (lfs_root, releases_root)
    )
    return _Bucket(
        Archive(client, name, prefix, context.started_at, uploader),
        uploader,
        Content(configuration.content, lfs, releases, Transfers(stop)),
        Catalogue(client, name, prefix),
    )


def _add_unlisted(plan: Plan, configuration: Configuration, services: Services) -> None:
    """Add to the plan what the last backup held and GitHub did not list, and what had vanished before."""
    context, last = services.context, services.last_backup
    find_unlisted(
        plan,
        last,
        configuration.repository_filter,
        f"{context.started_at:%Y-%m-%d}",
        _look_up(plan, services.github),
        configuration.concurrency,
        context.log,
    )
    plan.vanished[:] = [
        known if _is_kept(known, services.archive) else without_object(known) for known in plan.vanished
    ]
    present = plan.listed | {known.id for known in plan.vanished}
    for known in last.manifest.vanished if last.manifest else ():
        if known.id not in present and _is_kept(known, services.archive):
            plan.vanished.append(_without_expired(known, services.archive))


def _look_up(plan: Plan, github: GitHub) -> Callable[[int, str], Repository]:
    """Return what looks a repository up by its id, with a token of its owner's installation where there is one."""
    some = plan.repositories[0].installation_id
    return lambda number, owner: github.look_up(number, plan.installations.get(owner, some))


def _is_kept(known: Vanished, archive: Archive) -> bool:
    """Return whether a vanished repository's last bundle has not expired yet; its wiki's, where it was empty."""
    stored = known.object or (known.wiki.object if known.wiki else None)
    return stored is not None and _is_stored(stored, archive)


def _without_expired(known: Vanished, archive: Archive) -> Vanished:
    """Return the record without the wiki and the lists that have expired before its bundle."""
    parts = {
        "wiki": known.wiki and known.wiki.object,
        "lfs": known.lfs and known.lfs.list,
        "releases": known.releases and known.releases.list,
    }
    expired = {part: None for part, stored in parts.items() if stored and not _is_stored(stored, archive)}
    return msgspec.structs.replace(known, **expired)


def _is_stored(stored: StoredObject, archive: Archive) -> bool:
    try:
        archive.check(stored)
    except ArchiveError:
        return False
    return True
