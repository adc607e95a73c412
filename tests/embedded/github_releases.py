"""Releases and their files, and how GitHub's REST API writes them."""

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from embedded import github_json
from embedded.github_content import Content, content_size, open_content

if TYPE_CHECKING:
    from embedded.github import FakeGitHub
    from embedded.github_model import FakeRepository


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
