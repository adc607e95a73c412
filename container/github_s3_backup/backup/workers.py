"""Backs up many repositories at once, in threads."""

import contextlib
import queue
import threading
from collections.abc import Callable, Sequence

from structlog.typing import FilteringBoundLogger

from github_s3_backup.backup.repository.backup import Outcome, back_up, interrupted
from github_s3_backup.backup.services import Services
from github_s3_backup.records.manifest import Failure
from github_s3_backup.repository import Repository
from github_s3_backup.runtime.stop import Stopped

# Seconds that workers have to finish after the run was stopped.
WORKERS_GRACE = 8.0


def back_up_all(
    repositories: Sequence[Repository], concurrency: int, services: Services, note: Callable[[Outcome], None]
) -> list[Outcome]:
    """Back up the repositories in their order, `concurrency` at once, and return how each ended.

    `note` is called with each outcome, in the thread of its worker. It must not raise.
    """
    waiting: queue.SimpleQueue[Repository] = queue.SimpleQueue()
    finished: queue.SimpleQueue[Outcome] = queue.SimpleQueue()
    for repository in repositories:
        waiting.put(repository)

    def work() -> None:
        with contextlib.suppress(queue.Empty, Stopped):
            while True:
                services.context.stop.check()
                outcome = back_up(waiting.get_nowait(), services)
                note(outcome)
                finished.put(outcome)

    # Daemon threads: one that hangs in a system call does not keep a stopped run from ending.
    threads = [threading.Thread(target=work, daemon=True) for _ in range(min(concurrency, len(repositories)))]
    for thread in threads:
        thread.start()
    outcomes = _collect(threads, finished, len(repositories), services)
    ended = {outcome.id for outcome in outcomes}
    missing = [repository for repository in repositories if repository.id not in ended]
    return outcomes + [Outcome(interrupted(lost, services), "clone", 0.0, lost.id) for lost in missing]


def _collect(
    threads: list[threading.Thread], finished: "queue.SimpleQueue[Outcome]", total: int, services: Services
) -> list[Outcome]:
    """Return the outcomes as they come, until all have, or the workers of a stopped run had their time."""
    outcomes: list[Outcome] = []
    while len(outcomes) < total and services.context.stop.seconds() < WORKERS_GRACE:
        alive = any(thread.is_alive() for thread in threads)
        try:
            outcomes.append(finished.get(timeout=0.2 if alive else 0))
            log_outcome(outcomes[-1], len(outcomes), total, services.context.log)
        except queue.Empty:
            if not alive:
                break
    return outcomes


def log_outcome(outcome: Outcome, done: int, total: int, log: FilteringBoundLogger) -> None:
    """Log how one repository's backup ended."""
    result = outcome.result
    facts = {"full_name": result.full_name, "stage": outcome.stage, "duration": round(outcome.seconds, 3)}
    if isinstance(result, Failure):
        log.error("failed", **facts, done=done, total=total, error=result.error)
    else:
        log.info(result.status, **facts, done=done, total=total, size_bytes=result.size_bytes, refs=result.ref_count)
