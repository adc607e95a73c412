"""An installation has a budget: requests at once, points a minute. After one refusal all of its requests wait."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from embedded.github import FakeGitHub, Fault
from github_s3_backup.github.installations import Installation
from github_s3_backup.github.transport.limiter import Budget, Limiter
from github_s3_backup.runtime.retry import Retry
from github_s3_backup.runtime.stop import Stop
from support.clients import FastStop, Log, github_client

API = "https://api.github.com"
RELEASES = API + "/repos/acme/api-{}/releases?per_page=100"


def seconds_of(requests: int, method: str, url: str, shares: int = 1) -> float:
    """Return the seconds that so many requests, one after the other, wait for their points."""
    stop = FastStop()
    limiter = Limiter(Budget(shares=shares), API, stop)
    for number in range(requests):
        with limiter.request(method, url.format(number)):
            pass
    return sum(stop.waits)


@pytest.mark.parametrize(
    ("method", "url", "points", "a_minute"),
    [
        ("GET", RELEASES, 1, 900),
        ("POST", RELEASES, 5, 900),
        ("POST", API + "/graphql", 1, 2000),
    ],
)
@pytest.mark.parametrize("shares", [1, 24])
def test_no_minute_has_more_points_than_github_allows(
    method: str, url: str, points: int, a_minute: int, shares: int
) -> None:
    allowed = a_minute // points // shares
    assert seconds_of(allowed // 10, method, url, shares) == 0
    assert seconds_of(allowed + 1, method, url, shares) >= 59
    assert 600 <= seconds_of(10 * allowed, method, url, shares) <= 670


def test_each_endpoint_has_points_of_its_own_and_what_is_not_the_api_needs_none() -> None:
    assert seconds_of(10_000, "GET", "https://github.com/acme/api-{}.git/info/refs") == 0
    stop = FastStop()
    limiter = Limiter(Budget(), API, stop)
    for url in (RELEASES, API + "/repositories/{}", API + "/repos/acme/api/releases/assets/{}"):
        for number in range(80):
            with limiter.request("GET", url.format(number)):
                pass
    assert stop.waits == []


def test_a_server_of_ones_own_has_no_points() -> None:
    stop = FastStop()
    limiter = Limiter(Budget(), "https://ghes.example/api/v3", stop)
    for _ in range(2000):
        with limiter.request("GET", "https://ghes.example/api/v3/installation/repositories"):
            pass
    assert stop.waits == []


@pytest.mark.parametrize(("shares", "most"), [(1, 96), (24, 4), (200, 1)])
def test_no_more_requests_are_in_flight_than_this_tasks_share(shares: int, most: int) -> None:
    limiter, lock = Limiter(Budget(shares=shares), API, Stop()), threading.Lock()
    now, seen, full = [0], [0], threading.Event()

    def ask(_: int) -> None:
        with limiter.request("GET", "https://github.com/acme/api.git/info/refs"):
            with lock:
                now[0] += 1
                seen.append(now[0])
                if now[0] == most:
                    full.set()
            assert full.wait(30)
            with lock:
                now[0] -= 1

    with ThreadPoolExecutor(120) as pool:
        list(pool.map(ask, range(240)))
    assert max(seen) == most


def test_where_one_request_is_refused_by_a_rate_limit_the_others_wait_too(github: FakeGitHub) -> None:
    installation, stop = github.install("acme"), FastStop()
    client = github_client(github, Log(), stop)
    listing = Installation(installation.id, "acme")
    client.repositories(listing)
    github.faults = [Fault("GET .*/installation/repositories", status=429, headers={"Retry-After": "1800"})]
    began = stop.now()
    client.repositories(listing)
    client.repositories(listing)
    assert 1800 <= stop.now() - began < 1900
    assert len(github.requests("GET .*/installation/repositories")) == 4
    limiter = client.access(installation.id).limiter
    limiter.heed(Retry(wait=60, is_limit=True))
    began = stop.now()
    with limiter.request("GET", github.server_url):
        assert 60 <= stop.now() - began < 70
