"""Releases and their files, as GitHub's REST API lists them and gives them out.

Modelled from docs.github.com, REST API: "Releases", "Release assets", "Best practices" (conditional requests).
"""

import hashlib
import json
import re
from dataclasses import dataclass, field
from email.message import Message
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

from embedded import github_json
from embedded.github_answer import Answer, Request, blocked, refusal
from embedded.github_files import Content, content_size, open_content
from embedded.real_git import git

if TYPE_CHECKING:
    from embedded.github import FakeGitHub
    from embedded.github_model import FakeRepository, Token

LISTING = "/repos/{owner}/{repo}/releases"
ASSET = "/repos/{owner}/{repo}/releases/assets/{asset_id}"
UPLOAD = "/repos/{owner}/{repo}/releases/{release_id}/assets"
UPLOAD_PATH = re.compile(r"/repos/([^/]+)/([^/]+)/releases/(\d+)/assets")
CREATE_FIELDS = {"tag_name", "target_commitish", "name", "body", "draft", "prerelease", "make_latest"}
# By name, or by id as in the links to further pages.
PATH = re.compile(r"(?:/repos/([^/]+)/([^/]+)|/repositories/(\d+))/releases(?:/assets/(\d+))?")


@dataclass
class FakeFile:
    """A file of a release; GitHub's own word is asset."""

    id: int
    name: str
    content: Content
    content_type: str = "application/octet-stream"
    label: str | None = None
    # Files from before June 2025 have none.
    has_digest: bool = True
    # "starter" after an upload that failed: listed, and no content to be had.
    state: str = "uploaded"
    download_count: int = 0
    # Fields that it is listed with in place of its own.
    listed_as: dict[str, Any] = field(default_factory=dict)

    @property
    def digest(self) -> str | None:
        if not self.has_digest:
            return None
        with open_content(self.content) as file:
            return "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()


@dataclass
class FakeRelease:
    """A release of a repository; a draft has no date of publication."""

    id: int
    tag_name: str
    name: str | None = None
    body: str | None = None
    draft: bool = False
    prerelease: bool = False
    files: list[FakeFile] = field(default_factory=list)
    target_commitish: str = "main"
    created_at: str = github_json.MOMENT
    published_at: str = github_json.MOMENT


def answer(fake: "FakeGitHub", token: "Token", asked: Request) -> Answer | None:
    """Return the answer to a request about releases, None where it is about something else."""
    match = PATH.fullmatch(asked.path)
    if match is None or asked.method not in ("GET", "POST"):
        return None
    template = ASSET if match[4] else LISTING
    repository = fake.repositories.get(int(match[3])) if match[3] else fake.find(*map(unquote, match.group(1, 2)))
    if refused := _refusal(fake, token, template, repository):
        return refused
    assert repository
    if match[2] and repository.name.lower() != unquote(match[2]).lower():
        rest = asked.path.split("/", 4)[4]
        moved = {"Location": f"{fake.api_url}/repositories/{repository.id}/{rest}"}
        return Answer(template, 301, github_json.error(301, "Moved Permanently", url=moved["Location"]), moved)
    if asked.method == "POST":
        return _create(fake, token, repository, asked.body)
    seen = [item for item in repository.releases if not item.draft or _sees_drafts(fake, token, repository)]
    if match[4]:
        return _asset(fake, repository, seen, int(match[4]), asked)
    return _listing(fake, repository, seen, asked)


def answer_upload(
    fake: "FakeGitHub", token: "Token | None", path: str, query: dict[str, list[str]], headers: Message, content: bytes
) -> Answer:
    """Answer the upload of a file to a release; `path` is that of the API."""
    match = UPLOAD_PATH.fullmatch(path)
    repository = fake.find(*map(unquote, match.group(1, 2))) if match else None
    if token is None:
        return refusal(UPLOAD, 401, "Bad credentials")
    if refused := _refuse_write(fake, token, UPLOAD, repository):
        return refused
    assert match
    assert repository
    release = next((item for item in repository.releases if item.id == int(match[3])), None)
    if release is None:
        return refusal(UPLOAD, 404, "Not Found")
    name = re.sub(r"[^A-Za-z0-9._+~-]", ".", query["name"][0])
    if any(file.name == name for file in release.files):
        problem = {"resource": "ReleaseAsset", "code": "already_exists", "field": "name"}
        return Answer(UPLOAD, 422, github_json.error(422, "Validation Failed", errors=[problem]))
    label = query.get("label", [None])[0]
    file = FakeFile(fake.next_number(), name, content, headers.get("Content-Type", ""), label)
    release.files.append(file)
    return Answer(UPLOAD, 201, file_json(fake, repository, release, file))


def _create(fake: "FakeGitHub", token: "Token", repository: "FakeRepository", body: dict[str, Any]) -> Answer:
    """Create a release, and its tag where there is none and it is no draft."""
    if refused := _refuse_write(fake, token, LISTING, repository):
        return refused
    if unknown := body.keys() - CREATE_FIELDS:
        return refusal(LISTING, 501, f"The embedded GitHub does not know these fields: {', '.join(sorted(unknown))}")
    tag, draft = body["tag_name"], body.get("draft", False)
    if not draft and any(item.tag_name == tag and not item.draft for item in repository.releases):
        problem = {"resource": "Release", "code": "already_exists", "field": "tag_name"}
        return Answer(LISTING, 422, github_json.error(422, "Validation Failed", errors=[problem]))
    commit = body.get("target_commitish") or repository.default_branch
    git_dir = f"--git-dir={repository.path}"
    if not draft and not git(git_dir, "for-each-ref", f"refs/tags/{tag}"):
        git(git_dir, "update-ref", f"refs/tags/{tag}", commit)
    release = FakeRelease(
        fake.next_number(), tag, body.get("name"), body.get("body"), draft, body.get("prerelease", False)
    )
    release.target_commitish = commit
    repository.releases.insert(0, release)
    return Answer(LISTING, 201, release_json(fake, repository, release))


