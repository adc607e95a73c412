"""The Batch API of a Git LFS server: where to get an object, or to put it.

https://github.com/git-lfs/git-lfs/blob/main/docs/api/batch.md
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlsplit

from github_s3_backup.github.transport.http import Link, same_server
from github_s3_backup.github.transport.limiter import Limiter
from github_s3_backup.github.transport.links import LinkError
from github_s3_backup.github.transport.rest import Api, GitHubError, as_documented, basic_authorization
from github_s3_backup.runtime.retry import retry_after

Operation = Literal["download", "upload"]
# GitHub takes no more in one request.
BATCH_SIZE = 100
MEDIA_TYPE = "application/vnd.git-lfs+json"
HEADERS = {"Accept": MEDIA_TYPE, "Content-Type": MEDIA_TYPE}
# What the server answers about an object that it does not have, was told to remove, or can't name.
ABSENT = (404, 410, 422)


@dataclass(frozen=True)
class LfsAnswer:
    """What the server says of one object: links by their name (download, upload, verify), or an error."""

    links: Mapping[str, Link]
    code: int = 0
    message: str = ""

    @property
    def is_absent(self) -> bool:
        return self.code in ABSENT

    def refusal(self) -> LinkError:
        """Return what the server answered in place of a link."""
        retry = retry_after(self.code, {}, self.message)
        return LinkError(f"the LFS server answered {self.code}: {self.message}", self.code, retry)


def ask(
    api: Api, repository_url: str, token: str | None, operation: Operation, objects: Mapping[str, int]
) -> dict[str, LfsAnswer]:
    """Return what the LFS server of a repository says of up to BATCH_SIZE objects (sizes in bytes, by OID).

    `repository_url` ends with .git. Raises GitHubError, also where an answer lacks an object.
    """
    url = f"{repository_url}/info/lfs/objects/batch"
    wanted = [{"oid": oid, "size": size} for oid, size in objects.items()]
    body = {"operation": operation, "transfers": ["basic"], "hash_algo": "sha256", "objects": wanted}
    authorization = basic_authorization(token) if token else None
    answer = api.send("POST", url, lambda: authorization, headers=HEADERS, json=body)
    with as_documented(url):
        reader = _Reader(url, authorization, api.limiter)
        answers = {str(item["oid"]): reader.read(item) for item in answer.json()["objects"]}
    if missing := objects.keys() - answers.keys():
        raise GitHubError(f"the answer to {urlsplit(url).path} lacks the object {min(missing)}", answer.status_code)
    return answers


@dataclass(frozen=True)
class _Reader:
    """Reads what the LFS server at `url` says. The token is added only to links on the server itself."""

    url: str
    authorization: str | None
    limiter: Limiter | None

    def read(self, item: dict[str, Any]) -> LfsAnswer:
        if error := item.get("error"):
            return LfsAnswer({}, int(error["code"]), str(error["message"]))
        authorization = None if item.get("authenticated") else self.authorization
        actions = item.get("actions") or {}
        return LfsAnswer({str(name): self._link(action, authorization) for name, action in actions.items()})

    def _link(self, action: dict[str, Any], authorization: str | None) -> Link:
        target = str(action["href"])
        if urlsplit(target).scheme not in ("https", urlsplit(self.url).scheme):
            raise GitHubError("the LFS server handed out a link that is not encrypted")
        headers = {str(name): str(value) for name, value in (action.get("header") or {}).items()}
        if not same_server(target, self.url):
            return Link(target, headers)
        if authorization and "authorization" not in {name.lower() for name in headers}:
            headers["Authorization"] = authorization
        return Link(target, headers, self.limiter)
