"""GitHub as an App sees it: tokens, installations, repositories.

https://docs.github.com/en/apps/creating-github-apps/authenticating-with-a-github-app
"""

import base64
import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urljoin, urlsplit

import jwt
import requests
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from requests.adapters import HTTPAdapter
from structlog.typing import FilteringBoundLogger

from git import Refs
from redaction import Redactor, printable
from repository import InvalidRepositoryError, Repository, read_repository
from retry import RetryableError, retrying, wait_told
from served_refs import parse_served_refs
from stop import Stop
from version import TOOL_VERSION

API_ATTEMPTS = 6
TIMEOUT = (10, 60)  # seconds to connect, seconds between two bytes
PAGE_SIZE = 100
# GitHub refuses a JWT that lives longer than 10 minutes by its own clock, which may be behind ours.
JWT_BACKDATED, JWT_LIFE = timedelta(seconds=60), timedelta(minutes=9)
# A token is replaced this long before it expires. It lives for one hour.
REFRESH_AHEAD = timedelta(minutes=5)
# After a token could not be had, so long nobody asks again. Seconds.
MINT_PAUSE = 60.0
MOST_PAGES, MOST_REDIRECTS = 10_000, 5
# GitHub's git server answers only what calls itself git. https://github.com/jelmer/dulwich/issues/562
GIT_HEADERS = {"User-Agent": f"git/terraform-aws-github-backup/{TOOL_VERSION}", "Accept": "*/*"}
# No more than a backup needs, whatever the App was granted.
PERMISSIONS = {"contents": "read", "metadata": "read"}
# What GitHub's documentation asks for where a secondary rate limit comes without a header. Seconds.
SECONDARY_LIMIT_WAIT = 60.0

# What a refusal of the App's own requests comes from, by its status.
HINTS = {
    401: "check GITHUB_APP_ID, that the private key belongs to that App, and this machine's clock",
    403: "see the App's installation in the organisation's settings",
    404: "check GITHUB_APP_ID and GITHUB_APP_INSTALLATION_ID: was the App uninstalled?",
    422: "grant the App read access to Contents and Metadata, and accept the change in the organisation",
}

Authorization = Callable[[], str]


class GitHubError(RetryableError):
    """GitHub refused or could not be reached; the text holds GitHub's own words. `status` 0: no answer."""

    final = True

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


class RepositoryGoneError(Exception):
    """The repository was listed, and a second look by its id finds nothing."""


@dataclass(frozen=True)
class App:
    """The GitHub App: who it is, and where its GitHub is. URLs without a slash at the end."""

    id: str
    key: RSAPrivateKey = field(repr=False)
    api_url: str
    server_url: str


@dataclass(frozen=True)
class Installation:
    """One place where the App is installed. `owner` is '?' where GitHub was not asked for it."""

    id: int
    owner: str


@dataclass(frozen=True)
class Listing:
    """The repositories of one installation, those refused, and how many GitHub says there are."""

    repositories: tuple[Repository, ...]
    refused: tuple[InvalidRepositoryError, ...]
    total_count: int

    @property
    def missing(self) -> int:
        return max(0, self.total_count - len(self.repositories) - len(self.refused))


@dataclass(frozen=True)
class Token:
    """An installation token and when it ends."""

    value: str
    expires_at: datetime


class TokenManager:
    """Keeps one installation's token fresh for any number of threads."""

    def __init__(self, mint: Callable[[], Token]) -> None:
        self._mint = mint
        self._lock = threading.Lock()
        self._token: Token | None = None
        self._failure: tuple[float, GitHubError] | None = None

    def token(self) -> str:
        """Return a token that is good for at least REFRESH_AHEAD. Raises GitHubError."""
        with self._lock:
            if self._token is None or self._token.expires_at - datetime.now(UTC) < REFRESH_AHEAD:
                self._renew()
            assert self._token
            return self._token.value

    def replace(self, rejected: str) -> str:
        """Return another token than the one that GitHub rejected, minted once for all threads. Raises GitHubError."""
        with self._lock:
            if self._token is None or self._token.value == rejected:
                self._renew()
            assert self._token
            return self._token.value

    def _renew(self) -> None:
        # A mint that failed was tried many times already: those who waited for it don't all try as often again.
        if self._failure and time.monotonic() - self._failure[0] < MINT_PAUSE:
            raise GitHubError(str(self._failure[1]), self._failure[1].status)
        try:
            self._token, self._failure = self._mint(), None
        except GitHubError as error:
            self._failure = (time.monotonic(), error)
            raise


