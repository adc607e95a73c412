"""GitHub as the App itself asks it: its installations, and each one's token and budget."""

import contextlib
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import requests

from github_s3_backup.github.points import Points
from github_s3_backup.github.tokens import App, Token, TokenManager
from github_s3_backup.github.transport.limiter import Budget, Limiter
from github_s3_backup.github.transport.rest import Api, GitHubError, as_documented
from github_s3_backup.runtime.redaction import Redactor, printable

PAGE_SIZE = 100
# A token of such an installation is for the enterprise's settings. GitHub gives none for repositories.
ENTERPRISE = "Enterprise"
WHOLE_BUDGET = Budget()
# What GitHub answers where a token is to have a permission that the installation has not.
NOT_GRANTED = 422
# Why GitHub may refuse a request of the App itself, by status.
HINTS = {
    401: "check {variables}_ID, that the private key belongs to that App, and this machine's clock",
    403: "see the App's installation in the organization's settings",
    404: "check {variables}_ID and {variables}_INSTALLATION_ID: was the App uninstalled?",
    422: "grant the App these permissions, and accept the change in the organization: {permissions}",
}


@dataclass(frozen=True)
class Installation:
    """One account in which the App is installed. `owner` is '?' where GitHub was not asked for it."""

    id: int
    owner: str


@dataclass(frozen=True)
class Access:
    """How to ask for one installation's repositories: with its token, within its budget.

    `points`: of GraphQL. `granted`: asks which of the App's optional permissions the installation has; raises
    GitHubError.
    """

    tokens: TokenManager
    limiter: Limiter
    api: Api
    points: Points
    granted: Callable[[], frozenset[str]]

    def get(self, url: str, *, once: bool = False, **options: Any) -> requests.Response:
        """Get with the installation's token. `once`: without retries. Raises GitHubError."""
        send = self.api.send_once if once else self.api.send
        return self.tokens.with_token(lambda token: send("GET", url, lambda: f"Bearer {token}", **options))


class Installations:
    """The App's installations. `budget`: the part of each one's requests that this task may send."""

    def __init__(self, app: App, api: Api, redactor: Redactor, budget: Budget = WHOLE_BUDGET) -> None:
        self.app, self.api = app, api
        self._redactor, self._budget = redactor, budget
        self._access: dict[int, Access] = {}
        self._granted: dict[int, frozenset[str]] = {}
        self._lock = threading.Lock()

    def all(self) -> list[Installation]:
        """Return every installation of the App, or the one that is configured. Raises GitHubError.

        That of an enterprise is left out: the repositories belong to its organizations.
        """
        if self.app.installation_id:
            return [Installation(self.app.installation_id, "?")]
        installations = []
        url = f"{self.api.url}/app/installations?per_page={PAGE_SIZE}"
        for page in self.api.pages(url, lambda page_url: self._send("GET", page_url)):
            with as_documented(url):
                for answer in page:
                    account = answer.get("account") or {}
                    owner = printable(str(account.get("login") or account.get("slug") or "?"))
                    if answer.get("target_type") == ENTERPRISE:
                        self.api.log.info("skipped, an enterprise has no repositories of its own", owner=owner)
                        continue
                    self._granted[int(answer["id"])] = self._readable(answer)
                    installations.append(Installation(int(answer["id"]), owner))
        return installations

    def access(self, installation_id: int) -> Access:
        """Return the one way to ask for an installation's repositories."""
        with self._lock:
            if installation_id not in self._access:
                tokens = TokenManager(lambda: self._mint(installation_id), self.api.stop, self.api.log)
                limiter = Limiter(self._budget, self.app.api_url, self.api.stop)
                self._access[installation_id] = Access(
                    tokens, limiter, self.api.within(limiter), Points(), lambda: self._optional(installation_id)
                )
            return self._access[installation_id]

    def _optional(self, installation_id: int) -> frozenset[str]:
        """Return the optional permissions that an installation has. Raises GitHubError where GitHub can't be asked."""
        if self.app.optional and installation_id not in self._granted:
            url = f"{self.api.url}/app/installations/{installation_id}"
            try:
                answer = self.api.send("GET", url, self.app.authorization).json()
            except GitHubError as error:
                if not error.refused:
                    raise
                self.api.log.warning("GitHub does not tell the App's permissions", error=str(error))
                answer = {}
            with as_documented(url):
                self._granted[installation_id] = self._readable(answer)
        return self._granted.get(installation_id, frozenset())

    def _readable(self, answer: dict[str, Any]) -> frozenset[str]:
        """Return which optional permissions an installation has, and log which it has not."""
        enough = (self.app.level, "write", "admin")
        granted = self.app.optional & {
            name for name, said in (answer.get("permissions") or {}).items() if said in enough
        }
        if missing := self.app.optional - granted:
            owner = printable(str((answer.get("account") or {}).get("login") or "?"))
            self.api.log.warning("App has not all permissions", owner=owner, missing=sorted(missing))
        return granted

    def _mint(self, installation_id: int) -> Token:
        url = f"{self.api.url}/app/installations/{installation_id}/access_tokens"
        optional: frozenset[str] = frozenset()
        with contextlib.suppress(GitHubError):  # without them, the token is as good for all else
            optional = self._optional(installation_id)
        answer = self._ask_for_token(url, installation_id, optional).json()
        with as_documented(url):
            expires_at = datetime.fromisoformat(answer["expires_at"])
            token = Token(str(answer["token"]), expires_at if expires_at.tzinfo else expires_at.replace(tzinfo=UTC))
        self._redactor.hide_token(token.value, token.expires_at)
        return token

    def _ask_for_token(self, url: str, installation_id: int, optional: frozenset[str]) -> requests.Response:
        """Ask for a token; where an optional permission was taken away a moment ago, for one without them."""
        wanted = {**dict.fromkeys(sorted(optional), self.app.level), **self.app.permissions}
        try:
            return self._send("POST", url, json={"permissions": wanted})
        except GitHubError as error:
            if error.status != NOT_GRANTED or not optional:
                raise
            self.api.log.warning("App has not all permissions", error=str(error), missing=sorted(optional))
            self._granted[installation_id] = frozenset()
            return self._send("POST", url, json={"permissions": dict(self.app.permissions)})

    def _send(self, method: str, url: str, **options: Any) -> requests.Response:
        """Send with the App's JWT; a refusal says what to check."""
        try:
            return self.api.send(method, url, self.app.authorization, **options)
        except GitHubError as error:
            if not error.refused or error.status not in HINTS:
                raise
            wanted = ", ".join(f"{name}: {level}" for name, level in self.app.permissions.items())
            hint = HINTS[error.status].format(variables=self.app.variables, permissions=wanted)
            raise GitHubError(f"{error} ({hint})", error.status) from None
