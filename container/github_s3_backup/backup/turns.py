"""Turns: many repositories are asked at once whether they changed, and fewer are cloned and stored at once."""

import contextlib
import threading
import time
from collections import deque
from collections.abc import Iterator

from structlog.contextvars import bind_contextvars, get_contextvars

from github_s3_backup.runtime.logs import SINCE
from github_s3_backup.runtime.stop import Stop

# Repositories that are asked for each one that may be stored. A question is waiting, a clone is work.
CHECKS_PER_WORKER = 6
# Seconds between two looks whether the run was stopped.
LOOK_EVERY = 0.5


def checks_at_once(workers: int, requests: int) -> int:
    """Return how many repositories to ask at once: more would wait for each other. One, where one is stored at once."""
    return max(workers, min(CHECKS_PER_WORKER * workers, requests)) if workers > 1 else 1


class Turns:
    """Lets `at_once` repositories be stored at a time, in the order in which they turned out to have changed."""

    def __init__(self, at_once: int, stop: Stop) -> None:
        self._free, self._stop = at_once, stop
        self._line = deque[threading.Event]()
        self._lock = threading.Lock()
        self._mine = threading.local()

    @contextlib.contextmanager
    def one(self) -> Iterator[None]:
        """Do one repository in this block, in one thread. Its turn, where it took one, ends with the block."""
        try:
            yield
        finally:
            if self._has_come():
                self._mine.has_come = False
                self._give()

    def wait(self) -> None:
        """Wait for this repository's turn, unless it has come. Its duration does not count the wait. Raises Stopped."""
        if self._has_come():
            return
        asked = time.monotonic()
        self._take()
        self._mine.has_come = True
        since = get_contextvars().get(SINCE, asked)
        bind_contextvars(**{SINCE: since + time.monotonic() - asked})

    def _has_come(self) -> bool:
        return getattr(self._mine, "has_come", False)

    def _take(self) -> None:
        called = threading.Event()
        with self._lock:
            self._line.append(called)
            self._call()
        try:
            while not called.wait(LOOK_EVERY):
                self._stop.check()
        except BaseException:
            with self._lock:
                if called in self._line:
                    self._line.remove(called)
                    raise
            self._give()
            raise

    def _give(self) -> None:
        with self._lock:
            self._free += 1
            self._call()

    def _call(self) -> None:
        while self._free and self._line:
            self._free -= 1
            self._line.popleft().set()
