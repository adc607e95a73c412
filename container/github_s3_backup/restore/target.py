"""Where repositories are restored to: GitHub, with all that it keeps besides git, or any git server.

https://docs.github.com/en/rest/repos/repos
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from github_s3_backup.git.process import Git, GitError
from github_s3_backup.github.rest import Api, GitHubError, as_documented
from github_s3_backup.manifest import Entry


@dataclass(frozen=True)
class Found:
    """A repository that is at the target already."""

    archived: bool
    default_branch: str | None


class Target(Protocol):
    """What a restore needs of the place that it restores to."""

    object_formats: tuple[str, ...]

    def url(self, owner: str, name: str) -> str: ...
    def token(self, owner: str) -> str | None: ...
    def find(self, owner: str, name: str) -> Found | None: ...
    def prepare(self, owner: str, entry: Entry, found: Found | None, to_fill: bool) -> None: ...
    def preparing(self, owner: str, entry: Entry, found: Found | None, to_fill: bool) -> list[str]: ...
    def finishing(self, entry: Entry, found: Found | None, has_refs: bool) -> list[str]: ...
    def set_default_branch(self, owner: str, entry: Entry, found: Found | None, pushed: bool) -> None: ...
    def set_archived(self, owner: str, entry: Entry, found: Found | None) -> None: ...


class GitServer:
    """Any git server: the repositories must be there, and nothing but git is used.

    `template`: a URL with {owner} and {name}.
    """

    object_formats: tuple[str, ...] = ("sha1", "sha256")

    def __init__(self, template: str, token: str | None, git: Git, warn: Callable[..., Any]) -> None:
        self._template, self._token, self._git, self._warn = template, token, git, warn

    def url(self, owner: str, name: str) -> str:
        return self._template.replace("{owner}", owner).replace("{name}", name)

    def token(self, owner: str) -> str | None:  # noqa: ARG002  (one token for all owners)
        return self._token

    def find(self, owner: str, name: str) -> Found | None:
        """Return the repository. Raises GitError where there is none: this server can't be told to make one."""
        try:
            return Found(archived=False, default_branch=self._head(owner, name))
        except GitError as error:
            raise GitError(f"{error} (make the repository on the server first)") from None

    def prepare(self, owner: str, entry: Entry, found: Found | None, to_fill: bool) -> None:
        """Do nothing: the repository was found."""

    def preparing(self, owner: str, entry: Entry, found: Found | None, to_fill: bool) -> list[str]:  # noqa: ARG002
        return []

    def finishing(self, entry: Entry, found: Found | None, has_refs: bool) -> list[str]:
        if has_refs and entry.sha and found and found.default_branch != entry.default_branch:
            return [f"look whether the default branch is {entry.default_branch}: git can't set it"]
        return []

    def set_default_branch(self, owner: str, entry: Entry, found: Found | None, pushed: bool) -> None:  # noqa: ARG002
        """Say what must be done by hand: git can't tell a server what its HEAD is."""
        if entry.sha and self._head(owner, entry.name) != entry.default_branch:
            self._warn("set the default branch by hand", default_branch=entry.default_branch)

    def set_archived(self, owner: str, entry: Entry, found: Found | None) -> None:
        """Do nothing: git knows no archived repositories."""

    def _head(self, owner: str, name: str) -> str | None:
        """Return the branch that the server's HEAD means, None where it is not there yet. Raises GitError."""
        asked = ("ls-remote", "--quiet", "--symref", "--", self.url(owner, name), "HEAD")
        head = re.match(rb"ref: refs/heads/(.*)\tHEAD$", self._git.run(*asked, token=self._token), re.MULTILINE)
        return head[1].decode(errors="replace") if head else None