def _refuse_write(
    fake: "FakeGitHub", token: "Token", template: str, repository: "FakeRepository | None"
) -> Answer | None:
    if refused := _refusal(fake, token, template, repository):
        return refused
    assert repository
    if not fake.reaches(token, repository.owner) or not token.may("contents", "write"):
        return refusal(template, 403, "Resource not accessible by integration")
    if repository.archived:
        return refusal(template, 403, "Repository was archived so is read-only.")
    if not repository.writable:
        return refusal(template, 501, "This repository is shared by tests, which only read it.")
    return None


def _refusal(fake: "FakeGitHub", token: "Token", template: str, repository: "FakeRepository | None") -> Answer | None:
    if repository is None or repository.gone:
        return refusal(template, 404, "Not Found")
    if repository.private and not fake.reaches(token, repository.owner):
        return refusal(template, 404, "Not Found")
    if repository.private and not token.may("contents", "read"):
        return refusal(template, 403, "Resource not accessible by integration")
    return blocked(template, repository.blocked) if repository.blocked else None


def _sees_drafts(fake: "FakeGitHub", token: "Token", repository: "FakeRepository") -> bool:
    return fake.reaches(token, repository.owner) and token.may("contents", "write")


def _listing(fake: "FakeGitHub", repository: "FakeRepository", seen: list[FakeRelease], asked: Request) -> Answer:
    everything = [release_json(fake, repository, item) for item in seen]
    page = fake.page(f"/repositories/{repository.id}/releases", everything, asked.query, None)
    etag = _etag(fake, page.body, asked)
    if etag in asked.headers.get("If-None-Match", ""):
        return Answer(LISTING, 304, None, {"ETag": etag})
    return Answer(LISTING, 200, page.body, page.headers | {"ETag": etag})


def _etag(fake: "FakeGitHub", body: Any, asked: Request) -> str:
    """Return the ETag of a body. GitHub's depends on the token too, as measured: another token, another ETag."""
    token = "" if fake.stable_etags else asked.headers.get("Authorization", "")
    return f'W/"{hashlib.sha256((json.dumps(body) + token).encode()).hexdigest()}"'


def _asset(
    fake: "FakeGitHub", repository: "FakeRepository", seen: list[FakeRelease], number: int, asked: Request
) -> Answer:
    found = [(release, file) for release in seen for file in release.files if file.id == number]
    if not found:
        return refusal(ASSET, 404, "Not Found")
    release, file = found[0]
    if asked.headers.get("Accept") != "application/octet-stream":
        return Answer(ASSET, 200, file_json(fake, repository, release, file))
    if file.state != "uploaded":
        return refusal(ASSET, 404, "Not Found")
    file.download_count += 1
    path = f"/release-files/{repository.id}/{file.id}"
    link, _ = fake.files.give(path, file.content, file.content_type)
    return Answer(ASSET, 302, None, {"Location": link})


def release_json(fake: "FakeGitHub", repository: "FakeRepository", item: FakeRelease) -> dict[str, Any]:
    """Return a release (schema release)."""
    full_name, tag = quote(repository.full_name), quote(item.tag_name)
    base = f"{fake.api_url}/repos/{full_name}"
    url = f"{base}/releases/{item.id}"
    return {
        "url": url,
        "assets_url": f"{url}/assets",
        "upload_url": f"{fake.uploads_url}/repos/{full_name}/releases/{item.id}/assets{{?name,label}}",
        "html_url": f"{fake.server_url}/{full_name}/releases/tag/{tag}",
        "tarball_url": None if item.draft else f"{base}/tarball/{tag}",
        "zipball_url": None if item.draft else f"{base}/zipball/{tag}",
        "id": item.id,
        "node_id": f"RE_{item.id}",
        "author": github_json.account(fake.api_url, 1000, "octocat", "User"),
        "tag_name": item.tag_name,
        "target_commitish": item.target_commitish,
        "name": item.name,
        "body": item.body,
        "draft": item.draft,
        "prerelease": item.prerelease,
        "immutable": False,
        "created_at": item.created_at,
        "published_at": None if item.draft else item.published_at,
        "assets": [file_json(fake, repository, item, file) for file in item.files],
    }


def file_json(fake: "FakeGitHub", repository: "FakeRepository", release: FakeRelease, file: FakeFile) -> dict[str, Any]:
    """Return a release's file (schema release-asset)."""
    full_name = quote(repository.full_name)
    download = f"{full_name}/releases/download/{quote(release.tag_name)}/{quote(file.name)}"
    return {
        "url": f"{fake.api_url}/repos/{full_name}/releases/assets/{file.id}",
        "browser_download_url": f"{fake.server_url}/{download}",
        "id": file.id,
        "node_id": f"RA_{file.id}",
        "name": file.name,
        "label": file.label,
        "state": file.state,
        "content_type": file.content_type,
        "size": content_size(file.content),
        "digest": file.digest,
        "download_count": file.download_count,
        "uploader": github_json.account(fake.api_url, 1000, "octocat", "User"),
        "created_at": github_json.MOMENT,
        "updated_at": github_json.MOMENT,
    } | file.listed_as
