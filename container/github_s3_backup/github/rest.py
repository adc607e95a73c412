"""GitHub's REST API on the wire: sends a request until it is answered.

https://docs.github.com/en/rest/using-the-rest-api/best-practices-for-using-the-rest-api
"""

import base64
import contextlib
import io
import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urljoin, urlsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter
from structlog.typing import FilteringBoundLogger

from github_s3_backup.runtime.retry import RetryableError, requested_wait, retrying
from github_s3_backup.runtime.stop import Stop
from github_s3_backup.version import TOOL_VERSION

API_ATTEMPTS = 6
TIMEOUT = (10, 60)  # seconds to connect, seconds between two bytes
ANSWER_SECONDS = 120  # for a whole answer: a server that sends a byte now and then never times out otherwise
BLOCK_SIZE = 64 * 1024
NO_CONTENT, NOT_MODIFIED = 204, 304
MAX_PAGES, MAX_REDIRECTS = 10_000, 5
# What GitHub's documentation asks for where a secondary rate limit comes without a header. Seconds.
SECONDARY_LIMIT_WAIT = 60.0

USER_AGENT, API_VERSION = f"terraform-aws-github-backup/{TOOL_VERSION}", "2022-11-28"

Authorization = Callable[[], str | None]


class GitHubError(RetryableError):
    """GitHub refused or could not be reached; the text holds GitHub's own words. `status` 0: no answer."""

    permanent = True

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status
        self.unauthorized = status == 401

    @property
    def refused(self) -> bool:
        """Whether GitHub will not answer otherwise later. A rate limit is no refusal, whatever its status."""
        return 400 <= self.status < 500 and self.status != 429 and self.wait_source is None


class Api:
    """Sends requests, retries transient faults, and follows pages. `url`: without a slash at the end."""

    def __init__(
        self,
        url: str,
        session: requests.Session,
        stop: Stop,
        log: FilteringBoundLogger,
        answer_seconds: float = ANSWER_SECONDS,
    ) -> None:
        self.url, self._answer_seconds = url, answer_seconds
        self._session, self._stop, self._log = session, stop, log

    def pages(self, url: str, get: Callable[[str], requests.Response]) -> Iterator[Any]:
        """Yield the JSON of each page, following Link: rel="next" while it stays on GitHub's host and is new."""
        next_url: str | None = url
        seen: set[str] = set()
        while next_url:
            if urlsplit(next_url)[:2] != urlsplit(self.url)[:2]:
                raise GitHubError(f"GitHub's next page is on another host than GITHUB_API_URL: {next_url}")
            if next_url in seen or len(seen) >= MAX_PAGES:
                raise GitHubError(f"GitHub's pages do not end: {next_url} comes after {len(seen)} others")
            seen.add(next_url)
            answer = get(next_url)
            yield answer.json()
            next_url = answer.links.get("next", {}).get("url")

    def send(self, method: str, url: str, authorization: Authorization, **options: Any) -> requests.Response:
        """Send one request, retry transient faults, and return the successful answer."""
        loop = retrying(API_ATTEMPTS, self._stop, self._log)
        try:
            return loop(self.send_once, method, url, authorization, **options)
        except GitHubError as error:
            error.permanent = True  # it was retried often enough
            raise

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
            answer = self._follow_redirects(method, url, headers, options)
        except (requests.RequestException, OSError) as error:
            fault = GitHubError(f"{self.url} can't be reached ({request}): {root_cause(error)}")
            fault.permanent = False
            raise fault from None
        if answer.status_code >= 300 and answer.status_code != NOT_MODIFIED:
            raise _refusal(answer, request)
        if url.startswith(self.url) and answer.status_code not in (NO_CONTENT, NOT_MODIFIED):
            _require_json(answer, request)
        return answer

    def _follow_redirects(
        self, method: str, url: str, headers: dict[str, str], options: dict[str, Any]
    ) -> requests.Response:
        """Send, and follow redirects of a GET that stay on the host: the token goes nowhere else."""
        for _ in range(MAX_REDIRECTS):
            answer = self._session.request(
                method,
                url,
                headers=headers,
                timeout=TIMEOUT,
                allow_redirects=False,
                stream=True,
                proxies=requests.utils.get_environ_proxies(url),
                **options,
            )
            _read(answer, self._answer_seconds)
            target = urljoin(url, answer.headers.get("Location", ""))
            if not answer.is_redirect or method != "GET" or urlsplit(target)[:2] != urlsplit(url)[:2]:
                break
            url = target
        return answer


def basic_authorization(token: str) -> str:
    """Return the Authorization header with which GitHub's git and LFS servers take a token."""
    return "Basic " + base64.b64encode(f"x-access-token:{token}".encode()).decode()


def new_session(ca_file: str | None, connections: int) -> requests.Session:
    """Return a session that ignores the machine's .netrc and proxies, and keeps `connections` open to each host."""
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
        difference = f"{type(error).__name__} {error}"
        raise GitHubError(f"the answer to {urlsplit(url).path} is not what GitHub documents: {difference}") from None


def _read(answer: requests.Response, seconds: float) -> None:
    """Read the whole body within so many seconds. Raises requests' errors."""
    deadline = time.monotonic() + seconds
    blocks = []
    with answer:
        try:
            while block := answer.raw.read1(BLOCK_SIZE, decode_content=True):
                blocks.append(block)
                if time.monotonic() > deadline:
                    raise requests.ReadTimeout(f"the answer took longer than {seconds:g} s")
        except urllib3.exceptions.HTTPError as error:
            raise requests.ConnectionError(error) from None
    answer.raw = io.BytesIO(b"".join(blocks))


def _require_json(answer: requests.Response, request: str) -> None:
    try:
        answer.json()
    except ValueError:
        kind = answer.headers.get("Content-Type", "no type")
        fault = GitHubError(
            f"the answer to {request} is {kind}, not JSON: is GITHUB_API_URL GitHub's API?", answer.status_code
        )
        fault.permanent = False
        raise fault from None


def root_cause(error: BaseException) -> str:
    """Return the innermost reason of a failed request: the outer ones repeat it in Python's words."""
    reason = error
    while (inner := getattr(reason, "reason", None) or (reason.args and reason.args[0])) and isinstance(
        inner, BaseException
    ):
        reason = inner
    return str(reason) or type(reason).__name__


def _refusal(answer: requests.Response, request: str) -> GitHubError:
    words = _words(answer)
    wait, source = requested_wait(answer.status_code, answer.headers)
    if source is None and answer.status_code in (403, 429) and "secondary rate limit" in words.lower():
        wait, source = SECONDARY_LIMIT_WAIT, "GitHub's documentation"
    asked = f" ({source} asks to wait {wait:.0f} s)" if wait is not None else ""
    fault = GitHubError(f"GitHub answered {answer.status_code} to {request}: {words}{asked}", answer.status_code)
    fault.wait, fault.wait_source = wait, source
    fault.permanent = source is None and answer.status_code != 429 and answer.status_code < 500
    return fault


def _words(answer: requests.Response) -> str:
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
        return answer.text.strip()[:300] or answer.reason or "no explanation"
