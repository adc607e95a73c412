"""The backup of one repository: check whether it changed; if so, clone and upload; then what is beside git."""

import time
from dataclasses import dataclass

import msgspec
from structlog.contextvars import bound_contextvars

from github_s3_backup.backup.repository.clone_and_upload import store
from github_s3_backup.backup.repository.content import ContentBackup
from github_s3_backup.backup.repository.errors import EXPECTED_ERRORS
from github_s3_backup.backup.repository.git_data import GitData
from github_s3_backup.backup.repository.stages import StageError, StoppedInStage
from github_s3_backup.backup.repository.unchanged import check_unchanged
from github_s3_backup.backup.services import Services
from github_s3_backup.git.process import GitError
from github_s3_backup.github.client import RepositoryGoneError
from github_s3_backup.records.manifest import Entry, Failure, Stage, new_entry
from github_s3_backup.repository import Repository
from github_s3_backup.runtime.logs import SINCE
from github_s3_backup.runtime.stop import Stopped


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
        content = ContentBackup(listed, services)
        result: Entry | Failure
        try:
            entry = content.add_to(_git_data(listed, services))
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
        if isinstance(result, Failure) and content.entry:
            partial = _with_duration(content.entry, started)
            result = msgspec.structs.replace(result, partial=partial, not_stored=content.not_stored)
    return Outcome(result, last_stage, time.monotonic() - started, listed.id)


def _git_data(listed: Repository, services: Services) -> GitData:
    known = services.last_backup.stored(listed.id)
    return check_unchanged(listed, known, services) or store(listed, known.size_bytes if known else 0, services)


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
        failure = _failure(listed, error.stage, str(error.cause), services)
        timed_out = isinstance(error.cause, GitError) and error.cause.timed_out
        return msgspec.structs.replace(failure, timed_out=timed_out)
    services.context.log.error("bug, please report it", exc_info=error.cause)
    return _failure(listed, error.stage, f"bug: {error.cause!r}", services)


def _failure(listed: Repository, in_stage: Stage, error: str, services: Services) -> Failure:
    cleaned = services.context.redactor.clean(error) or "no error text"
    return Failure(full_name=listed.full_name, id=listed.id, stage=in_stage, error=cleaned)
