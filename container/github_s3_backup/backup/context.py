"""What every part of a run shares."""

from dataclasses import dataclass
from datetime import UTC, datetime

import boto3
from structlog.typing import FilteringBoundLogger

from github_s3_backup.configuration import Command
from github_s3_backup.runtime.redaction import Redactor
from github_s3_backup.runtime.stop import Stop


@dataclass(frozen=True)
class RunContext:
    """Made once, in the first lines of `main`.

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

    def seconds(self) -> float:
        """Return the seconds since the run started."""
        return (datetime.now(UTC) - self.started_at).total_seconds()

    def task_seconds(self) -> float:
        """Return the seconds since this task started."""
        return (datetime.now(UTC) - self.task_started_at).total_seconds()
