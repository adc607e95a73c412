"""GitHub's REST API on the wire: sends a request until it is answered.

https://docs.github.com/en/rest/using-the-rest-api/best-practices-for-using-the-rest-api
"""

import base64
import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit

import requests
from structlog.typing import FilteringBoundLogger

from github_s3_backup.github.transport.http import ANSWER_SECONDS, Link, opened, read_whole, root_cause, same_server
from github_s3_backup.github.transport.limiter import Limiter
from github_s3_backup.github.transport.outage import Outage
from github_s3_backup.github.transport.pages import Ahead
from github_s3_backup.runtime.retry import PERMANENT, TRANSIENT, Retry, RetryableError, retry_after, retrying
from github_s3_backup.runtime.stop import Stop
from github_s3_backup.version import TOOL_VERSION

API_ATTEMPTS = 6
NO_CONTENT, NOT_MODIFIED = 204, 304
MAX_PAGES = 10_000

USER_AGENT, API_VERSION = f"terraform-aws-github-backup/{TOOL_VERSION}", "2022-11-28"

Authorization = Callable[[], str | None]


class GitHubError(RetryableError):
    """GitHub refused or could not be reached; the text holds GitHub's own words. `status` 0: no answer."""

    def __init__(self, message: str, status: int = 0, retry: Retry = PERMANENT) -> None:
        super().__init__(message, retry)
        self.status = status

    @property
    def unauthorized(self) -> bool:
        return self.status == 401

    @property
    def refused(self) -> bool:
        """Whether GitHub will not answer otherwise later. A rate limit is no refusal, whatever its status."""
        return 400 <= self.status < 500 and not self.retry.is_limit

    @property
    def is_outage(self) -> bool:
        """Whether GitHub did not answer, or with a fault of its own."""
        return self.status == 0 or self.status >= 500


@dataclass(frozen=True)
class Api:
    """Sends requests, retries transient faults, and follows pages.

    `url`: without a slash at the end. `limiter`: of the installation whose requests these are. It got a token from
    GitHub, so GitHub was there, and where it is down this waits.
    """

    url: str
    session: requests.Session
    stop: Stop
    log: FilteringBoundLogger
    limiter: Limiter | None = None
    answer_seconds: float = ANSWER_SECONDS

    def within(self, limiter: Limiter) -> "Api":
        """Return the same API for the requests of one installation."""
        return replace(self, limiter=limiter)

    def pages(self, url: str, get: Callable[[str], requests.Response]) -> Iterator[Any]:
        """Yield the JSON of each page, following Link: rel="next" while it stays on GitHub's server and is new.

        Several are asked for at once.
        """
        next_url: str | None = url
        seen: set[str] = set()
        ahead = Ahead(get)
        while next_url:
            if not same_server(next_url, self.url):
                raise GitHubError(f"GitHub's next page is on another host than GITHUB_API_URL: {next_url}")
            if next_url in seen or len(seen) >= MAX_PAGES:
                raise GitHubError(f"GitHub's pages do not end: {next_url} comes after {len(seen)} others")
            seen.add(next_url)
            answer = ahead.get(next_url)
            next_url = answer.links.get("next", {}).get("url")
            if next_url and same_server(next_url, self.url):
                ahead.begin(answer)
            yield answer.json()

    def send(self, method: str, url: str, authorization: Authorization, **options: Any) -> requests.Response:
        """Send one request, retry transient faults, wait for the end of an outage, and return the successful answer."""
        outage = Outage(self.stop)
        while True:
            try:
                loop = retrying(API_ATTEMPTS, self.stop, self.log)
                return loop(self.send_once, method, url, authorization, **options)
            except GitHubError as error:
                pause = outage.pause() if self._is_down(error, authorization) else None
                if pause is None:
                    raise error.as_permanent() from None
                self.log.warning("GitHub is down, waiting", seconds=pause, error=str(error))
                self.stop.sleep(pause)

    def _is_down(self, error: GitHubError, authorization: Authorization) -> bool:
        """Return whether nothing else works either, so that the fault says nothing of what was asked for."""
        if self.limiter is None or not error.is_outage or error.permanent:
            return False
        try:
            self.send_once("GET", f"{self.url}/rate_limit", authorization)  # which counts against no limit
        except GitHubError as other:
            return other.is_outage
        return False

    def send_once(self, method: str, url: str, authorization: Authorization, **options: Any) -> requests.Response:
        """Send one request once and return the successful answer."""
        headers = {
            "Accept": "application/vnd.github+json",
            "Authorization": authorization(),
            "User-Agent": USER_AGENT,
            "X-GitHub-Api-Version": API_VERSION,
        } | options.pop("headers", {})
        request = f"{method} {urlsplit(url).path}"
        try:
            with opened(self.session, method, Link(url, headers, self.limiter), **options) as answer:
                read_whole(answer, self.answer_seconds)
        except (requests.RequestException, OSError) as error:
            words = f"{self.url} can't be reached ({request}): {root_cause(error)}"
            raise GitHubError(words, retry=TRANSIENT) from None
        if answer.status_code >= 300 and answer.status_code != NOT_MODIFIED:
            raise self._refusal(answer, request)
        if url.startswith(self.url) and answer.status_code not in (NO_CONTENT, NOT_MODIFIED):
            _require_json(answer, request)
        return answer

    def _refusal(self, answer: requests.Response, request: str) -> GitHubError:
        words = answer_words(answer)
        retry = retry_after(answer.status_code, answer.headers, words)
        if self.limiter:
            self.limiter.heed(retry)
        asked = f" ({retry.source} asks to wait {retry.wait:.0f} s)" if retry.wait is not None else ""
        message = f"GitHub answered {answer.status_code} to {request}: {words}{asked}"
        return GitHubError(message, answer.status_code, retry)


def basic_authorization(token: str) -> str:
    """Return the Authorization header with which GitHub's git and LFS servers take a token."""
    return "Basic " + base64.b64encode(f"x-access-token:{token}".encode()).decode()


@contextlib.contextmanager
def as_documented(url: str) -> Iterator[None]:
    """Raise GitHubError where an answer has another form than GitHub documents."""
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        difference = f"{type(error).__name__} {error}"
        raise GitHubError(f"the answer to {urlsplit(url).path} is not what GitHub documents: {difference}") from None


def _require_json(answer: requests.Response, request: str) -> None:
    try:
        answer.json()
    except ValueError:
        kind = answer.headers.get("Content-Type", "no type")
        message = f"the answer to {request} is {kind}, not JSON: is GITHUB_API_URL GitHub's API?"
        raise GitHubError(message, answer.status_code, TRANSIENT) from None


def answer_words(answer: requests.Response) -> str:
    """Return GitHub's own explanation: the causes of a 422, why a repository is blocked, where a redirect leads."""
    if answer.is_redirect:
        return f"redirect to {answer.headers['Location']}"
    try:
        body = answer.json()
        causes = [cause.get("message") if isinstance(cause, dict) else cause for cause in body.get("errors") or []]
        block = body.get("block") or {}
        details = " ".join(str(detail) for detail in (*causes, block.get("reason"), block.get("html_url")) if detail)
        return f"{body['message']} ({details})" if details else str(body["message"])
    except (ValueError, KeyError, AttributeError, TypeError):
        is_page = "html" in answer.headers.get("Content-Type", "")
        return (not is_page and answer.text.strip()[:300]) or answer.reason or "no explanation"
