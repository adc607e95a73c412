"""GitHub as an App sees it: tokens, installations, repositories.

https://docs.github.com/en/apps/creating-github-apps/authenticating-with-a-github-app
"""

import base64
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

import jwt
import requests
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from structlog.typing import FilteringBoundLogger

from github_s3_backup.git.process import Refs
from github_s3_backup.git.served_refs import parse_served_refs
from github_s3_backup.github.rest import Api, GitHubError, as_documented
from github_s3_backup.redaction import Redactor, printable
from github_s3_backup.repository import InvalidRepositoryError, Repository, read_repository
from github_s3_backup.stop import Stop
from github_s3_backup.version import TOOL_VERSION

PAGE_SIZE = 100
# GitHub refuses a JWT that lives longer than 10 minutes by its own clock, which may be behind ours.
JWT_BACKDATED, JWT_LIFE = timedelta(seconds=60), timedelta(minutes=9)
# A token is replaced this long before it expires. It lives for one hour.
REFRESH_AHEAD = timedelta(minutes=5)
# After a token could not be had, so long nobody asks again. Seconds.
MINT_PAUSE = 60.0
# GitHub's git server answers only what calls itself git. https://github.com/jelmer/dulwich/issues/562
# Like git's own request, it is for no cache on the way to answer: old refs would pass for unchanged ones.
GIT_HEADERS = {
    "User-Agent": f"git/terraform-aws-github-backup/{TOOL_VERSION}",
    "Accept": "*/*",
    "Pragma": "no-cache",
}
# No more than a backup needs, whatever the App was granted.
READ_ONLY = MappingProxyType({"contents": "read", "metadata": "read"})
# What a refusal of the App's own requests comes from, by its status.
HINTS = {
    401: "check {variables}_ID, that the private key belongs to that App, and this machine's clock",
    403: "see the App's installation in the organisation's settings",
    404: "check {variables}_ID and {variables}_INSTALLATION_ID: was the App uninstalled?",
    422: "grant the App these permissions, and accept the change in the organisation: {permissions}",
}


class RepositoryGoneError(Exception):
    """The repository was listed, and a second look by its id finds nothing."""


class TokenError(GitHubError):
    """GitHub gives no token: its answer is about the App, and says nothing of what the token was for."""


@dataclass(frozen=True)
class App:
    """A GitHub App: who it is, and where its GitHub is. URLs without a slash at the end.

    `variables`: how the names of the variables begin that it was configured with.
    """

    id: str
    key: RSAPrivateKey = field(repr=False)
    api_url: str
    server_url: str
    permissions: Mapping[str, str] = field(default_factory=lambda: READ_ONLY)
    variables: str = "GITHUB_APP"


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
        """Return a token that is good for at least REFRESH_AHEAD. Raises TokenError."""
        with self._lock:
            if self._token is None or self._token.expires_at - datetime.now(UTC) < REFRESH_AHEAD:
                self._renew()
            assert self._token
            return self._token.value

    def replace(self, rejected: str) -> str:
        """Return another token than the one that GitHub rejected, minted once for all threads. Raises TokenError."""
        with self._lock:
            if self._token is None or self._token.value == rejected:
                self._renew()
            assert self._token
            return self._token.value

    def _renew(self) -> None:
        # A mint that failed was tried many times already: those who waited for it don't all try as often again.
        if self._failure and time.monotonic() - self._failure[0] < MINT_PAUSE:
            raise TokenError(str(self._failure[1]), self._failure[1].status)
        try:
            self._token, self._failure = self._mint(), None
        except GitHubError as error:
            self._failure = (time.monotonic(), error)
            raise TokenError(str(error), error.status) from None


class GitHub:
    """The App's view of GitHub's REST API."""

    def __init__(
        self, app: App, session: requests.Session, redactor: Redactor, stop: Stop, log: FilteringBoundLogger
    ) -> None:
        self._app, self._redactor, self._log = app, redactor, log
        self._api = Api(app.api_url, session, stop, log)
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
        url = f"{self._api.url}/app/installations?per_page={PAGE_SIZE}"
        for page in self._api.pages(url, lambda page_url: self._ask_as_app("GET", page_url)):
            with as_documented(url):
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
        url = f"{self._api.url}/app/installations/{installation_id}/access_tokens"
        answer = self._ask_as_app("POST", url, json={"permissions": dict(self._app.permissions)}).json()
        with as_documented(url):
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
        url = f"{self._api.url}/installation/repositories?per_page={PAGE_SIZE}"
        for page in self._api.pages(url, lambda page_url: self._as_installation(page_url, installation.id)):
            with as_documented(url):
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
        url = f"{self._api.url}/repositories/{repository.id}"
        try:
            answer = self._as_installation(url, repository.installation_id)
        except TokenError:
            raise
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

    def served_refs(self, repository: Repository, token: str, *, once: bool = False) -> Refs:
        """Return the refs that the git server serves. `once`: the caller tries again by itself.

        Raises GitHubError, also where the repository has another name now, and ServedRefsError.
        """
        send = self._api.send_once if once else self._api.send
        url = f"{self.clone_url(repository)}/info/refs?service=git-upload-pack"
        basic = "Basic " + base64.b64encode(f"x-access-token:{token}".encode()).decode()
        answer = send("GET", url, lambda: basic, headers=GIT_HEADERS)
        if urlsplit(answer.url).path != urlsplit(url).path:
            raise GitHubError(f"GitHub redirects {urlsplit(url).path} to {answer.url}", answer.status_code)
        return parse_served_refs(answer.headers.get("Content-Type", "no type"), answer.content)

    # -- authorization -----------------------------------------------------------------------------

    def _ask_as_app(self, method: str, url: str, **options: Any) -> requests.Response:
        """Send with the App's JWT; a refusal says what to look at."""
        try:
            return self._api.send(method, url, self._as_app, **options)
        except GitHubError as error:
            if error.status not in HINTS:
                raise
            wanted = ", ".join(f"{name}: {level}" for name, level in self._app.permissions.items())
            hint = HINTS[error.status].format(variables=self._app.variables, permissions=wanted)
            raise GitHubError(f"{error} ({hint})", error.status) from None

    def _as_installation(self, url: str, installation_id: int) -> requests.Response:
        """Get with the installation's token; a rejected one is replaced once."""
        tokens = self.tokens(installation_id)
        token = tokens.token()
        try:
            return self._api.send("GET", url, lambda: f"Bearer {token}")
        except GitHubError as error:
            if error.status != 401:
                raise
            renewed = tokens.replace(token)
            return self._api.send("GET", url, lambda: f"Bearer {renewed}")
