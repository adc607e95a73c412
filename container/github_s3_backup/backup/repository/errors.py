"""What may go wrong with one repository while the run goes on, and in which stage it went wrong."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, TypeVar

from structlog.contextvars import bind_contextvars, get_contextvars

from github_s3_backup.git.bundle import BundleError, ShallowCloneError
from github_s3_backup.records.entry import Stage
from github_s3_backup.runtime.capacity import DiskFullError
from github_s3_backup.runtime.retry import RetryableError
from github_s3_backup.s3.content_store import WrongContentError
from github_s3_backup.s3.errors import S3Error

T = TypeVar("T")


class ContentError(Exception):
    """Something besides the git data could not be stored. `stage`: where that happened."""

    def __init__(self, message: str, stage: Stage) -> None:
        super().__init__(message)
        self.stage = stage


class IncompleteError(ContentError):
    """A part was stored, but not all of it. `summary`: what the entry says of it."""

    def __init__(self, message: str, stage: Stage, summary: Any) -> None:
        super().__init__(message, stage)
        self.summary = summary


# Errors that fail one repository and not the run. Anything else is a bug.
EXPECTED_ERRORS = (*(RetryableError, S3Error, BundleError, WrongContentError, ContentError, DiskFullError, OSError),)
# Errors that belong to one stage wherever they happen.
OWN_STAGES: Mapping[type[Exception], Stage] = MappingProxyType(
    {ShallowCloneError: "bundle", BundleError: "verify", S3Error: "upload"}
)


@dataclass(frozen=True)
class Failed:
    """An expected error, and the stage in which it happened."""

    error: Exception
    stage: Stage


def enter(stage: Stage) -> None:
    """Begin a stage of the repository that this thread backs up: it is on every log line from here on."""
    bind_contextvars(stage=stage)


def current_stage() -> Stage:
    """Return the stage that this thread is in."""
    stage: Stage = get_contextvars().get("stage", "clone")
    return stage


def stage_of(error: Exception) -> Stage:
    """Return the stage in which an error happened, called where it is caught."""
    if isinstance(error, ContentError):
        return error.stage
    own = next((stage for kind, stage in OWN_STAGES.items() if isinstance(error, kind)), None)
    # A bundle is made and verified while it is uploaded: what is not S3's error is git's or the disk's.
    return own or ("bundle" if current_stage() == "upload" else current_stage())


def attempt(work: Callable[[], T]) -> T | Failed:
    """Return what `work` returns, or the expected error in it, so that the caller can go on with something else."""
    try:
        return work()
    except EXPECTED_ERRORS as error:
        return Failed(error, stage_of(error))