class GitHubTarget:
    """GitHub. `token_of` returns a token that may write to an owner's repositories. Every method raises GitHubError."""

    object_formats: tuple[str, ...] = ("sha1",)

    def __init__(self, api: Api, server_url: str, token_of: Callable[[str], str], warn: Callable[..., Any]) -> None:
        self._api, self._server_url, self._token_of, self._warn = api, server_url, token_of, warn

    def url(self, owner: str, name: str) -> str:
        return f"{self._server_url}/{owner}/{name}.git"

    def token(self, owner: str) -> str | None:
        return self._token_of(owner)

    def find(self, owner: str, name: str) -> Found | None:
        try:
            answer = self._send("GET", owner, f"/repos/{owner}/{name}")
        except GitHubError as error:
            if error.status == 404:
                return None
            raise
        with as_documented(f"/repos/{owner}/{name}"):
            if str(answer["full_name"]).lower() != f"{owner}/{name}".lower():
                raise GitHubError(f"{owner}/{name} is called {answer['full_name']} now: choose another place with --to")
            return Found(bool(answer["archived"]), str(answer["default_branch"]))

    def prepare(self, owner: str, entry: Entry, found: Found | None, to_fill: bool) -> None:
        """Make the repository, private and with Actions off: a restore must not publish or deploy anything.

        `to_fill`: it is empty and will get its first push. One that is there may be of a restore that was broken off.
        """
        if found is None:
            self._create(owner, entry.name)
        if found is None or to_fill:
            self._switch_actions_off(owner, entry.name)

    def preparing(self, owner: str, entry: Entry, found: Found | None, to_fill: bool) -> list[str]:
        if found is None:
            private = "private" if entry.private else "private (it was public)"
            return [f"create {owner}/{entry.name}: {private}, Actions off"]
        return ["switch Actions off"] if to_fill else []

    def _create(self, owner: str, name: str) -> None:
        settings = {"name": name, "private": True}
        try:
            self._send("POST", owner, f"/orgs/{owner}/repos", json=settings)
        except GitHubError as error:
            if error.status == 422 and self.find(owner, name):
                return  # made after all by a request whose answer got lost
            if error.status == 403:
                raise GitHubError(f"{error} (making repositories takes Administration: write at {owner})") from None
            if error.status != 404:
                raise
            if not self._is_myself(owner):
                raise GitHubError(f"{error} (is there an organisation {owner} that the token may write to?)") from None
            self._send("POST", owner, "/user/repos", json=settings)

    def _switch_actions_off(self, owner: str, name: str) -> None:
        try:
            self._send("PUT", owner, f"/repos/{owner}/{name}/actions/permissions", json={"enabled": False})
        except GitHubError as error:
            if error.status != 404:
                raise GitHubError(f"{error} (Actions must be off: the first push would run its workflows)") from None
            self._warn("no Actions to switch off", full_name=f"{owner}/{name}", error=str(error))

    def finishing(self, entry: Entry, found: Found | None, has_refs: bool) -> list[str]:
        lines = []
        if has_refs and entry.sha and (found is None or found.default_branch != entry.default_branch):
            lines.append(f"set the default branch to {entry.default_branch}")
        if entry.archived and not (found and found.archived):
            lines.append("archive it")
        return lines

    def set_default_branch(self, owner: str, entry: Entry, found: Found | None, pushed: bool) -> None:
        # GitHub takes what is pushed first for the default, so that what was found before says nothing then.
        # A branch that has no commit could not be the default on the new server, and was of no use on the old one.
        if entry.sha and (pushed or (found and not found.archived and found.default_branch != entry.default_branch)):
            change = {"default_branch": entry.default_branch}
            self._send("PATCH", owner, f"/repos/{owner}/{entry.name}", json=change)

    def set_archived(self, owner: str, entry: Entry, found: Found | None) -> None:
        if entry.archived and not (found and found.archived):
            self._send("PATCH", owner, f"/repos/{owner}/{entry.name}", json={"archived": True})

    def _is_myself(self, owner: str) -> bool:
        try:
            return str(self._send("GET", owner, "/user")["login"]).lower() == owner.lower()
        except GitHubError:  # an App is nobody
            return False

    def _send(self, method: str, owner: str, path: str, **options: Any) -> Any:
        answer = self._api.send(method, f"{self._api.url}{path}", lambda: f"Bearer {self._token_of(owner)}", **options)
        return answer.json() if answer.content else {}
