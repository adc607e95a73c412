"""Backs up many repositories at once, in threads."""

import contextlib
import queue
from collections.abc import Callable, Sequence

from structlog.typing import FilteringBoundLogger

from github_s3_backup.backup.repository.backup import Outcome, back_up, interrupted
from github_s3_backup.backup.services import Services
from github_s3_backup.records.entry import Failure
from github_s3_backup.repository import Repository
from github_s3_backup.runtime.stop import Stopped
from github_s3_backup.runtime.threads import in_background

# Seconds that workers have to finish after the run was stopped.
WORKERS_GRACE = 8.0


def back_up_all(
    repositories: Sequence[Repository], services: Services, note: Callable[[Outcome], None]
) -> list[Outcome]:
    """Back up the repositories in their order, many at once, and return how each ended.

    `note` is called with each outcome, in the thread of its worker. It must not raise.
    """
    waiting: queue.SimpleQueue[Repository] = queue.SimpleQueue()
    finished: queue.SimpleQueue[Outcome | None] = queue.SimpleQueue()  # None: one worker has ended
    for repository in repositories:
        waiting.put(repository)

    def work() -> None:
        try:
            while True:
                services.context.stop.check()
                outcome = back_up(waiting.get_nowait(), services)
                note(outcome)
                finished.put(outcome)
        except (queue.Empty, Stopped):
            pass
        finally:
            finished.put(None)

    workers = min(services.checks, len(repositories))
    for _ in range(workers):
        in_background(work)
    outcomes = _collect(workers, finished, len(repositories), services)
    ended = {outcome.id for outcome in outcomes}
    missing = [repository for repository in repositories if repository.id not in ended]
    return outcomes + [Outcome(interrupted(lost, services), "clone", 0.0, lost.id) for lost in missing]


def _collect(
    workers: int, finished: "queue.SimpleQueue[Outcome | None]", total: int, services: Services
) -> list[Outcome]:
    """Return the outcomes as they come, until all workers have ended, or those of a stopped run had their time."""
    outcomes: list[Outcome] = []
    while workers and services.context.stop.seconds() < WORKERS_GRACE:
        with contextlib.suppress(queue.Empty):
            outcome = finished.get(timeout=0.2)
            if outcome is None:
                workers -= 1
                continue
            outcomes.append(outcome)
            log_outcome(outcome, len(outcomes), total, services.context.log)
    return outcomes


def log_outcome(outcome: Outcome, done: int, total: int, log: FilteringBoundLogger) -> None:
    """Log how one repository's backup ended."""
    result = outcome.result
    facts = {"full_name": result.full_name, "stage": outcome.stage, "duration": round(outcome.seconds, 3)}
    if isinstance(result, Failure):
        log.error("failed", **facts, done=done, total=total, error=result.error)
    else:
        log.info(result.status, **facts, done=done, total=total, size_bytes=result.size_bytes, refs=result.ref_count)
