"""GitHub as an App sees it: its repositories, and what the git server serves."""

import contextlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from github_s3_backup.git.served_refs import ServedRefs, parse_served_refs
from github_s3_backup.github import lfs, names
from github_s3_backup.github.answers import InvalidRepositoryError, read_repository
from github_s3_backup.github.installations import PAGE_SIZE, Access, Installation, Installations
from github_s3_backup.github.lfs import LfsAnswer
from github_s3_backup.github.releases import Releases, read_releases
from github_s3_backup.github.tokens import TokenError
from github_s3_backup.github.transport.http import Link
from github_s3_backup.github.transport.links import Downloader
from github_s3_backup.github.transport.packs import Limits, PackRequest, fetch_pack
from github_s3_backup.github.transport.rest import (
    API_VERSION,
    NOT_MODIFIED,
    USER_AGENT,
    GitHubError,
    as_documented,
    basic_authorization,
)
from github_s3_backup.repository import Repository
from github_s3_backup.version import TOOL_VERSION

# A listing that changes or falls short is repeated: listings in all.
LISTINGS = 2
# GitHub's git server answers 404 to a client that does not call itself git. https://github.com/jelmer/dulwich/issues/562
# No cache on the way may answer: old refs would pass for unchanged ones.
GIT_HEADERS = {
    "User-Agent": f"git/terraform-aws-github-backup/{TOOL_VERSION}",
    "Accept": "*/*",
    "Pragma": "no-cache",
}


class RepositoryGoneError(Exception):
    """The repository is no longer there: a look-up by its id finds nothing."""


class RenamedError(GitHubError):
    """GitHub redirects to the repository's new name."""


@dataclass(frozen=True)
class Listing:
    """The repositories of one installation, those refused, and how many GitHub says there are."""

    repositories: tuple[Repository, ...]
    refused: tuple[InvalidRepositoryError, ...]
    total_count: int

    @property
    def missing(self) -> int:
        return max(0, self.total_count - len(self.repositories) - len(self.refused))


class GitHub:
    """The repositories of the App's installations."""

    def __init__(self, installations: Installations) -> None:
        self.installations = installations
        self._api = installations.api
        self.downloader = Downloader(self._api.session, self._api.stop, self._api.log)
        self._installation_ids: list[int] | None = None

    def access(self, installation_id: int) -> Access:
        """Return how to ask for an installation's repositories."""
        return self.installations.access(installation_id)

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
            self._api.log.warning(
                "listing is incomplete, listing again", owner=installation.owner, missing=listing.missing
            )
        return self._list(installation, found)[0]

    def _list(
        self, installation: Installation, found: dict[object, Repository | InvalidRepositoryError]
    ) -> tuple[Listing, bool]:
        """List once, adding to `found`; return all that was found, and whether the count changed between pages."""
        counts: list[int] = []
        url = f"{self._api.url}/installation/repositories?per_page={PAGE_SIZE}"
        for page in self._api.pages(url, self.access(installation.id).get):
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
        if self._installation_ids is None:
            self._installation_ids = [installation.id for installation in self.installations.all()]
        return [number for number in self._installation_ids if number != installation_id]

    def _look_up_as(self, installation_id: int, repository_id: int, once: bool) -> Repository:
        url = f"{self._api.url}/repositories/{repository_id}"
        try:
            answer = self.access(installation_id).get(url, once=once)
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
                    found |= names.ask(self.access(installation_id), node_ids[start : start + names.BATCH_SIZE])
            except GitHubError as error:
                self._api.log.info("GraphQL not available, repositories are looked up one by one", error=str(error))
        return found

    def clone_url(self, repository: Repository) -> str:
        return f"{self.installations.app.server_url}/{repository.full_name}.git"

    def served_refs(self, repository: Repository, token: str, *, once: bool = False) -> ServedRefs:
        """Return the refs that the git server serves. `once`: without retries, as the caller retries by itself.

        Raises GitHubError, also where the repository has another name now, and ServedRefsError.
        """
        api = self.access(repository.installation_id).api
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
            return fetch_pack(to.api.session, PackRequest(link, request), limits, self._api.stop)

        to = self.access(repository.installation_id)
        return to.tokens.with_token(send)

    # -- LFS objects and releases ----------------------------------------------------------------

    def lfs_links(self, repository: Repository, objects: Mapping[str, int]) -> dict[str, LfsAnswer]:
        """Return where to download LFS objects (sizes in bytes, by OID), as many as fit in one batch.

        Raises GitHubError.
        """
        url = self.clone_url(repository)
        to = self.access(repository.installation_id)
        return to.tokens.with_token(lambda token: lfs.ask(to.api, url, token, "download", objects))

    def releases(self, repository: Repository, etag: str | None) -> Releases | None:
        """Return a repository's releases, None where their first page did not change since the answer with this ETag.

        What changes on a later page is seen without an ETag. Raises GitHubError.
        """
        url = f"{self._repository_url(repository)}/releases?per_page={PAGE_SIZE}"
        headers = {"If-None-Match": etag} if etag else {}
        to = self.access(repository.installation_id)
        first = to.get(url, headers=headers)
        if first.status_code == NOT_MODIFIED:
            return None
        get = lambda page: first if page == url else to.get(page)  # noqa: E731
        with as_documented(url):
            return read_releases(list(self._api.pages(url, get)), first.headers.get("ETag"))

    def release_file_link(self, repository: Repository, number: int) -> Link:
        """Return where to download a release's file, by the file's id. Raises TokenError."""
        to = self.access(repository.installation_id)
        headers = {
            "Accept": "application/octet-stream",
            "Authorization": f"Bearer {to.tokens.token()}",
            "User-Agent": USER_AGENT,
            "X-GitHub-Api-Version": API_VERSION,
        }
        return Link(f"{self._repository_url(repository)}/releases/assets/{number}", headers, to.limiter)

    def _repository_url(self, repository: Repository) -> str:
        return f"{self._api.url}/repos/{repository.full_name}"
