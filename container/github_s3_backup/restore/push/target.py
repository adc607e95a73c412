"""Where repositories are pushed to: GitHub, with the settings it keeps besides git, or any git server.

https://docs.github.com/en/rest/repos/repos
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import requests
from structlog.typing import FilteringBoundLogger

from github_s3_backup.git.process import Git, GitError
from github_s3_backup.github import lfs
from github_s3_backup.github.lfs import LfsAnswer, Operation
from github_s3_backup.github.release_writer import ReleaseWriter
from github_s3_backup.github.rest import Api, GitHubError, as_documented
from github_s3_backup.records.manifest import Entry
from github_s3_backup.restore.errors import PushError
from github_s3_backup.restore.push.credentials import Credentials
from github_s3_backup.runtime.stop import Stop

T = TypeVar("T")
LfsAnswers = dict[str, LfsAnswer]
# What a git server answers that has no LFS server beside it.
NO_LFS = (404, 405, 501)


@dataclass(frozen=True)
class Existing:
    """A repository that the target already has."""

    archived: bool
    default_branch: str | None


class Target(Protocol):
    """What a push needs from its target.

    `is_first`: the repository is empty and gets its first refs. `has_default`: its default branch has commits.
    """

    object_formats: tuple[str, ...]
    # None where releases can't be restored.
    releases: ReleaseWriter | None

    def url(self, owner: str, name: str) -> str: ...
    def ask_lfs(self, owner: str, name: str, operation: Operation, objects: Mapping[str, int]) -> LfsAnswers: ...
    def how_to_make_wiki(self, owner: str, name: str) -> str: ...
    def with_token(self, owner: str, request: Callable[[str | None], T]) -> T: ...
    def find(self, owner: str, name: str) -> Existing | None: ...
    def prepare(self, owner: str, entry: Entry, existing: Existing | None, is_first: bool) -> None: ...
    def set_default_branch(self, owner: str, entry: Entry, existing: Existing | None, pushed: bool) -> None: ...
    def set_archived(self, owner: str, entry: Entry, existing: Existing | None) -> None: ...
    def describe_preparation(
        self, owner: str, entry: Entry, existing: Existing | None, is_first: bool
    ) -> list[str]: ...
    def describe_completion(self, entry: Entry, existing: Existing | None, has_default: bool) -> list[str]: ...


class GitServer:
    """Any git server. The repositories must exist, and only git is used. `template`: a URL with {owner} and {name}."""

    object_formats: tuple[str, ...] = ("sha1", "sha256")
    releases: ReleaseWriter | None = None

    def __init__(self, template: str, api: Api, token: str | None, git: Git, log: FilteringBoundLogger) -> None:
        self._template, self._api, self._token, self._git, self._log = template, api, token, git, log

    def url(self, owner: str, name: str) -> str:
        return self._template.replace("{owner}", owner).replace("{name}", name)

    def with_token(self, owner: str, request: Callable[[str | None], T]) -> T:  # noqa: ARG002  (one token for all owners)
        return request(self._token)

    def ask_lfs(self, owner: str, name: str, operation: Operation, objects: Mapping[str, int]) -> LfsAnswers:
        """Ask the LFS server that is beside the repository. Raises GitHubError, and PushError if there is none."""
        url = self.url(owner, name).rstrip("/")
        if not url.startswith(("https://", "http://")):
            raise PushError(f"LFS objects can only be sent to an https:// server. {_by_hand(url)}")
        url = url if url.endswith(".git") else f"{url}.git"
        try:
            return lfs.ask(self._api, url, self._token, operation, objects)
        except GitHubError as error:
            if error.status in NO_LFS:
                raise PushError(f"the server has no Git LFS ({error}). {_by_hand(url)}") from None
            raise

    def how_to_make_wiki(self, owner: str, name: str) -> str:
        return f"create the wiki of {self.url(owner, name)} on the server"

    def find(self, owner: str, name: str) -> Existing | None:
        """Return the repository. Raises GitError if there is none: git can't create one."""
        try:
            return Existing(archived=False, default_branch=self._head(owner, name))
        except GitError as error:
            raise GitError(f"{error} (create the repository on the server first)") from None

    def prepare(self, owner: str, entry: Entry, existing: Existing | None, is_first: bool) -> None:
        """Do nothing: the repository exists."""

    def set_default_branch(self, owner: str, entry: Entry, existing: Existing | None, pushed: bool) -> None:  # noqa: ARG002
        """Log what must be done by hand: git can't change a server's HEAD."""
        if self._head(owner, entry.name) != entry.default_branch:
            self._log.warning("set the default branch by hand", default_branch=entry.default_branch)

    def set_archived(self, owner: str, entry: Entry, existing: Existing | None) -> None:
        """Do nothing: git has no archived repositories."""

    def describe_preparation(self, owner: str, entry: Entry, existing: Existing | None, is_first: bool) -> list[str]:  # noqa: ARG002
        return []

    def describe_completion(self, entry: Entry, existing: Existing | None, has_default: bool) -> list[str]:
        if has_default and existing and existing.default_branch != entry.default_branch:
            return [f"check that the default branch is {entry.default_branch}: git can't set it"]
        return []

    def _head(self, owner: str, name: str) -> str | None:
        """Return the branch that the server's HEAD points to, None if it does not exist yet. Raises GitError."""
        arguments = ("ls-remote", "--quiet", "--symref", "--", self.url(owner, name), "HEAD")
        answer = self._git.run(*arguments, token=self._token)
        head = re.match(rb"ref: refs/heads/(.*)\tHEAD$", answer, re.MULTILINE)
        return head[1].decode(errors="replace") if head else None


