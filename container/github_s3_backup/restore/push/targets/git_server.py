"""Any git server as a target. Its repositories must exist, and only git and Git LFS are used."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from structlog.typing import FilteringBoundLogger

from github_s3_backup.git.process import Git, GitError
from github_s3_backup.github import lfs
from github_s3_backup.github.issue_writer import IssueWriter
from github_s3_backup.github.lfs import Operation
from github_s3_backup.github.release_writer import ReleaseWriter
from github_s3_backup.github.transport.rest import Api, GitHubError
from github_s3_backup.records.entry import Entry
from github_s3_backup.repository import WIKI_SUFFIX
from github_s3_backup.restore.errors import PushError
from github_s3_backup.restore.push.actions import Action
from github_s3_backup.restore.push.remote import Remote
from github_s3_backup.restore.push.targets.base import Existing, LfsAnswers
from github_s3_backup.s3.download import OnBytes

T = TypeVar("T")
# What a git server without an LFS server answers.
NO_LFS = (404, 405, 501)


@dataclass(frozen=True)
class GitServer:
    """A git server. `template`: a URL with {owner} and {name}. `token`: one for all owners."""

    template: str
    api: Api
    token: str | None
    git: Git
    log: FilteringBoundLogger

    def url(self, owner: str, name: str) -> str:
        return self.template.replace("{owner}", owner).replace("{name}", name)

    def repository(self, owner: str, entry: Entry) -> "ServerRepository":
        """Return a repository. Raises GitError if there is none: git can't create one."""
        url = self.url(owner, entry.name.removesuffix(WIKI_SUFFIX))
        try:
            return ServerRepository(self, entry, url, Existing(archived=False, default_branch=self.head(url)))
        except GitError as error:
            raise PushError(f"{error} (create the repository on the server first)") from None

    def head(self, url: str) -> str | None:
        """Return the branch that the server's HEAD points to, None if it does not exist yet. Raises GitError."""
        answer = self.git.run("ls-remote", "--quiet", "--symref", "--", url, "HEAD", token=self.token)
        head = re.search(rb"^ref: refs/heads/(.*)\tHEAD$", answer, re.MULTILINE)
        return head[1].decode(errors="replace") if head else None


@dataclass(frozen=True)
class ServerRepository:
    """A repository on a git server."""

    server: GitServer
    entry: Entry
    url: str
    existing: Existing | None
    object_formats: tuple[str, ...] = ("sha1", "sha256")
    releases: ReleaseWriter | None = None
    issues: IssueWriter | None = None

    def with_token(self, request: Callable[[str | None], T]) -> T:
        return request(self.server.token)

    def ask_lfs(self, operation: Operation, objects: Mapping[str, int]) -> LfsAnswers:
        url = self.url.rstrip("/")
        if not url.startswith(("https://", "http://")):
            raise PushError(f"LFS objects can only be sent to an https:// server. {_by_hand(url)}")
        url = url if url.endswith(".git") else f"{url}.git"
        try:
            return lfs.ask(self.server.api, url, self.server.token, operation, objects)
        except GitHubError as error:
            if error.status in NO_LFS:
                raise PushError(f"the server has no Git LFS ({error}). {_by_hand(url)}") from None
            raise

    def how_to_make_wiki(self) -> str:
        return f"create the wiki of {self.url} on the server"

    def check(self) -> None:
        """Do nothing: git does not tell who can read a repository."""

    def before(self, is_empty: bool) -> list[Action]:  # noqa: ARG002
        return []

    def after(self, remote: Remote, is_empty: bool, has_default: bool) -> list[Action]:  # noqa: ARG002
        branch = self.entry.default_branch
        if not has_default or (self.existing and self.existing.default_branch == branch):
            return []
        return [Action((f"check that the default branch is {branch}: git can't set it",), self._check_default)]

    def _check_default(self, _: OnBytes) -> None:
        if self.server.head(self.url) != self.entry.default_branch:
            self.server.log.warning("set the default branch by hand", default_branch=self.entry.default_branch)


def _by_hand(url: str) -> str:
    return f"`fetch --as mirrors` has them, and `git lfs push --all {url}` in the mirror sends them"
