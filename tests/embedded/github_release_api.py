"""Releases and their files, as GitHub's REST API lists them and gives them out; made in github_release_write.py.

Modelled from docs.github.com, REST API: "Releases", "Release assets", "Best practices" (conditional requests).
"""

import hashlib
import json
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from embedded import github_json, github_release_write
from embedded.github_answer import Answer, Request, blocked, refusal
from embedded.github_release_write import ASSET, LISTING
from embedded.github_releases import FakeRelease, file_json, release_json

if TYPE_CHECKING:
    from embedded.github import FakeGitHub
    from embedded.github_model import FakeRepository, Token

# By name, or by id as in the links to further pages.
PATH = re.compile(r"(?:/repos/([^/]+)/([^/]+)|/repositories/(\d+))/releases(?:/assets/(\d+))?")


def answer(fake: "FakeGitHub", token: "Token", asked: Request) -> Answer | None:
    """Return the answer to a request about releases, None where it is about something else."""
    match = PATH.fullmatch(asked.path)
    if match is None or asked.method not in (("GET", "DELETE") if match[4] else ("GET", "POST")):
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
        return github_release_write.create(fake, token, repository, asked.body)
    if asked.method == "DELETE":
        return github_release_write.delete_file(fake, token, repository, int(match[4]))
    seen = [item for item in repository.releases if not item.draft or _sees_drafts(fake, token, repository)]
    if match[4]:
        return _asset(fake, repository, seen, int(match[4]), asked)
    return _listing(fake, repository, seen, asked)


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
