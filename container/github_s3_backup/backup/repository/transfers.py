"""Transfers of content beside git: many files at once, of all repositories in flight together."""

import contextvars
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, wait
from typing import TypeVar

from github_s3_backup.runtime.stop import Stop

# Files in flight. Each waits for two servers, and keeps a core busy for a tenth of the time.
AT_ONCE = 16
# Seconds that transfers of a stopped run have to end their uploads. One that hangs is left behind.
GRACE = 5.0

Item = TypeVar("Item")
Result = TypeVar("Result")


class Transfers:
    """Threads that all repositories share."""

    def __init__(self, stop: Stop, at_once: int = AT_ONCE) -> None:
        self._stop, self._pool = stop, ThreadPoolExecutor(at_once)

    def map(self, work: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
        """Return the results in the items' order. Raises the first error that `work` raises, and Stopped."""
        futures = [self._pool.submit(contextvars.copy_context().run, work, item) for item in items]
        try:
            waiting = set(futures)
            while waiting:
                self._stop.check()
                waiting = wait(waiting, timeout=0.2).not_done
            return [future.result() for future in futures]
        finally:
            under_way = [future for future in futures if not future.cancel()]
            wait(under_way, timeout=GRACE)
