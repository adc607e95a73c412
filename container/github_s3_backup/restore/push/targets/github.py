"""GitHub as a target: repositories are made there, private and with Actions off, and get their settings back.

https://docs.github.com/en/rest/repos/repos and https://docs.github.com/en/rest/actions/permissions
"""

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import msgspec
import requests
from structlog.typing import FilteringBoundLogger

from github_s3_backup.github import lfs
from github_s3_backup.github.issue_writer import IssueWriter
from github_s3_backup.github.lfs import Operation
from github_s3_backup.github.release_writer import ReleaseWriter
from github_s3_backup.github.transport.rest import Api, GitHubError, as_documented
from github_s3_backup.records.entry import Entry
from github_s3_backup.repository import WIKI_SUFFIX, Settings
from github_s3_backup.repository_filter import matches_any
from github_s3_backup.restore.by_hand import ByHand
from github_s3_backup.restore.errors import PushError
from github_s3_backup.restore.push.actions import Action
from github_s3_backup.restore.push.remote import Remote
from github_s3_backup.restore.push.targets.base import (
    VISIBILITIES,
    Existing,
    LfsAnswers,
    Visibility,
    check_visibility,
    visibility_of,
)
from github_s3_backup.restore.push.targets.credentials import Credentials
from github_s3_backup.runtime.stop import Stop
from github_s3_backup.s3.download import OnBytes

T = TypeVar("T")
# What a classic token needs: without workflow, GitHub refuses a push that brings .github/workflows.
CLASSIC_SCOPES = ("repo", "workflow")


@dataclass(frozen=True)
class GitHubTarget:
    """GitHub, with the credentials of a restore. `more_readers`: what more people may be able to read afterwards."""

    api: Api
    server_url: str
    credentials: Credentials
    more_readers: list[str]
    by_hand: ByHand
    stop: Stop
    log: FilteringBoundLogger

    def url(self, owner: str, name: str) -> str:
        return f"{self.server_url}/{owner}/{name}.git"

    def check_owners(self, owners: Iterable[str]) -> None:
        """Log which owners can't be pushed to, and why; raise GitHubError if there is no other.

        The token is wrong, the owners don't exist, or it may not make repositories there.
        """
        problems = {owner: problem for owner in sorted(set(owners)) if (problem := self._problem(owner))}
        if problems and len(problems) == len(set(owners)):
            raise next(iter(problems.values()))
        for owner, problem in problems.items():
            self.log.error("target can't be used", owner=owner, error=str(problem))

    def _problem(self, owner: str) -> GitHubError | None:
        try:
            answer = self.send(owner, "GET", f"/users/{owner}")
        except GitHubError as error:
            missing = f"there is no owner {owner} to push to: create it, or name another one with --to ({error})"
            return GitHubError(missing, 404) if error.status == 404 else error
        kind = str(answer.json().get("type"))
        about = {"requests_left": left} if (left := answer.headers.get("x-ratelimit-remaining")) else {}
        holder = self._holder(owner)
        self.log.info("target found", owner=owner, kind=kind, **about, **holder)
        if lacking := _missing_scopes(holder):
            words = f"the token has the scopes {holder['scopes']}: it needs {' and '.join(lacking)} too"
            return GitHubError(words, 403)
        if kind == "Organization":
            return self._creation_problem(owner, f"/orgs/{owner}/repos")
        if holder.get("token_of", "").lower() != owner.lower():
            words = f"{owner} is a person, and only a token of {owner} can create repositories there"
            return GitHubError(words, 403)
        return self._creation_problem(owner, "/user/repos")

    def _holder(self, owner: str) -> dict[str, str]:
        """Return whose token it is, and its scopes where it has some; nothing of an App's token."""
        try:
            answer = self.send(owner, "GET", "/user")
        except GitHubError:  # an App has no user
            return {}
        scopes = answer.headers.get("x-oauth-scopes")
        return {"token_of": str(answer.json().get("login"))} | ({"scopes": scopes} if scopes else {})

    def _creation_problem(self, owner: str, path: str) -> GitHubError | None:
        """Return why the token may not make repositories. It is asked to make one without a name, which makes none."""
        try:
            self.send(owner, "POST", path, json={})
        except GitHubError as error:
            if error.status in (403, 404):
                wanted = "Administration, Contents, and Workflows: write"
                return GitHubError(f"the token may not create repositories at {owner}: give it {wanted} ({error})", 403)
            return None if error.status == 422 else error
        return None

    def send(self, owner: str, method: str, path: str, **options: Any) -> requests.Response:
        """Send a request about an owner's repositories. Raises GitHubError."""
        url = f"{self.api.url}{path}"
        return self.credentials.with_token(
            owner, lambda token: self.api.send(method, url, lambda: f"Bearer {token}", **options)
        )

    def repository(self, owner: str, entry: Entry) -> "GitHubRepository":
        """Look a repository up. Raises GitHubError."""
        name = entry.name.removesuffix(WIKI_SUFFIX)
        unknown = GitHubRepository(self, owner, name, entry, None)
        return dataclasses.replace(unknown, existing=unknown.find())


