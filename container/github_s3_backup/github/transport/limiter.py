"""The budget of an installation: how many requests at once, and how many a minute.

https://docs.github.com/en/rest/using-the-rest-api/rate-limits-for-the-rest-api#about-secondary-rate-limits
"""

import contextlib
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

from github_s3_backup.configuration import DEFAULT_INSTALLATION_REQUESTS
from github_s3_backup.runtime.retry import MAX_WAIT, Retry
from github_s3_backup.runtime.stop import Stop

# Points a minute at one endpoint of the REST API, and at GraphQL; what a request costs that reads, and one that writes.
REST_POINTS, GRAPHQL_POINTS = 900, 2_000
READ_POINTS, WRITE_POINTS = 1, 5
# This share of a minute's points may be spent at once. The rest comes evenly, so that no minute has more.
BURST = 1 / 10
# GitHub Enterprise Server has no such limits unless its administrator sets some.
WITH_POINTS = re.compile(r"api\.github\.com|api\.[a-z0-9-]+\.ghe\.com")


@dataclass(frozen=True)
class Budget:
    """What one installation may use, of which this task has one of `shares` equal parts."""

    requests: int = DEFAULT_INSTALLATION_REQUESTS
    shares: int = 1

    @property
    def at_once(self) -> int:
        return max(1, self.requests // self.shares)


class Limiter:
    """Lets the requests of one installation through: REST, GraphQL, git, Git LFS and files of releases."""

    def __init__(self, budget: Budget, api_url: str, stop: Stop) -> None:
        self._budget, self._stop = budget, stop
        self._slots = threading.Semaphore(budget.at_once)
        self._lock = threading.Lock()
        self._api = urlsplit(api_url)
        self._has_points = WITH_POINTS.fullmatch(self._api.netloc) is not None
        self._buckets: dict[str, _Bucket] = {}
        self._paused_until = 0.0

    @contextlib.contextmanager
    def request(self, method: str, url: str) -> Iterator[None]:
        """Wait until a request may be sent, and count it as in flight for this block. Raises Stopped."""
        self._wait(method, url)
        while not self._slots.acquire(timeout=0.2):
            self._stop.check()
        try:
            yield
        finally:
            self._slots.release()

    def heed(self, retry: Retry) -> None:
        """Send nothing for as long as a rate limit asks: GitHub would refuse the other requests too."""
        if retry.is_limit and retry.wait and retry.wait <= MAX_WAIT:
            with self._lock:
                self._paused_until = max(self._paused_until, self._stop.now() + retry.wait)

    def _wait(self, method: str, url: str) -> None:
        while (seconds := self._paused_until - self._stop.now()) > 0:
            self._stop.sleep(seconds)
        if self._has_points and urlsplit(url).netloc == self._api.netloc:
            seconds = self._pay(method, url)
            if seconds > 0:
                self._stop.sleep(seconds)

    def _pay(self, method: str, url: str) -> float:
        """Pay for a request, and return the seconds until it may be sent."""
        endpoint, is_graphql = _endpoint(url), urlsplit(url).path.endswith("/graphql")
        points = READ_POINTS if method in ("GET", "HEAD") or is_graphql else WRITE_POINTS
        with self._lock:
            if endpoint not in self._buckets:
                a_minute = (GRAPHQL_POINTS if is_graphql else REST_POINTS) / self._budget.shares
                self._buckets[endpoint] = _Bucket(a_minute, self._stop.now())
            return self._buckets[endpoint].take(points, self._stop.now())


class _Bucket:
    """Points that come evenly, and are spent as they are needed."""

    def __init__(self, a_minute: float, now: float) -> None:
        self._most, self._a_second = a_minute * BURST, a_minute * (1 - BURST) / 60
        self._points, self._at = self._most, now

    def take(self, points: int, now: float) -> float:
        """Take points, and return the seconds until they are there."""
        self._points = min(self._most, self._points + (now - self._at) * self._a_second) - points
        self._at = now
        return max(0.0, -self._points / self._a_second)


def _endpoint(url: str) -> str:
    """Return the endpoint of a URL: its path without the repository's name and without numbers."""
    path = re.sub(r"/repos/[^/]+/[^/]+", "/repos", urlsplit(url).path)
    return re.sub(r"/[0-9]+", "/N", path)
