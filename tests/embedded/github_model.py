"""What the embedded GitHub knows: repositories, Apps and their installations, tokens."""

import functools
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from embedded.github_issues import FakeIssues
from embedded.github_lfs import LfsStore
from embedded.github_releases import FakeRelease

READ = {"contents": "read", "metadata": "read"}
# What an App may read in order to back up what people wrote.
ISSUES = {"issues": "read", "pull_requests": "read", "discussions": "read"}
RESTORE = {
    **{"contents": "write", "administration": "write", "workflows": "write", "metadata": "read"},
    **{"issues": "write", "pull_requests": "write"},
}
LEVELS = ("none", "read", "write", "admin")


@dataclass
class FakeRepository:
    """A repository as GitHub knows it; `path` is the git directory that is served."""

    id: int
    owner: str
    name: str
    path: Path
    private: bool = True
    archived: bool = False
    fork: bool = False
    default_branch: str = "main"
    size_kb: int = 1
    gone: bool = False
    # 451 is a takedown by law, 403 by GitHub's staff.
    blocked: int | None = None
    old_name: str | None = None
    # Counted, and left out of listings.
    unlisted: bool = False
    owner_type: str = "Organization"
    # May be pushed to and changed: its path is nobody else's.
    writable: bool = False
    actions_enabled: bool = True
    settings: dict[str, Any] = field(default_factory=dict)
    # The git directory of its wiki, where one has been written.
    wiki: Path | None = None
    # What GitHub says of it; None: that it has one where `wiki` is set.
    has_wiki: bool | None = None
    lfs: LfsStore = field(default_factory=LfsStore)
    # In the order in which GitHub lists them.
    releases: list[FakeRelease] = field(default_factory=list)
    issues: FakeIssues = field(default_factory=FakeIssues)
    # What the REST API tells of its settings, by path below the repository (github_settings.py).
    parts: dict[str, Any] = field(default_factory=dict)

    @property
    def full_name(self) -> str:
        return f"{self.owner}/{self.name}"

    @property
    def wiki_is_on(self) -> bool:
        said = self.wiki is not None if self.has_wiki is None else self.has_wiki
        return bool(self.settings.get("has_wiki", said))


@functools.cache
def _app_key(_: str) -> rsa.RSAPrivateKey:
    """Return an App's key: one a process, it takes a while to make."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@dataclass(frozen=True)
class FakeApp:
    """A GitHub App and the permissions that it was granted."""

    id: str
    slug: str
    permissions: dict[str, str]

    @property
    def key(self) -> rsa.RSAPrivateKey:
        return _app_key(self.id)

    def pem(self, style: serialization.PrivateFormat = serialization.PrivateFormat.TraditionalOpenSSL) -> str:
        """Return the App's private key: PKCS#1 as GitHub gives it, or PKCS#8."""
        return self.key.private_bytes(serialization.Encoding.PEM, style, serialization.NoEncryption()).decode()


@dataclass
class FakeInstallation:
    """One installation of an App: the repositories of one owner."""

    id: int
    owner: str
    app: FakeApp
    suspended: bool = False
    removed: bool = False
    # Added to the true count in every listing, or in the first one only.
    miscount: int = 0
    miscount_once: bool = False


@dataclass(frozen=True)
class Token:
    """An installation's token, or a person's with `owners` (in lower case) and no installation."""

    login: str
    installation: int | None
    expires_at: datetime
    permissions: dict[str, str]
    owners: frozenset[str] = frozenset()

    def may(self, what: str, level: str) -> bool:
        return covers(self.permissions, what, level)


def covers(permissions: dict[str, str], what: str, level: str) -> bool:
    """Return whether permissions reach a level of one of them."""
    return LEVELS.index(permissions.get(what, "none")) >= LEVELS.index(level)
