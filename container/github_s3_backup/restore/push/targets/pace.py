"""GitHub's limits for requests that change something: one at a time, a second apart, and 500 an hour.

https://docs.github.com/en/rest/using-the-rest-api/best-practices-for-using-the-rest-api and
https://docs.github.com/en/rest/using-the-rest-api/rate-limits-for-the-rest-api#about-secondary-rate-limits
"""

import contextlib
import threading
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import requests
from structlog.typing import FilteringBoundLogger

from github_s3_backup.github.transport.rest import Api, Authorization, GitHubError
from github_s3_backup.runtime.stop import Stop

# Seconds between two writes, and writes in an hour. 80 a minute are allowed, so that a second apart is slow enough.
APART, HOUR, PER_HOUR = 1.0, 3600.0, 500
# A wait that is worth a line in the log. Seconds.
LONG_WAIT = 10.0


class Pace:
    """Lets writes pass one at a time, no faster than GitHub allows. `now` and `sleep` count in seconds.

    `longest`: the longest wait so far.
    """

    def __init__(self, now: Callable[[], float], sleep: Callable[[float], None], log: FilteringBoundLogger) -> None:
        self._now, self._sleep, self._log = now, sleep, log
        self._turn = threading.Lock()
        self._written: deque[float] = deque(maxlen=PER_HOUR)
        self._closed_until = 0.0
        self.longest = 0.0

    @contextlib.contextmanager
    def write(self) -> Iterator[None]:
        """Wait until a write may start, and let no other one start in this block. Raises Stopped."""
        while not self._turn.acquire(timeout=0.2):
            self._sleep(0)
        try:
            self._wait("GitHub's limits for writes", self._next_write())
            self._written.append(self._now())
            yield
        finally:
            self._turn.release()

    def read(self) -> None:
        """Wait while GitHub wants nobody to ask. Raises Stopped."""
        self._wait("GitHub's rate limit", self._closed_until)

    def close(self, seconds: float) -> None:
        """Let nobody ask for so long: GitHub has refused a request for its rate limit."""
        self._closed_until = max(self._closed_until, self._now() + seconds)

    def _next_write(self) -> float:
        recent = self._written[-1] + APART if self._written else 0.0
        hourly = self._written[0] + HOUR if len(self._written) == PER_HOUR else 0.0
        return max(recent, hourly, self._closed_until)

    def _wait(self, what: str, until: float) -> None:
        seconds = until - self._now()
        if seconds >= LONG_WAIT:
            self._log.warning("waiting for GitHub", what=what, seconds=round(seconds))
        if seconds > 0:
            self.longest = max(self.longest, seconds)
            self._sleep(seconds)


def writing_time(writes: int) -> float:
    """Return the seconds that so many writes take at least."""
    pauses = max(0, writes - 1) // PER_HOUR
    return pauses * HOUR + (writes - pauses * PER_HOUR) * APART


class PacedApi(Api):
    """GitHub's API, written to no faster than it allows. A rate limit makes all wait, and nobody give up."""

    def __init__(
        self, url: str, session: requests.Session, stop: Stop, log: FilteringBoundLogger, pace: Pace | None
    ) -> None:
        super().__init__(url, session, stop, log)
        self._pace = pace

    def send_once(self, method: str, url: str, authorization: Authorization, **options: Any) -> requests.Response:
        """Send one request when it is its turn, and again when GitHub asks to wait."""
        while True:
            try:
                with self._its_turn(method, url):
                    return super().send_once(method, url, authorization, **dict(options))
            except GitHubError as error:
                if self._pace is None or error.retry.wait is None:
                    raise
                self._pace.close(error.retry.wait)

    def _its_turn(self, method: str, url: str) -> contextlib.AbstractContextManager[None]:
        """Return a block for one request. Questions to Git LFS and downloads change nothing."""
        if self._pace is None:
            return contextlib.nullcontext()
        if method == "GET" or "/info/lfs/" in url:
            self._pace.read()
            return contextlib.nullcontext()
        if not url.startswith(f"{self.url}/"):  # the upload of a file takes long, and is no write until its end
            with self._pace.write():
                return contextlib.nullcontext()
        return self._pace.write()
