"""GitHub as an App sees it: installations, their repositories, and what its git server serves."""

import contextlib
import threading
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import requests
from structlog.typing import FilteringBoundLogger

from github_s3_backup.git.served_refs import ServedRefs, parse_served_refs
from github_s3_backup.github import lfs, names
from github_s3_backup.github.answers import InvalidRepositoryError, read_repository
from github_s3_backup.github.lfs import LfsAnswer
from github_s3_backup.github.releases import Releases, read_releases
from github_s3_backup.github.tokens import App, Token, TokenError, TokenManager
from github_s3_backup.github.transport.http import Link
from github_s3_backup.github.transport.limiter import Budget, Limiter
from github_s3_backup.github.transport.links import Downloader
from github_s3_backup.github.transport.packs import Limits, PackRequest, fetch_pack
from github_s3_backup.github.transport.rest import (
    API_VERSION,
    NOT_MODIFIED,
    USER_AGENT,
    Api,
    GitHubError,
    as_documented,
    basic_authorization,
)
from github_s3_backup.repository import Repository
from github_s3_backup.runtime.redaction import Redactor, printable
from github_s3_backup.runtime.stop import Stop
from github_s3_backup.version import TOOL_VERSION

PAGE_SIZE = 100
# A listing that changes or falls short is repeated: listings in all.
LISTINGS = 2
# A token of such an installation is for the enterprise's settings. GitHub gives none for repositories.
ENTERPRISE = "Enterprise"
WHOLE_BUDGET = Budget()
# GitHub's git server answers 404 to a client that does not call itself git. https://github.com/jelmer/dulwich/issues/562
# No cache on the way may answer: old refs would pass for unchanged ones.
GIT_HEADERS = {
    "User-Agent": f"git/terraform-aws-github-backup/{TOOL_VERSION}",
    "Accept": "*/*",
    "Pragma": "no-cache",
}
# Why GitHub may refuse a request of the App itself, by status.
HINTS = {
    401: "check {variables}_ID, that the private key belongs to that App, and this machine's clock",
    403: "see the App's installation in the organization's settings",
    404: "check {variables}_ID and {variables}_INSTALLATION_ID: was the App uninstalled?",
    422: "grant the App these permissions, and accept the change in the organization: {permissions}",
}


class RepositoryGoneError(Exception):
    """The repository is no longer there: a look-up by its id finds nothing."""


class RenamedError(GitHubError):
    """GitHub redirects to the repository's new name."""


@dataclass(frozen=True)
class Installation:
    """One account in which the App is installed. `owner` is '?' where GitHub was not asked for it."""

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
class _Access:
    """How the App asks for one installation's repositories: with its token, within its budget."""

    tokens: TokenManager
    limiter: Limiter
    api: Api


