"""Transfers of LFS objects and release files: many files at once, of all repositories in flight together."""

import contextvars
import queue
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from itertools import islice
from typing import Any, TypeVar

from github_s3_backup.runtime.stop import Stop

# Files in flight. Each waits for two servers, and keeps a core busy for a tenth of the time.
AT_ONCE = 16
# Seconds that transfers of a stopped run have to end their uploads. One that hangs is left behind.
GRACE = 5.0

Item = TypeVar("Item")
Result = TypeVar("Result")
Ended = queue.SimpleQueue[Future[Any]]


class Transfers:
    """Threads that all repositories share.

    No repository has more files in the queue than threads there are, so that all have about the same share of them.
    """

    def __init__(self, stop: Stop, at_once: int = AT_ONCE) -> None:
        self._stop, self._at_once, self._pool = stop, at_once, ThreadPoolExecutor(at_once)

    def map(self, work: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
        """Return the results in the items' order. Raises the first error that `work` raises, and Stopped."""
        ended, futures = Ended(), list[Future[Result]]()

        def submit(item: Item) -> None:
            futures.append(self._pool.submit(contextvars.copy_context().run, work, item))
            futures[-1].add_done_callback(ended.put)

        waiting = iter(items)
        try:
            for item in islice(waiting, self._at_once):
                submit(item)
            for item in waiting:
                self._wait_for_one(ended)
                submit(item)
            for _ in range(min(len(futures), self._at_once)):
                self._wait_for_one(ended)
            return [future.result() for future in futures]
        finally:
            under_way = [future for future in futures if not future.cancel()]
            wait(under_way, timeout=GRACE)

    def _wait_for_one(self, ended: Ended) -> None:
        """Return when one more future has ended. Raises its error, and Stopped."""
        while True:
            self._stop.check()
            try:
                ended.get(timeout=0.2).result()
            except queue.Empty:
                continue
            return
