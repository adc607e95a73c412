"""GitHub as an App sees it: tokens, installations, repositories.

https://docs.github.com/en/apps/creating-github-apps/authenticating-with-a-github-app
"""

import base64
import contextlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import jwt
import requests
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from structlog.typing import FilteringBoundLogger

from redaction import Redactor
from repository import InvalidRepositoryError, Repository, read_repository
from retry import RetryableError, retrying
from stop import Stop
from version import TOOL_VERSION

API_ATTEMPTS = 6
TIMEOUT = (10, 60)  # seconds to connect, seconds between two bytes
PAGE_SIZE = 100
# GitHub refuses a JWT that lives longer than 10 minutes by its own clock, which may be behind ours.
JWT_BACKDATED, JWT_LIFE = timedelta(seconds=60), timedelta(minutes=9)
# A token is replaced this long before it expires. It lives for one hour.
REFRESH_AHEAD = timedelta(minutes=5)
# No more than a backup needs, whatever the App was granted.
PERMISSIONS = {"contents": "read", "metadata": "read"}
# What GitHub asks for where a secondary rate limit comes without a header. Seconds.
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

    def token(self) -> str:
        """Return a token that is good for at least REFRESH_AHEAD."""
        with self._lock:
            if self._token is None or self._token.expires_at - datetime.now(UTC) < REFRESH_AHEAD:
                self._token = self._mint()
            return self._token.value

    def replace(self, rejected: str) -> str:
        """Return another token than the one that GitHub rejected, minted once for all threads."""
        with self._lock:
            if self._token is None or self._token.value == rejected:
                self._token = self._mint()
            return self._token.value


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
            for answer in page:
                account = answer.get("account") or {}
                found.append(Installation(int(answer["id"]), str(account.get("login") or account.get("slug") or "?")))
        return found

    def tokens(self, installation_id: int) -> TokenManager:
        """Return the one TokenManager of an installation."""
        with self._lock:
            manager = TokenManager(lambda: self._mint(installation_id))
            return self._managers.setdefault(installation_id, manager)

    def _mint(self, installation_id: int) -> Token:
        url = f"{self._api_url}/app/installations/{installation_id}/access_tokens"
        answer = self._ask_as_app("POST", url, json={"permissions": PERMISSIONS}).json()
        self._redactor.hide_token(answer["token"])
        return Token(answer["token"], datetime.fromisoformat(answer["expires_at"]))

    # -- its repositories ------------------------------------------------------------------------

    def repositories(self, installation: Installation) -> Listing:
        """Return what the installation can see; looked at twice where GitHub lists fewer than it counts.

        Raises GitHubError.
        """
        listing = self._list(installation)
        if listing.missing:
            self._log.warning("listing is short, looking again", owner=installation.owner, missing=listing.missing)
            listing = min(self._list(installation), listing, key=lambda one: one.missing)
        return listing

    def _list(self, installation: Installation) -> Listing:
        found: dict[object, Repository | InvalidRepositoryError] = {}
        total_count = 0
        url = f"{self._api_url}/installation/repositories?per_page={PAGE_SIZE}"
        for page in self._pages(url, lambda page_url: self._as_installation(page_url, installation.id)):
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

    def wait_for_git(self, repository: Repository) -> None:
        """Ask the git server for the repository's refs, only to wait as long as its answer says."""
        url = f"{self.clone_url(repository)}/info/refs?service=git-upload-pack"
        login = f"x-access-token:{self.tokens(repository.installation_id).token()}"
        basic = "Basic " + base64.b64encode(login.encode()).decode()
        with contextlib.suppress(GitHubError):
            self._send("GET", url, lambda: basic, allow_redirects=False, stream=True).close()

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
        """Yield the JSON of each page, following Link: rel="next" while it stays on GitHub's host."""
        next_url: str | None = url
        while next_url:
            if urlsplit(next_url)[:2] != urlsplit(self._api_url)[:2]:
                raise GitHubError(f"GitHub's next page is on another host than GITHUB_API_URL: {next_url}")
            answer = get(next_url)
            yield answer.json()
            next_url = answer.links.get("next", {}).get("url")

    def _send(self, method: str, url: str, authorization: Authorization, **options: Any) -> requests.Response:
        """Send one request, again after a fault that may pass, and return the successful answer."""
        loop = retrying(API_ATTEMPTS, self._stop, self._log_wait)
        return loop(self._send_once, method, url, authorization, **options)

    def _send_once(self, method: str, url: str, authorization: Authorization, **options: Any) -> requests.Response:
        headers = {
            "Accept": "application/vnd.github+json",
            "Authorization": authorization(),
            "User-Agent": f"terraform-aws-github-backup/{TOOL_VERSION}",
            "X-GitHub-Api-Version": "2022-11-28",
        }
        what = f"{method} {urlsplit(url).path}"
        try:
            answer = self._session.request(method, url, headers=headers, timeout=TIMEOUT, **options)
        except requests.RequestException as error:
            fault = GitHubError(f"{self._api_url} can't be reached ({what}): {_root_cause(error)}")
            fault.final = False
            raise fault from None
        if answer.status_code >= 300:
            raise _refusal(answer, what)
        return answer

    def _log_wait(self, fault: RetryableError, seconds: float, attempt: int) -> None:
        told_by = fault.told_by or "backoff"
        self._log.warning(
            "waiting for GitHub", seconds=round(seconds, 1), told_by=told_by, attempt=attempt, error=str(fault)
        )