class GitHub:
    """The App's view of GitHub. `budget`: the part of each installation's requests that this task may send."""

    def __init__(
        self,
        app: App,
        session: requests.Session,
        redactor: Redactor,
        stop: Stop,
        log: FilteringBoundLogger,
        budget: Budget = WHOLE_BUDGET,
    ) -> None:
        self._app, self._redactor, self._stop, self._log, self._budget = app, redactor, stop, log, budget
        self._api = Api(app.api_url, session, stop, log)
        self.downloader = Downloader(session, stop, log)
        self._access: dict[int, _Access] = {}
        self._installations: list[int] | None = None
        self._lock = threading.Lock()

    # -- the App ---------------------------------------------------------------------------------

    def installations(self) -> list[Installation]:
        """Return every installation of the App, or the one that is configured. Raises GitHubError.

        That of an enterprise is left out: the repositories belong to its organizations.
        """
        if self._app.installation_id:
            return [Installation(self._app.installation_id, "?")]
        installations = []
        url = f"{self._api.url}/app/installations?per_page={PAGE_SIZE}"
        for page in self._api.pages(url, lambda page_url: self._send_as_app("GET", page_url)):
            with as_documented(url):
                for answer in page:
                    account = answer.get("account") or {}
                    owner = printable(str(account.get("login") or account.get("slug") or "?"))
                    if answer.get("target_type") == ENTERPRISE:
                        self._log.info("skipped, an enterprise has no repositories of its own", owner=owner)
                        continue
                    installations.append(Installation(int(answer["id"]), owner))
        return installations

    def tokens(self, installation_id: int) -> TokenManager:
        """Return the one TokenManager of an installation."""
        return self._to(installation_id).tokens

    def limiter(self, installation_id: int) -> Limiter:
        """Return what lets the requests of an installation through."""
        return self._to(installation_id).limiter

    def _to(self, installation_id: int) -> _Access:
        with self._lock:
            if installation_id not in self._access:
                tokens = TokenManager(lambda: self._mint(installation_id), self._stop, self._log)
                limiter = Limiter(self._budget, self._app.api_url, self._stop)
                self._access[installation_id] = _Access(tokens, limiter, self._api.within(limiter))
            return self._access[installation_id]

    def _mint(self, installation_id: int) -> Token:
        url = f"{self._api.url}/app/installations/{installation_id}/access_tokens"
        answer = self._send_as_app("POST", url, json={"permissions": dict(self._app.permissions)}).json()
        with as_documented(url):
            expires_at = datetime.fromisoformat(answer["expires_at"])
            token = Token(str(answer["token"]), expires_at if expires_at.tzinfo else expires_at.replace(tzinfo=UTC))
        self._redactor.hide_token(token.value, token.expires_at)
        return token

    # -- its repositories ------------------------------------------------------------------------

    def repositories(self, installation: Installation) -> Listing:
        """Return what the installation can see; listed again where the listing falls short or changes meanwhile.

        Raises GitHubError.
        """
        found: dict[object, Repository | InvalidRepositoryError] = {}
        for _ in range(LISTINGS - 1):
            listing, changed = self._list(installation, found)
            if not listing.missing and not changed:
                return listing
            self._log.warning("listing is incomplete, listing again", owner=installation.owner, missing=listing.missing)
        return self._list(installation, found)[0]

    def _list(
        self, installation: Installation, found: dict[object, Repository | InvalidRepositoryError]
    ) -> tuple[Listing, bool]:
        """List once, adding to `found`; return all that was found, and whether the count changed between pages."""
        counts: list[int] = []
        url = f"{self._api.url}/installation/repositories?per_page={PAGE_SIZE}"
        for page in self._api.pages(url, lambda page_url: self._get(page_url, installation.id)):
            with as_documented(url):
                counts.append(int(page["total_count"]))
                for answer in page["repositories"]:
                    try:
                        repository = read_repository(answer, installation.id)
                        found[repository.id] = repository
                    except InvalidRepositoryError as error:
                        found[error.id or error.full_name] = error
        repositories = tuple(r for r in found.values() if isinstance(r, Repository))
        refused = tuple(r for r in found.values() if isinstance(r, InvalidRepositoryError))
        return Listing(repositories, refused, counts[-1]), len(set(counts)) > 1

    def look_up(self, repository_id: int, installation_id: int, *, once: bool = False) -> Repository:
        """Return what a repository's id stands for now: it may have a new name, or belong to another owner.

        Asks the installation first, and the others where it finds nothing. `once`: without retries. Raises
        RepositoryGoneError, or GitHubError with GitHub's words where it is blocked.
        """
        try:
            return self._look_up_as(installation_id, repository_id, once)
        except RepositoryGoneError as error:
            gone = error
        for number in self._other_installations(installation_id):
            with contextlib.suppress(RepositoryGoneError):
                return self._look_up_as(number, repository_id, once)
        raise gone

    def _other_installations(self, installation_id: int) -> list[int]:
        """Return the ids of the App's other installations, asked for once."""
        if self._installations is None:
            self._installations = [installation.id for installation in self.installations()]
        return [number for number in self._installations if number != installation_id]

    def _look_up_as(self, installation_id: int, repository_id: int, once: bool) -> Repository:
        url = f"{self._api.url}/repositories/{repository_id}"
        try:
            answer = self._get(url, installation_id, once=once)
        except TokenError:
            raise
        except GitHubError as error:
            if error.status == 404:
                raise RepositoryGoneError(str(error)) from None
            raise
        try:
            return read_repository(answer.json(), installation_id)
        except InvalidRepositoryError as error:
            raise GitHubError(str(error), answer.status_code) from None

    def names(self, repositories: Iterable[Repository]) -> dict[int, str]:
        """Return the present full names of repositories by their ids, with one request for a hundred of them.

        What is missing in the answer is to be looked up by its id: it may have been deleted, it may be out of this
        installation's sight, or GraphQL may have failed.
        """
        found: dict[int, str] = {}
        by_installation: dict[int, list[str]] = defaultdict(list)
        for repository in repositories:
            by_installation[repository.installation_id] += [repository.node_id] if repository.node_id else []
        for installation_id, node_ids in by_installation.items():
            try:
                for start in range(0, len(node_ids), names.BATCH_SIZE):
                    found |= self._names(installation_id, node_ids[start : start + names.BATCH_SIZE])
            except GitHubError as error:
                self._log.info("GraphQL not available, repositories are looked up one by one", error=str(error))
        return found

    def _names(self, installation_id: int, node_ids: list[str]) -> dict[int, str]:
        to = self._to(installation_id)
        return to.tokens.with_token(lambda token: names.ask(to.api, token, node_ids))

    def clone_url(self, repository: Repository) -> str:
        return f"{self._app.server_url}/{repository.full_name}.git"

    def served_refs(self, repository: Repository, token: str, *, once: bool = False) -> ServedRefs:
        """Return the refs that the git server serves. `once`: without retries, as the caller retries by itself.

        Raises GitHubError, also where the repository has another name now, and ServedRefsError.
        """
        api = self._to(repository.installation_id).api
        send = api.send_once if once else api.send
        url = f"{self.clone_url(repository)}/info/refs?service=git-upload-pack"
        answer = send("GET", url, lambda: basic_authorization(token), headers=GIT_HEADERS)
        if urlsplit(answer.url).path != urlsplit(url).path:
            raise RenamedError(f"GitHub redirects {urlsplit(url).path} to {answer.url}", answer.status_code)
        return parse_served_refs(answer.headers.get("Content-Type", "no type"), answer.content)

    def fetch_pack(self, repository: Repository, request: bytes, limits: Limits) -> Iterator[bytes]:
        """Send a request of git's protocol 2, and return the pack in the answer. Raises as `packs.fetch_pack`."""
        url = f"{self.clone_url(repository)}/git-upload-pack"

        def send(token: str) -> Iterator[bytes]:
            link = Link(url, GIT_HEADERS | {"Authorization": basic_authorization(token)}, to.limiter)
            return fetch_pack(to.api.session, PackRequest(link, request), limits, self._stop)

        to = self._to(repository.installation_id)
        return to.tokens.with_token(send)

    # -- LFS objects and releases ----------------------------------------------------------------

    def lfs_links(self, repository: Repository, objects: Mapping[str, int]) -> dict[str, LfsAnswer]:
        """Return where to download LFS objects (sizes in bytes, by OID), as many as fit in one batch.

        Raises GitHubError.
        """
        url = self.clone_url(repository)
        to = self._to(repository.installation_id)
        return to.tokens.with_token(lambda token: lfs.ask(to.api, url, token, "download", objects))

    def releases(self, repository: Repository, etag: str | None) -> Releases | None:
        """Return a repository's releases, None where their first page did not change since the answer with this ETag.

        What changes on a later page is seen without an ETag. Raises GitHubError.
        """
        url = f"{self._repository_url(repository)}/releases?per_page={PAGE_SIZE}"
        headers = {"If-None-Match": etag} if etag else {}
        first = self._get(url, repository.installation_id, headers=headers)
        if first.status_code == NOT_MODIFIED:
            return None
        get = lambda page: first if page == url else self._get(page, repository.installation_id)  # noqa: E731
        with as_documented(url):
            return read_releases(list(self._api.pages(url, get)), first.headers.get("ETag"))

    def release_file_link(self, repository: Repository, number: int) -> Link:
        """Return where to download a release's file, by the file's id. Raises TokenError."""
        to = self._to(repository.installation_id)
        headers = {
            "Accept": "application/octet-stream",
            "Authorization": f"Bearer {to.tokens.token()}",
            "User-Agent": USER_AGENT,
            "X-GitHub-Api-Version": API_VERSION,
        }
        return Link(f"{self._repository_url(repository)}/releases/assets/{number}", headers, to.limiter)

    def _repository_url(self, repository: Repository) -> str:
        return f"{self._api.url}/repos/{repository.full_name}"

    # -- authorization ---------------------------------------------------------------------------

    def _send_as_app(self, method: str, url: str, **options: Any) -> requests.Response:
        """Send with the App's JWT; a refusal says what to check."""
        try:
            return self._api.send(method, url, self._app.authorization, **options)
        except GitHubError as error:
            if not error.refused or error.status not in HINTS:
                raise
            wanted = ", ".join(f"{name}: {level}" for name, level in self._app.permissions.items())
            hint = HINTS[error.status].format(variables=self._app.variables, permissions=wanted)
            raise GitHubError(f"{error} ({hint})", error.status) from None

    def _get(self, url: str, installation_id: int, once: bool = False, **options: Any) -> requests.Response:
        """Get with the installation's token."""
        to = self._to(installation_id)
        send = to.api.send_once if once else to.api.send
        return to.tokens.with_token(lambda token: send("GET", url, lambda: f"Bearer {token}", **options))
