"""A GitHub that gives no token for hours fails no repository."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from embedded.github import FakeGitHub, FakeInstallation, Fault
from github_s3_backup.github.client import GitHub
from github_s3_backup.github.installations import Installation
from github_s3_backup.github.tokens import ERROR_REMEMBERED, LAST_USE, REFRESH_AHEAD, TokenError
from github_s3_backup.github.transport.outage import MAX_OUTAGE
from github_s3_backup.github.transport.rest import GitHubError
from github_s3_backup.runtime.stop import Stopped
from support.clients import FastStop, Log, github_client

MINT = r"POST .*/access_tokens"
THREADS = 8


def down(times: int = 999) -> Fault:
    """Return a GitHub that gives no token."""
    return Fault(MINT, status=503, times=times)


def at_once(action: Callable[[], str]) -> list[str]:
    """Return what so many threads got that began together."""
    barrier = threading.Barrier(THREADS)

    def act(_: int) -> str:
        barrier.wait()
        return action()

    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(act, range(THREADS)))


@pytest.fixture
def installation(github: FakeGitHub) -> FakeInstallation:
    return github.install("acme")


@pytest.fixture
def log() -> Log:
    return Log()


@pytest.fixture
def stop() -> FastStop:
    return FastStop()


@pytest.fixture
def client(github: FakeGitHub, log: Log, stop: FastStop) -> Iterator[GitHub]:
    started = time.monotonic()
    yield github_client(github, log, stop)
    assert time.monotonic() - started < ERROR_REMEMBERED, "this test was to be over before errors are forgotten"


def test_the_old_token_is_used_while_it_is_valid(
    github: FakeGitHub, installation: FakeInstallation, client: GitHub, log: Log
) -> None:
    github.token_life = (REFRESH_AHEAD + LAST_USE) / 2
    tokens = client.access(installation.id).tokens
    old = tokens.token()
    github.faults = [down()]
    github.exchanges.clear()
    assert set(at_once(tokens.token)) == {old}
    (warning,) = log.named("token not refreshed, using the old one")
    assert "503" in warning["error"]
    asked = len(github.requests(MINT))
    assert tokens.token() == old
    assert len(github.requests(MINT)) == asked, "GitHub is given a pause"


def test_nobody_waits_for_a_refresh_that_takes_long(
    github: FakeGitHub, installation: FakeInstallation, client: GitHub
) -> None:
    github.token_life = (REFRESH_AHEAD + LAST_USE) / 2
    tokens = client.access(installation.id).tokens
    old = tokens.token()
    github.faults = [Fault(MINT, status=0, delay=5)]
    github.token_life = timedelta(hours=1)
    done: list[tuple[str, float]] = []
    started = time.monotonic()

    def ask() -> str:
        value = tokens.token()
        done.append((value, time.monotonic() - started))
        return value

    at_once(ask)
    *others, (refreshed, seconds) = done
    assert {value for value, _ in others} == {old}
    assert seconds >= 5
    assert refreshed != old
    assert tokens.token() == refreshed
    assert len(github.requests(MINT)) == 2


@pytest.mark.parametrize("hours", [0.1, 5])
def test_workers_wait_for_a_new_token_and_go_on_when_github_is_back(
    github: FakeGitHub, installation: FakeInstallation, client: GitHub, log: Log, stop: FastStop, hours: float
) -> None:
    github.token_life = LAST_USE / 2
    tokens = client.access(installation.id).tokens
    expired = tokens.token()
    github.token_life = timedelta(hours=1)
    began, outage = stop.now(), down(100_000)
    github.faults = [outage]
    stop.after(hours * 3600, github.faults.clear)
    (new,) = set(at_once(tokens.token))
    assert new != expired
    assert hours * 3600 < stop.now() - began < hours * 3600 + 600
    assert len(github.issued) == 2
    lines = log.named("no token, retrying")
    assert 3 < len(lines) < 100
    assert "503" in lines[0]["error"]


def test_a_run_without_a_deadline_waits_for_hours_and_one_with_a_deadline_until_then(
    github: FakeGitHub, installation: FakeInstallation, client: GitHub, stop: FastStop
) -> None:
    github.token_life = LAST_USE / 2
    tokens = client.access(installation.id).tokens
    tokens.token()
    github.faults, began = [down(100_000)], stop.now()
    with pytest.raises(TokenError, match="503"):
        tokens.token()
    assert MAX_OUTAGE <= stop.now() - began < MAX_OUTAGE + 1200
    stop.sleep(ERROR_REMEMBERED)
    stop.expire_after(3600)
    stop.after(MAX_OUTAGE + 3600, lambda: stop.expire_after(0))
    with pytest.raises(Stopped):
        tokens.token()
    assert stop.now() - began > MAX_OUTAGE + 3600


def test_while_the_whole_api_is_down_work_waits_and_one_endpoint_that_fails_is_a_failure(
    github: FakeGitHub, installation: FakeInstallation, client: GitHub, log: Log, stop: FastStop
) -> None:
    listing, whole = Installation(installation.id, "acme"), Fault("GET /api", status=502, times=100_000)
    client.repositories(listing)
    began, github.faults = stop.now(), [whole]
    stop.after(7200, github.faults.clear)
    client.repositories(listing)
    assert stop.now() - began > 7200
    assert "502" in log.named("GitHub is down, waiting")[0]["error"]
    github.faults, began = [Fault("GET .*/installation/repositories", status=502, times=100_000)], stop.now()
    with pytest.raises(GitHubError, match="502"):
        client.repositories(listing)
    assert stop.now() - began < 60


@pytest.mark.parametrize(("status", "words"), [(404, "was the App uninstalled"), (401, "check GITHUB_APP_ID")])
def test_a_refusal_is_not_waited_for_and_not_asked_for_once_more(
    github: FakeGitHub, installation: FakeInstallation, client: GitHub, stop: FastStop, status: int, words: str
) -> None:
    github.token_life = LAST_USE / 2
    tokens = client.access(installation.id).tokens
    tokens.token()
    github.faults = [Fault(MINT, status=status, message="Integration not found", times=99)]
    started = stop.now()
    for _ in range(3):
        with pytest.raises(TokenError, match=words) as caught:
            tokens.token()
        assert caught.value.status == status
    assert stop.now() - started < 60
    assert len(github.requests(MINT)) == 2


def test_where_github_never_gave_a_token_nobody_waits_long(
    github: FakeGitHub, installation: FakeInstallation, client: GitHub, stop: FastStop
) -> None:
    github.faults = [down()]
    started = stop.now()
    with pytest.raises(TokenError, match="503"):
        client.access(installation.id).tokens.token()
    assert stop.now() - started < 60


def test_a_rate_limit_of_the_app_is_waited_for_like_an_outage(
    github: FakeGitHub, installation: FakeInstallation, client: GitHub, log: Log
) -> None:
    """A 403 with Retry-After says nothing against the App."""
    github.token_life = LAST_USE / 2
    tokens = client.access(installation.id).tokens
    tokens.token()
    github.token_life = timedelta(hours=1)
    message = "You have exceeded a secondary rate limit."
    github.faults = [Fault(MINT, status=403, headers={"Retry-After": "0"}, message=message, times=14)]
    assert tokens.token() == github.issued[-1]
    (waiting,) = log.named("no token, retrying")
    assert message in waiting["error"]
    assert "see the App's installation" not in waiting["error"]


def test_a_rejected_token_is_replaced_once_for_all_threads(
    github: FakeGitHub, installation: FakeInstallation, client: GitHub
) -> None:
    client.access(installation.id).tokens.token()
    github.revoke_tokens()
    github.latency = 0.2  # all have sent the rejected token before the first one has its answer

    def listing() -> str:
        return str(client.repositories(Installation(installation.id, "acme")).total_count)

    assert at_once(listing) == ["0"] * THREADS
    statuses = [request.status for request in github.requests("GET .*/installation/repositories")]
    assert statuses.count(401) == THREADS
    assert statuses.count(200) == THREADS
    assert len(github.requests(MINT)) == 2


def test_a_token_that_is_rejected_again_is_not_replaced_again(
    github: FakeGitHub, installation: FakeInstallation, client: GitHub
) -> None:
    github.faults = [Fault("GET .*/installation/repositories", status=401, message="Bad credentials", times=99)]
    with pytest.raises(Exception, match="Bad credentials"):
        client.repositories(Installation(installation.id, "acme"))
    assert len(github.requests(MINT)) == 2