class GitHubTarget:
    """GitHub. Every method raises GitHubError."""

    object_formats: tuple[str, ...] = ("sha1",)

    def __init__(
        self, api: Api, server_url: str, credentials: Credentials, stop: Stop, log: FilteringBoundLogger
    ) -> None:
        self._api, self._server_url, self._credentials, self._log = api, server_url, credentials, log
        self.releases: ReleaseWriter | None = ReleaseWriter(api, credentials.with_token, stop, log)

    def url(self, owner: str, name: str) -> str:
        return f"{self._server_url}/{owner}/{name}.git"

    def with_token(self, owner: str, request: Callable[[str | None], T]) -> T:
        return self._credentials.with_token(owner, request)

    def ask_lfs(self, owner: str, name: str, operation: Operation, objects: Mapping[str, int]) -> LfsAnswers:
        url = self.url(owner, name)
        return self.with_token(owner, lambda token: lfs.ask(self._api, url, token, operation, objects))

    def how_to_make_wiki(self, owner: str, name: str) -> str:
        return f"create the first page at {self._server_url}/{owner}/{name}/wiki"

    def find(self, owner: str, name: str) -> Existing | None:
        path = f"/repos/{owner}/{name}"
        try:
            answer = self._send("GET", owner, path)
        except GitHubError as error:
            if error.status == 404:
                return None
            raise
        with as_documented(path):
            if str(answer["full_name"]).lower() != f"{owner}/{name}".lower():
                raise GitHubError(f"{owner}/{name} is now called {answer['full_name']}: push elsewhere with --to")
            return Existing(bool(answer["archived"]), str(answer["default_branch"]))

    def prepare(self, owner: str, entry: Entry, existing: Existing | None, is_first: bool) -> None:
        """Create the repository, private and with Actions off: a restore must not publish or deploy anything.

        An empty one may come from an interrupted restore: its Actions are switched off too.
        """
        if existing is None:
            self._create(owner, entry.name)
        if existing is None or is_first:
            self._switch_actions_off(owner, entry.name)

    def set_default_branch(self, owner: str, entry: Entry, existing: Existing | None, pushed: bool) -> None:
        # A push may have changed the default branch: GitHub picks the first branch it gets.
        changed = existing and not existing.archived and existing.default_branch != entry.default_branch
        if pushed or changed:
            change = {"default_branch": entry.default_branch}
            self._send("PATCH", owner, f"/repos/{owner}/{entry.name}", json=change)

    def set_archived(self, owner: str, entry: Entry, existing: Existing | None) -> None:
        if entry.archived and not (existing and existing.archived):
            self._send("PATCH", owner, f"/repos/{owner}/{entry.name}", json={"archived": True})

    def describe_preparation(self, owner: str, entry: Entry, existing: Existing | None, is_first: bool) -> list[str]:
        if existing is None:
            private = "private" if entry.private else "private (it was public)"
            return [f"create {owner}/{entry.name}: {private}, Actions off"]
        return ["switch Actions off"] if is_first else []

    def describe_completion(self, entry: Entry, existing: Existing | None, has_default: bool) -> list[str]:
        lines = []
        if has_default and (existing is None or existing.default_branch != entry.default_branch):
            lines.append(f"set the default branch to {entry.default_branch}")
        if entry.archived and not (existing and existing.archived):
            lines.append("archive it")
        return lines

    def _create(self, owner: str, name: str) -> None:
        settings = {"name": name, "private": True}
        try:
            self._send("POST", owner, f"/orgs/{owner}/repos", json=settings)
        except GitHubError as error:
            if error.status == 422 and self.find(owner, name):
                return  # created after all, by a request whose answer was lost
            if error.status == 403:
                raise GitHubError(f"{error} (creating repositories needs Administration: write at {owner})") from None
            if error.status != 404:
                raise
            if not self._is_myself(owner):
                raise GitHubError(f"{error} (is there an organization {owner} that the token may write to?)") from None
            self._send("POST", owner, "/user/repos", json=settings)

    def _switch_actions_off(self, owner: str, name: str) -> None:
        try:
            self._send("PUT", owner, f"/repos/{owner}/{name}/actions/permissions", json={"enabled": False})
        except GitHubError as error:
            if error.status != 404:
                raise GitHubError(f"{error} (Actions must be off: the first push would run its workflows)") from None
            self._log.warning("no Actions to turn off", full_name=f"{owner}/{name}", error=str(error))

    def _is_myself(self, owner: str) -> bool:
        try:
            return str(self._send("GET", owner, "/user")["login"]).lower() == owner.lower()
        except GitHubError:  # an App has no user
            return False

    def _send(self, method: str, owner: str, path: str, **options: Any) -> Any:
        def request(token: str) -> requests.Response:
            return self._api.send(method, f"{self._api.url}{path}", lambda: f"Bearer {token}", **options)

        answer = self._credentials.with_token(owner, request)
        return answer.json() if answer.content else {}


def _by_hand(url: str) -> str:
    return f"`fetch --as mirrors` has them, and `git lfs push --all {url}` in the mirror sends them"
