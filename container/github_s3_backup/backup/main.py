"""A backup task from its first line to its exit code: signals, temporary folder, configuration, what goes wrong."""

import contextlib
import hashlib
import os
import shutil
import sys
import threading
import uuid
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType

import boto3

from github_s3_backup.backup.problems import StartError
from github_s3_backup.backup.run import run
from github_s3_backup.backup.services import RunContext
from github_s3_backup.backup.tasks import list_task, merge_task, shard_task
from github_s3_backup.configuration import (
    DEFAULT_SERVICE_NAME,
    SERVICE_NAME,
    Command,
    Configuration,
    parse_started_at,
    read_configuration,
)
from github_s3_backup.exit_codes import NOT_STARTED, SOME_FAILED, STOPPED
from github_s3_backup.program import EXIT_DEADLINE, aws_session, prepare_process, scratch_folder, trust_private_ca
from github_s3_backup.runtime import metrics
from github_s3_backup.runtime.environment import ConfigurationError
from github_s3_backup.runtime.logs import new_logger
from github_s3_backup.runtime.redaction import Redactor
from github_s3_backup.runtime.stop import Stop, Stopped

# Seconds that the last log line of a stopped task may take.
LAST_WORDS = 2.0

COMMANDS: Mapping[Command, Callable[[Configuration, Path, RunContext], int]] = MappingProxyType(
    {"backup": run, "list": list_task, "shard": shard_task, "merge": merge_task}
)


def main(command: Command = "backup") -> int:
    """Do what one task of a run has to do, and return the exit code."""
    prepare_process(None if sys.stdout.isatty() else "utf-8")  # JSON is always UTF-8
    aws, problems = aws_session()
    context = new_context(command, aws)
    try:
        with contextlib.ExitStack() as stack:
            scratch = new_scratch(stack)
            context.stop.listen(EXIT_DEADLINE, lambda: give_up(scratch, context))
            configuration = read_configuration(os.environ, aws.region_name, command)
            if problems:
                raise StartError(*problems)
            trust_private_ca(scratch)
            if configuration.deadline_hours and command != "merge":  # which takes what there is at the deadline
                context.stop.expire_after(configuration.deadline_hours * 3600 - context.seconds())
            return COMMANDS[command](configuration, scratch, context)
    except (ConfigurationError, StartError) as error:
        return not_started(dict.fromkeys([*problems, *error.problems]), context)
    except Stopped:
        return stopped(context)
    except Exception:
        context.log.exception("bug, please report it")
        publish_failure(context)
        context.log.error("run failed", exit_code=SOME_FAILED)
        return SOME_FAILED


def new_scratch(stack: contextlib.ExitStack) -> Path:
    """Return the task's temporary folder, which the stack removes."""
    try:
        return stack.enter_context(scratch_folder("github-backup-"))
    except OSError as error:
        raise StartError(f"TMPDIR: cannot create a temporary folder: {error}") from None


def new_context(command: Command, aws: boto3.session.Session) -> RunContext:
    """Return what the task knows before it reads its configuration."""
    redactor, now = Redactor(), datetime.now(UTC)
    started_at, name = now, uuid.uuid4().hex
    if command != "backup":  # the same in all tasks of the run
        started_at = parse_started_at(os.environ.get("RUN_STARTED_AT", "")) or now
        name = hashlib.sha256(os.environ.get("RUN_NAME", "").strip().encode()).hexdigest()
    return RunContext(
        run_id=new_run_id(started_at, name),
        started_at=started_at,
        task_started_at=now,
        command=command,
        service_name=service_name(),
        aws=aws,
        redactor=redactor,
        stop=Stop(),
        log=new_logger(sys.stdout, redactor),
    )


def new_run_id(started_at: datetime, name: str) -> str:
    """Return an id: ids in order are runs in order. After the second come three digits of milliseconds, in base 16.

    `name`: what tells runs of the same millisecond apart, in base 16.
    """
    return f"{started_at:%Y%m%dT%H%M%SZ}-{started_at.microsecond // 1000:03x}{name[:5]}"


def service_name() -> str:
    """Return the metrics' dimension: the default if the variable is wrong, so that the alarm still fires."""
    name = os.environ.get("SERVICE_NAME", "").strip()
    return name if SERVICE_NAME.fullmatch(name) else DEFAULT_SERVICE_NAME


# -- what goes wrong -----------------------------------------------------------------------------


def not_started(problems: Iterable[str], context: RunContext) -> int:
    """Log everything that keeps the run from starting, raise the alarm where possible, and return the exit code."""
    for problem in problems:
        context.log.error("problem", error=problem)
    if context.aws.region_name:
        publish_failure(context)
    context.log.error("run could not start", exit_code=NOT_STARTED)
    return NOT_STARTED


def stopped(context: RunContext) -> int:
    """Say that the task was stopped before it had anything to report, and return the exit code."""
    publish_failure(context)
    if context.command == "shard":
        context.log.error("shard stopped", exit_code=STOPPED)
    elif context.command == "merge":
        context.log.error("merge stopped", exit_code=STOPPED)
    else:
        context.log.error("run stopped before it listed the repositories", exit_code=STOPPED)
    return STOPPED


def give_up(scratch: Path, context: RunContext) -> None:
    """End a stopped task that did not finish in time."""
    context.stop.kill_processes()
    shutil.rmtree(scratch, ignore_errors=True)

    def last_words() -> None:
        publish_failure(context)
        context.log.error("run stopped, but something did not respond in time", exit_code=STOPPED)

    # In a thread, because the log or CloudWatch may be what does not respond.
    speaker = threading.Thread(target=last_words, daemon=True)
    speaker.start()
    speaker.join(LAST_WORDS)
    os._exit(STOPPED)


def publish_failure(context: RunContext) -> None:
    """Raise the alarm. A shard's task raises none: another one takes its place, and the merge says what is missing."""
    if context.command != "shard":
        metrics.publish_run(context.aws, context.service_name, context.seconds(), {metrics.FAILURE: 1}, context.log)
