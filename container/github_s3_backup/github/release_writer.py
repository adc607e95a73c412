"""Writes releases at GitHub: creates what is missing, and uploads files. What is whole is neither changed nor deleted.

https://docs.github.com/en/rest/releases/releases and https://docs.github.com/en/rest/releases/assets
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import quote, urlencode, urlsplit, urlunsplit

import requests
from structlog.typing import FilteringBoundLogger

from github_s3_backup.github.releases import UPLOADED
from github_s3_backup.github.transport.http import same_server
from github_s3_backup.github.transport.rest import Api, GitHubError, as_documented
from github_s3_backup.github.transport.uploads import Body
from github_s3_backup.records.release_list import Release, ReleaseFile
from github_s3_backup.runtime.retry import TRANSIENT, retrying
from github_s3_backup.runtime.stop import Stop

PAGE_SIZE = 100
UPLOAD_ATTEMPTS = 4
# What fits in a header. Whoever writes to the bucket may have written the list.
CONTENT_TYPE = re.compile(r"[!-~]+/[!-~][ -~]*")

T = TypeVar("T")
WithToken = Callable[[Callable[[str], Any]], Any]


@dataclass(frozen=True)
class ExistingFile:
    """A file that a release has. `is_whole`: False for the empty file that is left of a failed upload."""

    id: int
    name: str
    size_bytes: int
    digest: str | None
    is_whole: bool

    def is_copy_of(self, file: ReleaseFile) -> bool:
        """Return whether this is the file, as far as GitHub tells: it knows no SHA-256 of older files."""
        assert file.content
        same = self.digest in (None, f"sha256:{file.content.oid}")
        return self.is_whole and same and self.size_bytes == file.content.size_bytes


@dataclass(frozen=True)
class ExistingRelease:
    """A release that the repository has."""

    id: int
    tag_name: str
    draft: bool
    name: str | None
    upload_url: str
    files: Mapping[str, ExistingFile]


class ReleaseWriter:
    """Creates releases of one repository and uploads their files.

    `path`: the repository's, as in `/repos/acme/api`. `with_token` gives a request a token for it.
    """

    def __init__(self, api: Api, path: str, with_token: WithToken, stop: Stop, log: FilteringBoundLogger) -> None:
        self._api, self._with_token, self._stop, self._log = api, with_token, stop, log
        self._url = f"{api.url}{path}/releases"

    def existing(self) -> list[ExistingRelease]:
        """Return the releases that the repository has, drafts too. Raises GitHubError."""
        url = f"{self._url}?per_page={PAGE_SIZE}"
        pages = self._api.pages(url, lambda page: self._send("GET", page))
        return list(_read_pages(pages, url))

    def create(self, release: Release, with_commit: bool) -> ExistingRelease:
        """Create a release without files. `with_commit`: what its tag is to be made from if there is none.

        Raises GitHubError.
        """
        wanted = {
            "tag_name": release.tag_name,
            "target_commitish": release.target_commitish if with_commit else None,
            "name": release.name,
            "body": release.body,
            "draft": release.draft,
            "prerelease": release.prerelease,
            # By date and version, as one that is created today need not be the latest.
            "make_latest": "legacy",
        }
        answer = self._send("POST", self._url, json={k: v for k, v in wanted.items() if v is not None})
        with as_documented(self._url):
            return _read(answer.json())

    def upload(self, release: ExistingRelease, file: ReleaseFile, body: Body) -> None:
        """Upload a file to a release. Raises GitHubError, and what reading the body raises."""
        url = upload_url(release.upload_url, self._api.url, file)
        plain = CONTENT_TYPE.fullmatch(file.content_type)
        headers = {"Content-Type": file.content_type if plain else "application/octet-stream"}
        data = body if len(body) else b""

        def send() -> None:
            request = lambda token: self._api.send_once(  # noqa: E731
                "POST", url, lambda: f"Bearer {token}", headers=headers, data=data
            )
            try:
                answer = self._with_token(request)
            except GitHubError as error:
                if failed := self._failure(release, file, error):
                    raise failed from None
            else:
                with as_documented(url):
                    check_file(_read_file(answer.json()), file)

        retrying(UPLOAD_ATTEMPTS, self._stop, self._log)(send)

    def _failure(self, release: ExistingRelease, file: ReleaseFile, error: GitHubError) -> GitHubError | None:
        """Return what an upload's error means, None where the file arrived all the same.

        What it left in part is removed, so that the next attempt can succeed. Raises GitHubError where another file is
        there.
        """
        if error.refused and error.status != 422:
            return error
        now = next((item for item in self.existing() if item.id == release.id), None)
        found = now.files.get(file.name) if now else None
        if found is None:
            return error
        if not found.is_whole:
            self.remove_unfinished(found)
            return error.with_retry(TRANSIENT)
        check_file(found, file)
        return None

    def remove_unfinished(self, file: ExistingFile) -> None:
        """Remove the empty file that a failed upload has left, as GitHub's documentation allows. Raises GitHubError."""
        assert not file.is_whole
        self._log.info("removing what a failed upload left", file=file.name)
        self._send("DELETE", f"{self._url}/assets/{file.id}")

    def _send(self, method: str, url: str, **options: Any) -> requests.Response:
        request = lambda token: self._api.send(method, url, lambda: f"Bearer {token}", **options)  # noqa: E731
        answer: requests.Response = self._with_token(request)
        return answer


def check_file(existing: ExistingFile, file: ReleaseFile) -> None:
    """Raise GitHubError unless what is there under the file's name is the file."""
    if not existing.is_copy_of(file):
        raise GitHubError(f"the release already has another file that is called {file.name}")


def upload_url(given: str, api_url: str, file: ReleaseFile) -> str:
    """Return where to upload a file, from the URL that GitHub gives with a release.

    Raises GitHubError unless it is on GitHub's own host: the request brings the token.
    """
    base, query = given.partition("{")[0], {"name": file.name} | ({"label": file.label} if file.label else {})
    own = urlsplit(api_url)
    beside = urlunsplit((own.scheme, f"uploads.{own.netloc.removeprefix('api.')}", "", "", ""))
    if not same_server(base, api_url) and not same_server(base, beside):
        raise GitHubError(f"GitHub named an upload URL on another host: {urlsplit(base).netloc}")
    return f"{base}?{urlencode(query, quote_via=quote, errors='replace')}"


def _read_pages(pages: Iterator[Any], url: str) -> Iterator[ExistingRelease]:
    for page in pages:
        with as_documented(url):
            for answer in page:
                yield _read(answer)


def _read(answer: Any) -> ExistingRelease:
    files = [_read_file(file) for file in answer["assets"]]
    return ExistingRelease(
        id=int(answer["id"]),
        tag_name=str(answer["tag_name"]),
        draft=bool(answer["draft"]),
        name=answer.get("name"),
        upload_url=str(answer["upload_url"]),
        files={file.name: file for file in files},
    )


def _read_file(answer: Any) -> ExistingFile:
    is_whole = answer.get("state", UPLOADED) == UPLOADED
    return ExistingFile(int(answer["id"]), str(answer["name"]), int(answer["size"]), answer.get("digest"), is_whole)
