"""Installation tokens: minted as the App, kept fresh, replaced when GitHub rejects one.

https://docs.github.com/en/apps/creating-github-apps/authenticating-with-a-github-app
"""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import TypeVar

import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from structlog.typing import FilteringBoundLogger

from github_s3_backup.github.transport.outage import Outage
from github_s3_backup.github.transport.rest import GitHubError
from github_s3_backup.runtime.retry import RetryableError
from github_s3_backup.runtime.stop import Stop

# GitHub refuses a JWT that lives longer than 10 minutes by its own clock, which may be behind ours.
JWT_BACKDATED, JWT_LIFE = timedelta(seconds=60), timedelta(minutes=9)
# A token lives for one hour. It is refreshed this long before it expires, and used until shortly before.
REFRESH_AHEAD, LAST_USE = timedelta(minutes=5), timedelta(seconds=20)
# After a refresh failed, the old token is used for so long before the next one. Seconds.
REFRESH_PAUSE = 15.0
# For this long after GitHub gave no token, every request for one fails at once. Seconds.
ERROR_REMEMBERED = 60.0
# A backup needs no more, whatever the App was granted.
READ_ONLY = MappingProxyType({"contents": "read", "metadata": "read"})

T = TypeVar("T")


class TokenError(GitHubError):
    """GitHub gives no token. Its answer is about the App, and says nothing about what the token was for."""


@dataclass(frozen=True)
class App:
    """A GitHub App: who it is, and where its GitHub is. URLs without a slash at the end.

    `permissions`: what a token needs. `optional`: what it may do besides, up to `level`, where the installation has
    that permission. `installation_id`: the one that is configured, None for all. `variables`: the prefix of the
    environment variables that configure it.
    """

    id: str
    key: RSAPrivateKey = field(repr=False)
    api_url: str
    server_url: str
    permissions: Mapping[str, str] = field(default_factory=lambda: READ_ONLY)
    optional: frozenset[str] = frozenset()
    level: str = "read"
    variables: str = "GITHUB_APP"
    installation_id: int | None = None

    def authorization(self) -> str:
        """Return the Authorization header of a request as the App."""
        now = datetime.now(UTC)
        claims = {"iat": now - JWT_BACKDATED, "exp": now + JWT_LIFE, "iss": self.id}
        return f"Bearer {jwt.encode(claims, self.key, algorithm='RS256')}"


@dataclass(frozen=True)
class Token:
    """An installation token and when it expires."""

    value: str
    expires_at: datetime

    def is_valid_for(self, time_left: timedelta) -> bool:
        return self.expires_at - datetime.now(UTC) > time_left


class TokenManager:
    """Keeps one installation's token fresh for any number of threads."""

    def __init__(self, mint: Callable[[], Token], stop: Stop, log: FilteringBoundLogger) -> None:
        self._mint, self._stop, self._log = mint, stop, log
        self._lock = threading.Lock()
        self._token: Token | None = None
        self._minted = False
        self._refreshing, self._refresh_at = False, 0.0
        self._error: TokenError | None = None
        self._error_at = 0.0

    def token(self) -> str:
        """Return a valid token, refreshed ahead of its expiry where possible. Raises TokenError."""
        if self._is_to_refresh():
            self._refresh()
        with self._lock:
            if not self._is_usable():
                self._token = self._wait_for_token()
            assert self._token
            return self._token.value

    def with_token(self, request: Callable[[str], T]) -> T:
        """Return what `request` makes of a token; where GitHub rejects it, once more with another one."""
        token = self.token()
        try:
            return request(token)
        except RetryableError as error:
            if not error.unauthorized:
                raise
        return request(self._replace(token))

    def _replace(self, rejected: str) -> str:
        """Return another token than the rejected one, minted once for all threads. Raises TokenError."""
        with self._lock:
            if self._token is None or self._token.value == rejected:
                self._token = None
                self._token = self._wait_for_token()
            return self._token.value

    def _is_usable(self) -> bool:
        return self._token is not None and self._token.is_valid_for(LAST_USE)

    def _is_to_refresh(self) -> bool:
        """Return whether the calling thread is to refresh the token, which all others go on with meanwhile."""
        with self._lock:
            if not self._token or not self._is_usable() or self._token.is_valid_for(REFRESH_AHEAD):
                return False
            if self._refreshing or self._stop.now() < self._refresh_at:
                return False
            self._refreshing = True
            return True

    def _refresh(self) -> None:
        """Mint a new token; where GitHub gives none, go on with the old one, which is valid for some minutes."""
        try:
            token = self._mint()
        except GitHubError as error:
            self._refresh_at = self._stop.now() + REFRESH_PAUSE
            self._log.warning("token not refreshed, using the old one", error=str(error))
        else:
            with self._lock:
                self._token = token
        finally:
            self._refreshing = False

    def _wait_for_token(self) -> Token:
        """Mint a token; where GitHub gave one before and is down now, wait for it. Raises TokenError and Stopped."""
        if self._error and self._stop.now() - self._error_at < ERROR_REMEMBERED:
            raise TokenError(str(self._error), self._error.status)
        outage = Outage(self._stop)
        while True:
            self._stop.check()
            try:
                token = self._mint()
            except GitHubError as error:
                pause = None if error.refused or not self._minted else outage.pause()
                if pause is None:
                    self._error, self._error_at = TokenError(str(error), error.status), self._stop.now()
                    raise self._error from None
                self._log.warning("no token, retrying", seconds=pause, error=str(error))
                self._stop.sleep(pause)
            else:
                self._error, self._minted = None, True
                return token
