"""Restore from the backups in a bucket: list, check, diff, fetch, verify, push. For one repository stock git is enough.

The story of a command: parse the options, open a session with the bucket, run the command. Each command selects
repositories from a backup, works on several at once, logs every failure by name, and returns the exit code.
"""

import argparse
import os
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from botocore.exceptions import BotoCoreError, ClientError
from structlog.typing import FilteringBoundLogger

from github_s3_backup.github.app_key import AppKeyError
from github_s3_backup.github.transport.rest import GitHubError
from github_s3_backup.program import EXIT_DEADLINE, aws_session, prepare_process, scratch_folder, trust_private_ca
from github_s3_backup.records.signing import SigningError
from github_s3_backup.restore import check
from github_s3_backup.restore import list as list_
from github_s3_backup.restore.diff import command as diff
from github_s3_backup.restore.fetch import command as fetch
from github_s3_backup.restore.options import parse
from github_s3_backup.restore.push import command as push
from github_s3_backup.restore.session import SOME_FAILED, STOPPED, Session, open_session, service_name
from github_s3_backup.restore.terminal import BesideBar
from github_s3_backup.restore.verify import command as verify
from github_s3_backup.runtime import metrics
from github_s3_backup.runtime.environment import ConfigurationError
from github_s3_backup.runtime.logs import new_logger
from github_s3_backup.runtime.redaction import Redactor
from github_s3_backup.runtime.stop import Stop, Stopped
from github_s3_backup.s3.errors import S3Error

COMMANDS: dict[str, Callable[[Session], int]] = {
    "list": list_.run,
    "check": check.run,
    "diff": diff.run,
    "fetch": fetch.run,
    "verify": verify.run,
    "push": push.run,
}

# What keeps a whole command from running.
START_ERRORS = (S3Error, SigningError, ConfigurationError, AppKeyError, GitHubError, BotoCoreError, ClientError)


def main(arguments: Sequence[str]) -> int:
    """Run one command and return the exit code."""
    prepare_process()
    options = parse(arguments)
    redactor, stop = Redactor(), Stop()
    log = new_logger(BesideBar(sys.stderr), redactor)
    try:
        with scratch_folder("github-restore-") as scratch:
            stop.listen(EXIT_DEADLINE, lambda: _exit_now(scratch))
            trust_private_ca(scratch)
            session = open_session(options, scratch, redactor, stop, log)
            code = COMMANDS[options.command](session)
            if code == STOPPED:
                raise Stopped
            return code
    except START_ERRORS as error:
        for problem in getattr(error, "problems", [str(error)]):
            log.error("problem", error=problem)
    except OSError as error:
        log.error("problem", error=f"the disk or the temporary folder (TMPDIR) can't be used: {error}")
    except Stopped:
        log.error("restore stopped: run the same command to continue", exit_code=STOPPED)
        return STOPPED
    except Exception:
        log.exception("bug, please report it")
    _publish_failure(options, log)
    log.error("restore failed", exit_code=SOME_FAILED)
    return SOME_FAILED


def _publish_failure(options: argparse.Namespace, log: FilteringBoundLogger) -> None:
    """Publish that a drill could not run."""
    if options.command == "verify" and options.publish:
        values: dict[str, float] = {metrics.RESTORE_VERIFIED: 0, metrics.RESTORE_FAILED: 1}
        metrics.publish(aws_session()[0], service_name(), values, log)


def _exit_now(scratch: Path) -> NoReturn:
    """Exit without waiting for whatever hangs."""
    shutil.rmtree(scratch, ignore_errors=True)
    os._exit(STOPPED)