def new_session(api_url: str, ca_file: str | None) -> requests.Session:
    """Return a session that takes the machine's proxies, and neither its .netrc nor anything else."""
    session = requests.Session()
    session.proxies = requests.utils.get_environ_proxies(api_url)
    session.trust_env = False
    session.verify = ca_file or True
    return session


def _root_cause(error: BaseException) -> str:
    """Return the innermost reason of a failed request: the outer ones repeat it in Python's words."""
    reason = error
    while (inner := getattr(reason, "reason", None) or (reason.args and reason.args[0])) and isinstance(
        inner, BaseException
    ):
        reason = inner
    return str(reason) or type(reason).__name__


def _refusal(answer: requests.Response, what: str) -> GitHubError:
    wait, told_by = _wait_told(answer)
    asked = f" ({told_by} asks to wait {wait:.0f} s)" if wait is not None else ""
    fault = GitHubError(f"GitHub answered {answer.status_code} to {what}: {_words(answer)}{asked}", answer.status_code)
    fault.wait, fault.told_by = wait, told_by
    fault.final = fault.told_by is None and answer.status_code < 500
    return fault


def _words(answer: requests.Response) -> str:
    """Return GitHub's own explanation, with why a repository is blocked."""
    try:
        body = answer.json()
        block = body.get("block") or {}
        details = " ".join(str(block[key]) for key in ("reason", "html_url") if block.get(key))
        return f"{body['message']} ({details})" if details else str(body["message"])
    except (ValueError, KeyError, AttributeError, TypeError):
        return answer.text.strip()[:300] or answer.reason or "no explanation"


def _wait_told(answer: requests.Response) -> tuple[float | None, str | None]:
    """Return the seconds that GitHub wants us to wait, and what said so; (None, None) if nothing did.

    https://docs.github.com/en/rest/using-the-rest-api/best-practices-for-using-the-rest-api
    """
    now, headers = datetime.now(UTC), answer.headers
    limited = answer.status_code in (403, 429)
    if "Retry-After" in headers and (limited or answer.status_code >= 500):
        return _retry_after(headers["Retry-After"], now), "Retry-After"
    if limited and headers.get("x-ratelimit-remaining") == "0" and headers.get("x-ratelimit-reset", "").isdigit():
        return max(0.0, int(headers["x-ratelimit-reset"]) - now.timestamp()) + 1, "x-ratelimit-reset"
    if answer.status_code == 429 or (limited and "rate limit" in _words(answer).lower()):
        return SECONDARY_LIMIT_WAIT, "GitHub's documentation"
    return None, None


def _retry_after(value: str, now: datetime) -> float:
    if value.strip().isdigit():
        return float(value)
    try:
        return max(0.0, (parsedate_to_datetime(value) - now).total_seconds())
    except (ValueError, TypeError):
        return SECONDARY_LIMIT_WAIT
