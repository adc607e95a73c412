"""The stages of one repository's backup: an error says in which of them it happened."""

import contextlib
from collections.abc import Iterator, Mapping
from types import MappingProxyType

from structlog.contextvars import bind_contextvars

from github_s3_backup.records.manifest import Stage
from github_s3_backup.runtime.stop import Stopped

NO_OTHER: Mapping[type[Exception], Stage] = MappingProxyType({})


class StoppedInStage(Stopped):
    """The run was stopped in the middle of a stage."""

    def __init__(self, stage: Stage) -> None:
        super().__init__()
        self.stage = stage


class StageError(Exception):
    """Something went wrong in a stage; what it was is the cause."""

    def __init__(self, stage: Stage, cause: Exception) -> None:
        super().__init__(str(cause))
        self.stage, self.cause = stage, cause


@contextlib.contextmanager
def stage(name: Stage, by_error: Mapping[type[Exception], Stage] = NO_OTHER) -> Iterator[None]:
    """Do this block as a stage: its name is on every log line, and an error in it becomes a StageError.

    `by_error`: the stage of errors that do not belong to this one, by their type.
    """
    bind_contextvars(stage=name)
    try:
        yield
    except (StageError, StoppedInStage):
        raise
    except Stopped:
        raise StoppedInStage(name) from None
    except Exception as error:
        stages = (other for kind, other in by_error.items() if isinstance(error, kind))
        raise StageError(next(stages, name), error) from error
