"""The backup of one repository, in two steps: check whether it changed; if so, reserve capacity, clone and upload."""

import contextlib
import errno
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import msgspec
from structlog.contextvars import bound_contextvars

from github_s3_backup.backup.clone import Cloner
from github_s3_backup.backup.services import Services
from github_s3_backup.backup.stages import StageError, StoppedInStage, stage
from github_s3_backup.backup.unchanged import check_unchanged
from github_s3_backup.capacity import DiskFullError, Reservation, clone_reservation
from github_s3_backup.git.bundle import BundleError, ShallowCloneError, open_bundle
from github_s3_backup.git.process import GitError
from github_s3_backup.git.refs import summarize
from github_s3_backup.github.client import RepositoryGoneError
from github_s3_backup.github.rest import GitHubError
from github_s3_backup.logs import SINCE
from github_s3_backup.manifest import Entry, Failure, Stage, new_entry
from github_s3_backup.repository import Repository
from github_s3_backup.s3.archive import ArchiveError
from github_s3_backup.s3.upload import UploadError
from github_s3_backup.stop import Stopped

# Errors that fail one repository and not the run. Anything else is a bug.
EXPECTED_ERRORS = (GitError, GitHubError, BundleError, ArchiveError, UploadError, DiskFullError, OSError)
# A bundle is made and verified while it is uploaded: its errors are not S3's.
BUNDLE_STAGES: Mapping[type[Exception], Stage] = MappingProxyType(
    {ShallowCloneError: "bundle", BundleError: "verify", GitError: "bundle", OSError: "bundle"}
)


@dataclass(frozen=True)
class Outcome:
    """How one repository's backup ended, in which stage, and after how many seconds."""

    result: Entry | Failure
    stage: Stage
    seconds: float
    id: int


def back_up(listed: Repository, services: Services) -> Outcome:
    """Back up one repository. Here an error becomes an outcome, and nothing is raised."""
    started = time.monotonic()
    with bound_contextvars(full_name=listed.full_name, stage="clone", **{SINCE: started}):
        services.context.log.info("started", size_kb=listed.size_kb)
        result: Entry | Failure
        try:
            entry = check_unchanged(listed, services) or _store(listed, services)
            result, last_stage = _with_duration(entry, started), _last_stage(entry)
        except StageError as error:
            result, last_stage = _result_of(error, listed, services), error.stage
        except StoppedInStage as error:
            result, last_stage = interrupted(listed, services, error.stage), error.stage
        except Stopped:
            result, last_stage = interrupted(listed, services), "clone"
        except Exception as error:
            services.context.log.exception("bug, please report it")
            result, last_stage = _failure(listed, "clone", f"bug: {error!r}", services), "clone"
    return Outcome(result, last_stage, time.monotonic() - started, listed.id)


def interrupted(listed: Repository, services: Services, in_stage: Stage = "clone") -> Failure:
    """Return the failure of a repository that the run did not reach or did not finish."""
    by_deadline = services.context.stop.reason == "deadline"
    what = "the run's deadline (RUN_DEADLINE_HOURS) passed" if by_deadline else "the run was stopped"
    return _failure(listed, in_stage, f"{what} before this repository was stored", services)


def _with_duration(entry: Entry, started: float) -> Entry:
    return msgspec.structs.replace(entry, duration_seconds=round(time.monotonic() - started, 3))


def _last_stage(entry: Entry) -> Stage:
    return "upload" if entry.status == "stored" else "clone"


def _result_of(error: StageError, listed: Repository, services: Services) -> Entry | Failure:
    """Return what an error in a stage means: a repository that is gone, a failure, or a bug."""
    if isinstance(error.cause, RepositoryGoneError):
        return new_entry(listed, "gone", None, None, 0.0)
    if isinstance(error.cause, EXPECTED_ERRORS):
        return _failure(listed, error.stage, str(error.cause), services)
    services.context.log.error("bug, please report it", exc_info=error.cause)
    return _failure(listed, error.stage, f"bug: {error.cause!r}", services)


def _failure(listed: Repository, in_stage: Stage, error: str, services: Services) -> Failure:
    cleaned = services.context.redactor.clean(error) or "no error text"
    return Failure(full_name=listed.full_name, id=listed.id, stage=in_stage, error=cleaned)


# -- a repository that changed -------------------------------------------------------------------


def _store(listed: Repository, services: Services) -> Entry:
    """Clone and upload; where the disk filled up, once more with all of it. Raises StageError."""
    size = max(listed.size_kb * 1024, services.last_backup.size(listed.id))
    capacity, first = services.capacity, clone_reservation(size)
    for needs in (first, Reservation(capacity.total.disk, first.memory)):
        try:
            return _store_once(listed, size, needs, services)
        except StageError as error:
            if not _is_disk_full(error.cause):
                raise
            if needs.disk >= capacity.total.disk:
                raise StageError(error.stage, DiskFullError(capacity.too_small(str(error)))) from None
            services.context.log.warning("disk full, retrying alone", error=str(error))
    raise AssertionError("the second attempt had the whole disk")


def _is_disk_full(error: Exception) -> bool:
    if isinstance(error, GitError):
        return error.disk_full
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


def _store_once(listed: Repository, size: int, needs: Reservation, services: Services) -> Entry:
    """Reserve capacity, clone, and upload the bundle, in a folder of its own."""
    with stage("clone"), services.capacity.reserve(needs) as larger_beside, _folder(services.scratch) as folder:
        # The largest clone in flight decides when the run ends.
        git = services.git.with_low_priority() if larger_beside else services.git
        cloner = Cloner(services.github, git, services.context.stop, services.context.log)
        repository, mirror = cloner.clone(listed, size, folder / "mirror.git")
        if not mirror.refs:
            return new_entry(repository, "empty", None, None, 0.0)
        with stage("upload", BUNDLE_STAGES):
            stored = services.archive.put_bundle(repository, lambda: open_bundle(git, mirror))
        return new_entry(repository, "stored", stored, summarize(mirror.refs, repository.default_branch), 0.0)


@contextlib.contextmanager
def _folder(scratch: Path) -> Iterator[Path]:
    """Yield a new folder, removed afterwards."""
    with tempfile.TemporaryDirectory(dir=scratch, ignore_cleanup_errors=True) as name:
        yield Path(name)
