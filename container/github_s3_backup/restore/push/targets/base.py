"""Where a repository is pushed to, whatever the server: GitHub (`github.py`), or any git server (`git_server.py`)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol, TypeVar

from github_s3_backup.github.issue_writer import IssueWriter
from github_s3_backup.github.lfs import LfsAnswer, Operation
from github_s3_backup.github.release_writer import ReleaseWriter
from github_s3_backup.records.entry import Entry
from github_s3_backup.restore.errors import PushError
from github_s3_backup.restore.push.actions import Action
from github_s3_backup.restore.push.remote import Remote

T = TypeVar("T")
LfsAnswers = dict[str, LfsAnswer]
# From the fewest readers to the most.
VISIBILITIES = ("private", "internal", "public")
Visibility = Literal["private", "internal", "public"]


@dataclass(frozen=True)
class Existing:
    """A repository that the target already has. `visibility`, `id`: None where the server does not tell."""

    archived: bool
    default_branch: str | None
    visibility: Visibility | None = None
    id: int | None = None


class TargetRepository(Protocol):
    """One repository of the target. `existing`: None if there is none yet. `releases`, `issues`: None without any."""

    @property
    def url(self) -> str: ...
    @property
    def existing(self) -> Existing | None: ...
    @property
    def releases(self) -> ReleaseWriter | None: ...
    @property
    def issues(self) -> IssueWriter | None: ...
    @property
    def object_formats(self) -> tuple[str, ...]: ...

    def with_token(self, request: Callable[[str | None], T]) -> T:
        """Return what `request` gets with a token."""

    def ask_lfs(self, operation: Operation, objects: Mapping[str, int]) -> LfsAnswers:
        """Ask the repository's LFS server. Raises GitHubError, and PushError if there is none."""

    def how_to_make_wiki(self) -> str:
        """Return what somebody has to do before a wiki can be pushed."""

    def check(self) -> None:
        """Raise PushError where more people can read the repository now than could read what is pushed."""

    def before(self, is_empty: bool) -> list[Action]:
        """Return what is done before a repository changes. `is_empty`: it has no refs yet."""

    def after(self, remote: Remote, is_empty: bool, has_default: bool) -> list[Action]:
        """Return what is done once the refs are there. `has_default`: the default branch has commits."""


class Target(Protocol):
    """A server that takes repositories."""

    def url(self, owner: str, name: str) -> str:
        """Return the URL of a repository."""

    def repository(self, owner: str, entry: Entry) -> TargetRepository:
        """Return the place of a repository, or of the one that a wiki belongs to. Raises GitHubError and GitError."""


def check_visibility(entry: Entry, existing: Existing | None, url: str, allowed: bool) -> None:
    """Raise PushError where a repository would get more readers than it had, unless that is allowed by name."""
    if allowed or existing is None or existing.visibility is None:
        return
    was = visibility_of(entry)
    if VISIBILITIES.index(existing.visibility) > VISIBILITIES.index(was):
        raise PushError(
            f"{entry.full_name} was {was} and {url} is {existing.visibility}: make the target {was} first, or allow "
            f"it with --allow-more-readers {entry.full_name}"
        )


def visibility_of(entry: Entry) -> Visibility:
    """Return who could read a repository when it was backed up."""
    if not entry.private:
        return "public"
    return "internal" if entry.settings and entry.settings.visibility == "internal" else "private"
