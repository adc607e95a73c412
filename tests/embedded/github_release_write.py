"""Releases made through the embedded GitHub's REST API, and files uploaded to them, as a restore does.

Modelled from docs.github.com, REST API: "Releases" (create) and "Release assets" (upload, delete); from "Permissions
required for GitHub Apps": all need Contents: write. The words of refusals are those that GitHub's users quote.
"""

import dataclasses
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from email.message import Message
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote

from embedded.git_http import request_body
from embedded.github_answer import Answer, invalid, refusal
from embedded.github_http import Fault, Handler
from embedded.github_releases import FakeFile, FakeRelease, file_json, release_json
from embedded.github_write import not_accessible, not_modelled
from embedded.real_git import git

if TYPE_CHECKING:
    from embedded.github import FakeGitHub
    from embedded.github_model import FakeRepository, Token

LISTING = "/repos/{owner}/{repo}/releases"
ASSET = "/repos/{owner}/{repo}/releases/assets/{asset_id}"
UPLOAD = "/repos/{owner}/{repo}/releases/{release_id}/assets"
UPLOAD_PATH = re.compile(r"/repos/([^/]+)/([^/]+)/releases/(\d+)/assets")
CREATE_FIELDS = {"tag_name", "target_commitish", "name", "body", "draft", "prerelease", "make_latest"}
COMMIT = re.compile(r"[0-9a-f]{40}")


def create(fake: "FakeGitHub", token: "Token", repository: "FakeRepository", body: dict[str, Any]) -> Answer:
    """Create a release of a repository that the token sees, and its tag where there is none."""
    fake.on_request("POST", LISTING, body)
    if refused := _refuse_writing(fake, token, LISTING, repository):
        return refused
    if unknown := body.keys() - CREATE_FIELDS:
        return not_modelled(LISTING, unknown)
    if not body.get("tag_name"):
        return refusal(LISTING, 422, 'Invalid request.\n\n"tag_name" wasn\'t supplied.')
    release = FakeRelease(
        id=fake.new_id(),
        tag_name=body["tag_name"],
        name=body.get("name"),
        body=body.get("body"),
        draft=body.get("draft", False),
        prerelease=body.get("prerelease", False),
        target_commitish=body.get("target_commitish", repository.default_branch),
        published_at=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    )
    if problem := _tag_problem(repository, release):
        return _invalid(LISTING, "Release", *problem)
    repository.releases.insert(0, release)
    return Answer(LISTING, 201, release_json(fake, repository, release))


def _tag_problem(repository: "FakeRepository", release: FakeRelease) -> tuple[str, str, str | None] | None:
    """Make a published release's tag where there is none. Return field, code and words of what is wrong."""
    if not _resolves(repository, "HEAD") and not git(f"--git-dir={repository.path}", "for-each-ref", "--count=1"):
        return "base", "custom", "Repository is empty."
    if release.draft:
        return None
    if any(item.tag_name == release.tag_name and not item.draft for item in repository.releases):
        return "tag_name", "already_exists", None
    tag = f"refs/tags/{release.tag_name}"
    if _resolves(repository, tag):
        return None
    commit = release.target_commitish
    target = commit if COMMIT.fullmatch(commit) else f"refs/heads/{commit}"
    if not _resolves(repository, f"{target}^{{commit}}"):
        return "target_commitish", "invalid", None
    try:
        git("check-ref-format", tag)
    except RuntimeError:
        return "tag_name", "custom", "tag_name is not a valid tag"
    git(f"--git-dir={repository.path}", "update-ref", tag, f"{target}^{{commit}}")
    return None


def _resolves(repository: "FakeRepository", revision: str) -> bool:
    try:
        git(f"--git-dir={repository.path}", "rev-parse", "--verify", "--quiet", "--end-of-options", revision)
    except RuntimeError:
        return False
    return True


def delete_file(fake: "FakeGitHub", token: "Token", repository: "FakeRepository", number: int) -> Answer:
    """Delete a release's file, whatever state it is in."""
    if refused := _refuse_writing(fake, token, ASSET, repository):
        return refused
    for release in repository.releases:
        if found := next((file for file in release.files if file.id == number), None):
            release.files.remove(found)
            return Answer(ASSET, 204, None)
    return refusal(ASSET, 404, "Not Found")