class GitHub:
    """The App's view of GitHub's REST API."""

    def __init__(
        self, app: App, session: requests.Session, redactor: Redactor, stop: Stop, log: FilteringBoundLogger
    ) -> None:
        self._app, self._api_url = app, app.api_url
        self._session, self._redactor, self._stop, self._log = session, redactor, stop, log
        self._managers: dict[int, TokenManager] = {}
        self._lock = threading.Lock()

    # -- the App ---------------------------------------------------------------------------------

    def _as_app(self) -> str:
        now = datetime.now(UTC)
        claims = {"iat": now - JWT_BACKDATED, "exp": now + JWT_LIFE, "iss": self._app.id}
        return f"Bearer {jwt.encode(claims, self._app.key, algorithm='RS256')}"

    def installations(self) -> list[Installation]:
        """Return every installation of the App. Raises GitHubError."""
        found = []
        url = f"{self._api_url}/app/installations?per_page={PAGE_SIZE}"
        for page in self._pages(url, lambda page_url: self._ask_as_app("GET", page_url)):
            with _as_documented(url):
                for answer in page:
                    account = answer.get("account") or {}
                    owner = printable(str(account.get("login") or account.get("slug") or "?"))
                    found.append(Installation(int(answer["id"]), owner))
        return found

    def tokens(self, installation_id: int) -> TokenManager:
        """Return the one TokenManager of an installation."""
        with self._lock:
            manager = TokenManager(lambda: self._mint(installation_id))
            return self._managers.setdefault(installation_id, manager)

    def _mint(self, installation_id: int) -> Token:
        url = f"{self._api_url}/app/installations/{installation_id}/access_tokens"
        answer = self._ask_as_app("POST", url, json={"permissions": PERMISSIONS}).json()
        with _as_documented(url):
            self._redactor.hide_token(answer["token"])
            expires_at = datetime.fromisoformat(answer["expires_at"])
            return Token(answer["token"], expires_at if expires_at.tzinfo else expires_at.replace(tzinfo=UTC))

    # -- its repositories ------------------------------------------------------------------------

    def repositories(self, installation: Installation) -> Listing:
        """Return what the installation can see; looked at twice where GitHub lists fewer than it counts.

        Raises GitHubError.
        """
        found: dict[object, Repository | InvalidRepositoryError] = {}
        listing = self._list(installation, found)
        if listing.missing:
            self._log.warning("listing is short, looking again", owner=installation.owner, missing=listing.missing)
            listing = self._list(installation, found)
        return listing

    def _list(self, installation: Installation, found: dict[object, Repository | InvalidRepositoryError]) -> Listing:
        """List once; what is listed is added to `found`, and what was found before counts too."""
        total_count = 0
        url = f"{self._api_url}/installation/repositories?per_page={PAGE_SIZE}"
        for page in self._pages(url, lambda page_url: self._as_installation(page_url, installation.id)):
            with _as_documented(url):
                total_count = int(page["total_count"])
                for answer in page["repositories"]:
                    try:
                        repository = read_repository(answer, installation.id)
                        found[repository.id] = repository
                    except InvalidRepositoryError as error:
                        found[error.full_name] = error
        repositories = tuple(r for r in found.values() if isinstance(r, Repository))
        refused = tuple(r for r in found.values() if isinstance(r, InvalidRepositoryError))
        return Listing(repositories, refused, total_count)

    def look_again(self, repository: Repository) -> Repository:
        """Return what the repository's id stands for now: it may have a new name.

        Raises RepositoryGoneError, or GitHubError with GitHub's words where it is blocked.
        """
        url = f"{self._api_url}/repositories/{repository.id}"
        try:
            answer = self._as_installation(url, repository.installation_id)
        except GitHubError as error:
            if error.status == 404:
                raise RepositoryGoneError(str(error)) from None
            raise
        try:
            return read_repository(answer.json(), repository.installation_id)
        except InvalidRepositoryError as error:
            raise GitHubError(str(error), answer.status_code) from None

    def clone_url(self, repository: Repository) -> str:
        return f"{self._app.server_url}/{repository.full_name}.git"

    def served_refs(self, repository: Repository, token: str) -> Refs:
        """Return the refs that the git server serves, asked for once.

        Raises GitHubError, also where the repository has another name now, and ServedRefsError.
        """
        url = f"{self.clone_url(repository)}/info/refs?service=git-upload-pack"
        basic = "Basic " + base64.b64encode(f"x-access-token:{token}".encode()).decode()
        answer = self._send_once("GET", url, lambda: basic, headers=GIT_HEADERS)
        if urlsplit(answer.url).path != urlsplit(url).path:
            raise GitHubError(f"GitHub redirects {urlsplit(url).path} to {answer.url}", answer.status_code)
        return parse_served_refs(answer.headers.get("Content-Type", "no type"), answer.content)

    # -- the wire --------------------------------------------------------------------------------

    def _ask_as_app(self, method: str, url: str, **options: Any) -> requests.Response:
        """Send with the App's JWT; a refusal says what to look at."""
        try:
            return self._send(method, url, self._as_app, **options)
        except GitHubError as error:
            hint = HINTS.get(error.status)
            raise GitHubError(f"{error} ({hint})", error.status) if hint else error from None

    def _as_installation(self, url: str, installation_id: int) -> requests.Response:
        """Get with the installation's token; a rejected one is replaced once."""
        tokens = self.tokens(installation_id)
        token = tokens.token()
        try:
            return self._send("GET", url, lambda: f"Bearer {token}")
        except GitHubError as error:
            if error.status != 401:
                raise
            renewed = tokens.replace(token)
            return self._send("GET", url, lambda: f"Bearer {renewed}")

    def _pages(self, url: str, get: Callable[[str], requests.Response]) -> Iterator[Any]:
        """Yield the JSON of each page, following Link: rel="next" while it stays on GitHub's host and is new."""
        next_url: str | None = url
        seen: set[str] = set()
        while next_url:
            if urlsplit(next_url)[:2] != urlsplit(self._api_url)[:2]:
                raise GitHubError(f"GitHub's next page is on another host than GITHUB_API_URL: {next_url}")
            if next_url in seen or len(seen) >= MOST_PAGES:
                raise GitHubError(f"GitHub's pages do not end: {next_url} comes after {len(seen)} others")
            seen.add(next_url)
            answer = get(next_url)
            yield answer.json()
            next_url = answer.links.get("next", {}).get("url")

    def _send(self, method: str, url: str, authorization: Authorization, **options: Any) -> requests.Response:
        """Send one request, again after a fault that may pass, and return the successful answer."""
        loop = retrying(API_ATTEMPTS, self._stop, self._log_wait)
        try:
            return loop(self._send_once, method, url, authorization, **options)
        except GitHubError as error:
            error.final = True  # it was tried often enough
            raise

    def _send_once(self, method: str, url: str, authorization: Authorization, **options: Any) -> requests.Response:
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
            fault = GitHubError(f"{self._api_url} can't be reached ({what}): {_root_cause(error)}")
            fault.final = False
            raise fault from None
        if answer.status_code >= 300:
            raise _refusal(answer, what)
        if url.startswith(self._api_url):
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
def _as_documented(url: str) -> Iterator[None]:
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
    """Return GitHub's own explanation, with why a repository is blocked or where a redirect leads."""
    if answer.is_redirect:
        return f"redirect to {answer.headers['Location']}"
    try:
        body = answer.json()
        block = body.get("block") or {}
        details = " ".join(str(block[key]) for key in ("reason", "html_url") if block.get(key))
        return f"{body['message']} ({details})" if details else str(body["message"])
    except (ValueError, KeyError, AttributeError, TypeError):
        return answer.text.strip()[:300] or answer.reason or "no explanation"
