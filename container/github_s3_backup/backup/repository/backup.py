"""The backup of one repository: what changed of it, or all of it, then its LFS objects, releases, and wiki."""

import time
from dataclasses import dataclass

import msgspec
from structlog.contextvars import bound_contextvars, get_contextvars

from github_s3_backup.backup.repository.changes import store_what_changed
from github_s3_backup.backup.repository.content import ContentBackup
from github_s3_backup.backup.repository.errors import EXPECTED_ERRORS, current_stage, stage_of
from github_s3_backup.backup.repository.git_data import GitData
from github_s3_backup.backup.repository.unchanged import current_refs
from github_s3_backup.backup.services import Services
from github_s3_backup.git.process import GitError
from github_s3_backup.github.client import RepositoryGoneError
from github_s3_backup.records.entry import Entry, Failure, Stage, new_entry
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
    since = {SINCE: time.monotonic()}
    with services.turns.one(), bound_contextvars(full_name=listed.full_name, stage="clone", **since):
        services.context.log.info("started", size_kb=listed.size_kb)
        content = ContentBackup(listed, services)
        result = _result(listed, content, services)
        seconds = time.monotonic() - get_contextvars()[SINCE]
        if isinstance(result, Failure):
            if content.entry:
                partial = _with_duration(content.entry, seconds)
                result = msgspec.structs.replace(result, partial=partial, not_stored=content.not_stored)
            return Outcome(result, result.stage, seconds, listed.id)
        last_stage: Stage = "upload" if result.status == "stored" else "clone"
        return Outcome(_with_duration(result, seconds), last_stage, seconds, listed.id)


def _result(listed: Repository, content: ContentBackup, services: Services) -> Entry | Failure:
    """Return the repository's entry, or what an error means: that it is gone, a failure, or a bug."""
    try:
        return content.add_to(_git_data(listed, services))
    except RepositoryGoneError:
        return new_entry(listed, "gone", None, None, 0.0)
    except Stopped:
        return interrupted(listed, services, current_stage())
    except EXPECTED_ERRORS as error:
        failure = _failure(listed, stage_of(error), str(error), services)
        timed_out = isinstance(error, GitError) and error.timed_out
        return msgspec.structs.replace(failure, timed_out=timed_out)
    except Exception as error:
        services.context.log.exception("bug, please report it")
        return _failure(listed, stage_of(error), f"bug: {error!r}", services)


def _git_data(listed: Repository, services: Services) -> GitData:
    known = services.last_backup.stored(listed.id)
    served = current_refs(listed, known, services) if known else None
    return store_what_changed(listed, known, served, services)


def interrupted(listed: Repository, services: Services, in_stage: Stage = "clone") -> Failure:
    """Return the failure of a repository that the run did not reach or did not finish."""
    by_deadline = services.context.stop.reason == "deadline"
    what = "the run's deadline (RUN_DEADLINE_HOURS) passed" if by_deadline else "the run was stopped"
    return _failure(listed, in_stage, f"{what} before this repository was stored", services)


def _with_duration(entry: Entry, seconds: float) -> Entry:
    return msgspec.structs.replace(entry, duration_seconds=round(seconds, 3))


def _failure(listed: Repository, in_stage: Stage, error: str, services: Services) -> Failure:
    cleaned = services.context.redactor.clean(error) or "no error text"
    return Failure(full_name=listed.full_name, id=listed.id, stage=in_stage, error=cleaned)