def serve_upload(handler: Handler, path: str, query: str, fault: Fault | None) -> None:
    """Answer a request to upload a file; what a refusal has left of it is read all the same."""
    blocks = request_body(handler)
    answer = _upload(handler.fake, path, parse_qs(query), handler.headers, blocks)
    for _ in blocks:
        pass
    if fault and fault.after_all:
        handler.refuse_as(fault)
    else:
        handler.answer(answer)


def refuse_upload(handler: Handler, path: str, query: str, refused: tuple[int, str, dict[str, str]]) -> None:
    """Refuse an upload as a fault wants it: status, words and headers.

    A 502 leaves an empty file, as GitHub's may (docs.github.com "Release assets").
    """
    status, words, headers = refused
    match, fake = UPLOAD_PATH.fullmatch(path), handler.fake
    found = _release(fake, *match.groups()) if match else None
    name = _file_name(parse_qs(query).get("name", [""])[0])
    if status == 502 and found and not any(file.name == name for file in found[1].files):
        found[1].files.append(FakeFile(fake.new_id(), name, b"", has_digest=False, state="starter"))
    handler.answer(dataclasses.replace(refusal(UPLOAD, status, words), headers=headers))


def _upload(
    fake: "FakeGitHub", path: str, query: dict[str, list[str]], headers: Message, blocks: Iterator[bytes]
) -> Answer:
    token, match = fake.token(headers.get("Authorization", "").removeprefix("Bearer ")), UPLOAD_PATH.fullmatch(path)
    if token is None:
        return refusal(UPLOAD, 401, "Bad credentials")
    found = _release(fake, *match.groups()) if match else None
    if found is None or not (fake.reaches(token, found[0].owner) or not found[0].private):
        return refusal(UPLOAD, 404, "Not Found")
    repository, release = found
    if refused := _refuse_writing(fake, token, UPLOAD, repository):
        return refused
    if problem := _upload_problem(release, query, headers):
        return problem
    label = query.get("label", [None])[0]
    file = FakeFile(fake.new_id(), _file_name(query["name"][0]), b"", headers["Content-Type"], label, state="starter")
    release.files.append(file)
    file.content, file.state = b"".join(blocks), "uploaded"
    return Answer(UPLOAD, 201, file_json(fake, repository, release, file))


def _upload_problem(release: FakeRelease, query: dict[str, list[str]], headers: Message) -> Answer | None:
    length = headers.get("Content-Length", "")
    if not length.isdecimal():  # https://github.com/eine/tip/issues/159
        return refusal(UPLOAD, 400, f"Bad Content-Length: {length}")
    if "Content-Type" not in headers:
        return refusal(UPLOAD, 422, "Content-Type is missing")
    if "name" not in query:
        return _invalid(UPLOAD, "ReleaseAsset", "name", "missing_field", None)
    if any(file.name == _file_name(query["name"][0]) for file in release.files):
        return _invalid(UPLOAD, "ReleaseAsset", "name", "already_exists", None)
    if int(length) == 0:  # https://github.com/svenstaro/upload-release-action/issues/94
        return _invalid(UPLOAD, "ReleaseAsset", "size", "custom", "size must be greater than or equal to 1")
    return None


def _file_name(name: str) -> str:
    """Return the name that GitHub keeps a file under: without special characters, nor periods at its ends."""
    return re.sub(r"\.*[^\w.+@~-][^\w+@~-]*", ".", name, flags=re.ASCII).strip(".")


def _release(fake: "FakeGitHub", owner: str, name: str, number: str) -> "tuple[FakeRepository, FakeRelease] | None":
    repository = fake.find(unquote(owner), unquote(name))
    releases = repository.releases if repository else []
    found = next((item for item in releases if item.id == int(number)), None)
    return (repository, found) if repository and found else None


def _refuse_writing(fake: "FakeGitHub", token: "Token", template: str, repository: "FakeRepository") -> Answer | None:
    if not fake.reaches(token, repository.owner) or not token.may("contents", "write"):
        return not_accessible(template, token)
    if repository.archived:
        return refusal(template, 403, "Repository was archived so is read-only.")
    if not repository.writable:
        return refusal(template, 501, "This repository is shared by tests, which only read it.")
    return None


def _invalid(template: str, resource: str, field: str, code: str, words: str | None) -> Answer:
    return invalid(template, "Validation Failed", field, code, words, resource)
