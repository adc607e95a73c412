"""How a restore command ends: its failures, the summary line and the exit code."""

from collections.abc import Sequence
from datetime import UTC, datetime

from github_s3_backup.restore.selection import Unavailable
from github_s3_backup.restore.session import Session

OK, SOME_FAILED, STOPPED = 0, 1, 143


def finish(session: Session, failures: Sequence[Unavailable], done: int) -> int:
    """Log every failure and the summary, and return the exit code."""
    command = session.options.command
    for failure in failures:
        session.log.error("failed", full_name=failure.full_name, error=failure.error)
    code = SOME_FAILED if failures else OK
    seconds = round((datetime.now(UTC) - session.started_at).total_seconds(), 3)
    summary = {"exit_code": code, "done": done, "failed": len(failures), "duration": seconds}
    if failures:
        session.log.error(f"{command} finished", **summary)
    elif command in ("fetch", "verify", "push"):
        session.log.info(f"{command} finished", **summary)
    return code
