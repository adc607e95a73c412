"""The wire to GitHub's REST API: one request, whatever it takes to get its answer.

https://docs.github.com/en/rest/using-the-rest-api/best-practices-for-using-the-rest-api
"""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urljoin, urlsplit

import requests
from requests.adapters import HTTPAdapter
from structlog.typing import FilteringBoundLogger

from github_s3_backup.retry import RetryableError, retrying, wait_told
from github_s3_backup.stop import Stop
from github_s3_backup.version import TOOL_VERSION

API_ATTEMPTS = 6
TIMEOUT = (10, 60)  # seconds to connect, seconds between two bytes
NO_CONTENT = 204
MOST_PAGES, MOST_REDIRECTS = 10_000, 5
# What GitHub's documentation asks for where a secondary rate limit comes without a header. Seconds.
SECONDARY_LIMIT_WAIT = 60.0

Authorization = Callable[[], str]


class GitHubError(RetryableError):
    """GitHub refused or could not be reached; the text holds GitHub's own words. `status` 0: no answer."""

    final = True

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


class Api:
    """Sends requests, again after faults that may pass, and follows pages. `url`: without a slash at the end."""

    def __init__(self, url: str, session: requests.Session, stop: Stop, log: FilteringBoundLogger) -> None:
        self.url = url
        self._session, self._stop, self._log = session, stop, log

    def pages(self, url: str, get: Callable[[str], requests.Response]) -> Iterator[Any]:
        """Yield the JSON of each page, following Link: rel="next" while it stays on GitHub's host and is new."""
        next_url: str | None = url
        seen: set[str] = set()
        while next_url:
            if urlsplit(next_url)[:2] != urlsplit(self.url)[:2]:
                raise GitHubError(f"GitHub's next page is on another host than GITHUB_API_URL: {next_url}")
            if next_url in seen or len(seen) >= MOST_PAGES:
                raise GitHubError(f"GitHub's pages do not end: {next_url} comes after {len(seen)} others")
            seen.add(next_url)
            answer = get(next_url)
            yield answer.json()
            next_url = answer.links.get("next", {}).get("url")

    def send(self, method: str, url: str, authorization: Authorization, **options: Any) -> requests.Response:
        """Send one request, again after a fault that may pass, and return the successful answer."""
        loop = retrying(API_ATTEMPTS, self._stop, self._log_wait)
        try:
            return loop(self.send_once, method, url, authorization, **options)
        except GitHubError as error:
            error.final = True  # it was tried often enough
            raise

    def send_once(self, method: str, url: str, authorization: Authorization, **options: Any) -> requests.Response:
        """Send one request once and return the successful answer."""
        headers = {
            "Accept": "application/vnd.github+json",
            "Authorization": authorization(),
            "User-Agent": f"terraform-aws-github-backup/{TOOL_VERSION}",
            "X-GitHub-Api-Version": "2022-11-28",
        } | options.pop("headers", {})
        what = f"{method} {urlsplit(url).path}"
        try:
            answer = self._follow(method, url, headers, options)
        except (requests.RequestException, OSError) as error:
            fault = GitHubError(f"{self.url} can't be reached ({what}): {_root_cause(error)}")
            fault.final = False
            raise fault from None
        if answer.status_code >= 300:
            raise _refusal(answer, what)
        if url.startswith(self.url) and answer.status_code != NO_CONTENT:
            _require_json(answer, what)
        return answer

    def _follow(self, method: str, url: str, headers: dict[str, str], options: dict[str, Any]) -> requests.Response:
        """Send, and follow redirects of a GET as long as they stay on the host: the token goes nowhere else."""
        for _ in range(MOST_REDIRECTS):
            answer = self._session.request(
                method,
                url,
                headers=headers,
                timeout=TIMEOUT,
                allow_redirects=False,
                proxies=requests.utils.get_environ_proxies(url),
                **options,
            )
            target = urljoin(url, answer.headers.get("Location", ""))
            if not answer.is_redirect or method != "GET" or urlsplit(target)[:2] != urlsplit(url)[:2]:
                break
            url = target
        return answer

    def _log_wait(self, fault: RetryableError, seconds: float, attempt: int) -> None:
        told_by = fault.told_by or "backoff"
        self._log.warning(
            "waiting for GitHub", seconds=round(seconds, 1), told_by=told_by, attempt=attempt, error=str(fault)
        )


def new_session(ca_file: str | None, connections: int) -> requests.Session:
    """Return a session that takes neither the machine's .netrc nor anything else that it does not name.

    It keeps so many connections open to each host.
    """
    session = requests.Session()
    for scheme in ("https://", "http://"):
        session.mount(scheme, HTTPAdapter(pool_maxsize=connections))
    session.trust_env = False
    session.verify = ca_file or True
    return session


@contextlib.contextmanager
def as_documented(url: str) -> Iterator[None]:
    """Raise GitHubError where an answer has another form than GitHub documents."""
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        what = f"{type(error).__name__} {error}"
        raise GitHubError(f"the answer to {urlsplit(url).path} is not what GitHub documents: {what}") from None


def _require_json(answer: requests.Response, what: str) -> None:
    try:
        answer.json()
    except ValueError:
        kind = answer.headers.get("Content-Type", "no type")
        fault = GitHubError(
            f"the answer to {what} is {kind}, not JSON: is GITHUB_API_URL GitHub's API?", answer.status_code
        )
        fault.final = False
        raise fault from None


def _root_cause(error: BaseException) -> str:
    """Return the innermost reason of a failed request: the outer ones repeat it in Python's words."""
    reason = error
    while (inner := getattr(reason, "reason", None) or (reason.args and reason.args[0])) and isinstance(
        inner, BaseException
    ):
        reason = inner
    return str(reason) or type(reason).__name__


def _refusal(answer: requests.Response, what: str) -> GitHubError:
    words = _words(answer)
    wait, told_by = wait_told(answer.status_code, answer.headers)
    if told_by is None and answer.status_code in (403, 429) and "secondary rate limit" in words.lower():
        wait, told_by = SECONDARY_LIMIT_WAIT, "GitHub's documentation"
    asked = f" ({told_by} asks to wait {wait:.0f} s)" if wait is not None else ""
    fault = GitHubError(f"GitHub answered {answer.status_code} to {what}: {words}{asked}", answer.status_code)
    fault.wait, fault.told_by = wait, told_by
    fault.final = told_by is None and answer.status_code != 429 and answer.status_code < 500
    return fault


def _words(answer: requests.Response) -> str:
    """Return GitHub's own explanation: the causes of a 422, why a repository is blocked, where a redirect leads."""
    if answer.is_redirect:
        return f"redirect to {answer.headers['Location']}"
    try:
        body = answer.json()
        causes = [one.get("message") if isinstance(one, dict) else one for one in body.get("errors") or []]
        block = body.get("block") or {}
        details = " ".join(str(one) for one in (*causes, block.get("reason"), block.get("html_url")) if one)
        return f"{body['message']} ({details})" if details else str(body["message"])
    except (ValueError, KeyError, AttributeError, TypeError):
        return answer.text.strip()[:300] or answer.reason or "no explanation"