@dataclass(frozen=True)
class GitHubRepository:
    """A repository at GitHub, or the place for one. Every method raises GitHubError."""

    target: GitHubTarget
    owner: str
    name: str
    entry: Entry
    existing: Existing | None
    object_formats: tuple[str, ...] = ("sha1",)

    @property
    def url(self) -> str:
        return self.target.url(self.owner, self.name)

    @property
    def releases(self) -> ReleaseWriter | None:
        return ReleaseWriter(self.target.api, self._path, self.with_token, self.target.stop, self.target.log)

    @property
    def issues(self) -> IssueWriter | None:
        return IssueWriter(self.target.api, self._path, self.with_token, self.target.stop, self.target.log)

    def with_token(self, request: Callable[[str], T]) -> T:
        return self.target.credentials.with_token(self.owner, request)

    def ask_lfs(self, operation: Operation, objects: Mapping[str, int]) -> LfsAnswers:
        return self.with_token(lambda token: lfs.ask(self.target.api, self.url, token, operation, objects))

    def how_to_make_wiki(self) -> str:
        page = f"{self.url.removesuffix('.git')}/wiki"
        self.target.by_hand.note("create the wiki's first page, then push again", page)
        return f"create the first page at {page}"

    def find(self) -> Existing | None:
        """Return what is there, None if nothing is."""
        try:
            answer = self._send("GET", self._path)
        except GitHubError as error:
            if error.status == 404:
                return None
            raise
        with as_documented(self._path):
            if str(answer["full_name"]).lower() != f"{self.owner}/{self.name}".lower():
                words = f"{self.owner}/{self.name} is now called {answer['full_name']}"
                raise GitHubError(f"{words}: push elsewhere with --to")
            about = str(answer["default_branch"]), _visibility(answer), int(answer["id"])
            return Existing(bool(answer["archived"]), *about)

    def check(self) -> None:
        self._check_readers(self.find())

    def before(self, is_empty: bool) -> list[Action]:
        """Return what makes the repository, and what keeps its workflows from running: nothing may be published."""
        self._check_readers(self.existing)
        if self.existing is None:
            was = visibility_of(self.entry)
            private = "private" if was == "private" else f"private (it was {was})"
            words = f"create {self.owner}/{self.name}: {private}, Actions off"
            kept = [f"with its {name.replace('_', ' ')}: {said}" for name, said in self._words()]
            return [Action((words, *kept), self._create, needed=True)]
        if is_empty:  # it may come from an interrupted restore
            return [Action(("switch Actions off",), self._switch_actions_off, needed=True)]
        if self.existing.archived or not self._has_actions():
            return []
        words = "switch Actions off: the branches bring their workflows. Switch them on again afterwards"
        return [Action((words,), self._switch_actions_off_for_now, needed=True)]

    def after(self, remote: Remote, is_empty: bool, has_default: bool) -> list[Action]:
        actions, branch, existing = list[Action](), self.entry.default_branch, self.existing
        if existing is None and self._topics:
            actions.append(Action((), self._set_topics, part="topics"))
        if existing is None or not existing.archived:
            is_set = existing is not None and not is_empty and existing.default_branch == branch
            if has_default and not is_set:
                says = (f"set the default branch to {branch}",)
                actions.append(Action(says, lambda _: self._set_default_branch(remote)))
            if self.entry.archived:
                archive = lambda _: self._send("PATCH", self._path, json={"archived": True})  # noqa: E731
                actions.append(Action(("archive it",), archive, last=True))
        return actions

    # -- one change each -------------------------------------------------------------------------

    @property
    def _path(self) -> str:
        return f"/repos/{self.owner}/{self.name}"

    def _check_readers(self, existing: Existing | None) -> None:
        allowed = matches_any(self.entry.full_name, self.target.more_readers)
        check_visibility(self.entry, existing, self.url, allowed)

    def _create(self, _: OnBytes) -> None:
        bare = {"name": self.name, "private": True}
        try:
            self._post({**self._settings(), **bare})
        except GitHubError as error:
            if error.status != 422:
                raise
            if found := self.find():
                self._check_readers(found)  # made by a request whose answer was lost, or by somebody else
            else:
                self._post(bare)
                self.target.log.warning("settings refused", full_name=f"{self.owner}/{self.name}", error=str(error))
        self._switch_actions_off(_)
        page = f"{self.url.removesuffix('.git')}/settings"
        self.target.by_hand.note("switch Actions on", f"{page}/actions")
        if (was := visibility_of(self.entry)) != "private":
            self.target.by_hand.note(f"make it {was}, as it was", page)

    def _post(self, settings: dict[str, Any]) -> None:
        """Make the repository, in an organization or at oneself."""
        try:
            self._send("POST", f"/orgs/{self.owner}/repos", json=settings)
        except GitHubError as error:
            if error.status == 403:
                hint = f"creating repositories needs Administration: write at {self.owner}"
                raise GitHubError(f"{error} ({hint})", 403) from None
            if error.status != 404:
                raise
            if not self._is_myself():
                hint = f"is there an organization {self.owner} that the token may write to?"
                raise GitHubError(f"{error} ({hint})", 404) from None
            self._send("POST", "/user/repos", json=settings)

    def _settings(self) -> dict[str, Any]:
        """Return what creating a repository takes of its settings, besides who may read it."""
        known = msgspec.structs.asdict(self.entry.settings or Settings())
        return {name: said for name, said in known.items() if name not in ("topics", "visibility") and said is not None}

    def _words(self) -> list[tuple[str, str]]:
        """Return the settings that a dry run shows: those in words."""
        shown = ("description", "homepage")
        topics = [("topics", ", ".join(self._topics))] if self._topics else []
        return [(name, said) for name, said in self._settings().items() if name in shown and said] + topics

    @property
    def _topics(self) -> tuple[str, ...]:
        return self.entry.settings.topics if self.entry.settings else ()

    def _set_topics(self, _: OnBytes) -> None:
        self._send("PUT", f"{self._path}/topics", json={"names": list(self._topics)})

    def _is_myself(self) -> bool:
        try:
            return str(self._send("GET", "/user")["login"]).lower() == self.owner.lower()
        except GitHubError:  # an App has no user
            return False

    def _has_actions(self) -> bool:
        """Return whether workflows run in the repository. Raises PushError where GitHub does not tell."""
        path = f"{self._path}/actions/permissions"
        try:
            answer = self._send("GET", path)
        except GitHubError as error:
            if error.status == 404:  # a server without Actions
                return False
            raise PushError(f"{error} (Actions must be off: branches that are pushed run their workflows)") from None
        with as_documented(path):
            return bool(answer["enabled"])

    def _switch_actions_off(self, _: OnBytes) -> None:
        path = f"{self._path}/actions/permissions"
        try:
            self._send("PUT", path, json={"enabled": False})
        except GitHubError as error:
            if error.status != 404:
                raise GitHubError(f"{error} (Actions must be off: a push would run its workflows)") from None
            self.target.log.warning("no Actions to turn off", full_name=f"{self.owner}/{self.name}", error=str(error))

    def _switch_actions_off_for_now(self, _: OnBytes) -> None:
        self._switch_actions_off(_)
        settings = f"{self.url.removesuffix('.git')}/settings/actions"
        self.target.log.warning("Actions switched off, switch them on again", settings=settings)
        self.target.by_hand.note("switch Actions on again", settings)

    def _set_default_branch(self, remote: Remote) -> None:
        """Set the default branch, unless it was refused: then that is the error to be told."""
        if f"refs/heads/{self.entry.default_branch}".encode() in remote.refs():
            self._send("PATCH", self._path, json={"default_branch": self.entry.default_branch})

    def _send(self, method: str, path: str, **options: Any) -> Any:
        answer = self.target.send(self.owner, method, path, **options)
        return answer.json() if answer.content else {}


def _missing_scopes(holder: Mapping[str, str]) -> list[str]:
    """Return the scopes that a classic token lacks. A fine-grained one has permissions, which GitHub does not tell."""
    if "scopes" not in holder:
        return []
    given = {scope.strip() for scope in holder["scopes"].split(",")}
    return [scope for scope in CLASSIC_SCOPES if scope not in given]


def _visibility(answer: Any) -> Visibility:
    """Return who can read a repository. An unknown word counts as public, and old servers have only `private`."""
    said = answer.get("visibility") or ("private" if answer["private"] else "public")
    return cast(Visibility, said) if said in VISIBILITIES else "public"
