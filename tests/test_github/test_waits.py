"""One rule for all of GitHub's answers: they are waited for by GitHub's clock, and never less than a backoff."""

import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from requests.structures import CaseInsensitiveDict

from embedded.github import FakeGitHub, Fault
from github_s3_backup.github.installations import Installation
from github_s3_backup.github.transport.rest import GitHubError
from github_s3_backup.runtime.retry import MAX_WAIT, TRANSIENT, Retry, RetryableError, retry_after, retrying
from support.clients import FastStop, Log, github_client

LISTING = "GET .*/installation/repositories"
# What asks for no wait at all, or for one in the past.
USELESS = {
    "retry after nothing": {"Retry-After": "0"},
    "a reset in the past": {"x-ratelimit-remaining": "0", "x-ratelimit-reset": str(int(time.time()) - 3600)},
    "no header": {},
}


@pytest.mark.parametrize("status", [403, 429])
@pytest.mark.parametrize("headers", USELESS.values(), ids=USELESS)
def test_a_rate_limit_is_waited_for_longer_and_longer_whatever_its_headers_say(
    github: FakeGitHub, status: int, headers: dict[str, str]
) -> None:
    installation, stop = github.install("acme"), FastStop()
    client, message = github_client(github, Log(), stop), "You have exceeded a secondary rate limit."
    began, listing = stop.now(), Installation(installation.id, "acme")
    github.faults = [Fault(LISTING, status=status, headers=headers, message=message, times=9)]
    client.repositories(listing)
    assert 120 < stop.now() - began < 1200
    github.faults, began = [Fault(LISTING, status=status, headers=headers, message=message, times=99)], stop.now()
    with pytest.raises(GitHubError, match="secondary rate limit"):
        client.repositories(listing)
    assert 600 < stop.now() - began < 7200


@pytest.mark.parametrize("hours", [-5, 0, 5])
def test_a_reset_is_a_moment_of_githubs_clock(hours: int) -> None:
    there = datetime.now(UTC) + timedelta(hours=hours)
    headers = {
        "date": format_datetime(there, usegmt=True),
        "X-RateLimit-Remaining": "0",
        "X-RateLimit-Reset": str(int(there.timestamp()) + 600),
    }
    retry = retry_after(403, CaseInsensitiveDict(headers))
    assert retry.wait == pytest.approx(601, abs=1.5)
    assert (retry.is_limit, retry.permanent, retry.source) == (True, False, "x-ratelimit-reset")


@pytest.mark.parametrize(
    ("status", "headers", "words", "expected"),
    [
        (404, {}, "", Retry(permanent=True)),
        (403, {}, "Resource not accessible by integration", Retry(permanent=True)),
        (408, {}, "", TRANSIENT),
        (500, {}, "", TRANSIENT),
        (503, {"Retry-After": "7"}, "", Retry(wait=7, source="Retry-After")),
        (403, {"Retry-After": "7"}, "", Retry(wait=7, source="Retry-After", is_limit=True)),
        (429, {}, "", Retry(wait=60, source="GitHub's documentation", is_limit=True)),
        (403, {}, "API rate limit exceeded for 1.", Retry(wait=60, source="GitHub's documentation", is_limit=True)),
    ],
)
def test_only_what_passes_by_itself_is_tried_again(
    status: int, headers: dict[str, str], words: str, expected: Retry
) -> None:
    assert retry_after(status, CaseInsensitiveDict(headers), words) == expected


def test_a_wait_for_a_rate_limit_is_not_an_attempt() -> None:
    stop, log = FastStop(), Log()
    limit = Retry(wait=3000.0, source="x-ratelimit-reset", is_limit=True)
    faults = iter([limit, TRANSIENT, limit, limit, TRANSIENT, limit])

    def act() -> str:
        if (fault := next(faults, None)) is not None:
            raise RetryableError("not now", fault)
        return "done"

    assert retrying(3, stop, log.logger)(act) == "done"
    assert sum(stop.waits) >= 4 * 3000
    assert max(stop.waits) <= MAX_WAIT


def test_an_error_is_a_value() -> None:
    error = GitHubError("refused", 404)
    again = error.with_retry(TRANSIENT)
    assert (error.permanent, again.permanent, again.status, str(again)) == (True, False, 404, "refused")
    assert again.as_permanent().permanent
    assert not again.permanent
    with pytest.raises(AttributeError):
        error.permanent = False  # type: ignore[misc]
