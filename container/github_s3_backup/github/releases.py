"""Reads what GitHub says of a repository's releases.

https://docs.github.com/en/rest/releases/releases
"""

import hashlib
import re
from dataclasses import dataclass
from typing import Any

import msgspec

from github_s3_backup.records.release_list import Release, ReleaseFile
from github_s3_backup.runtime.redaction import printable

# A file whose upload was begun and never completed has another state, and no content.
UPLOADED = "uploaded"
DIGEST = re.compile(r"sha256:([0-9a-f]{64})")


@dataclass(frozen=True)
class Releases:
    """All releases of a repository, their files without content yet.

    `digests`: the SHA-256 of a file by its id, None where GitHub does not know it: files from before 2025.
    """

    releases: tuple[Release, ...]
    digests: dict[int, str | None]
    etag: str | None

    @property
    def sha256(self) -> str:
        """The SHA-256 of what GitHub says, which changes with the releases and not with each download."""
        return hashlib.sha256(msgspec.json.encode([self.releases, sorted(self.digests)])).hexdigest()


def read_releases(pages: list[Any], etag: str | None) -> Releases:
    """Return the releases in GitHub's answers. Raises KeyError, TypeError and ValueError in any other form."""
    answers = [answer for page in pages for answer in page]
    files = [file for answer in answers for file in answer["assets"]]
    digests = {int(file["id"]): _digest(file) for file in files}
    found = {int(answer["id"]): _read_release(answer) for answer in answers}
    return Releases(tuple(found.values()), digests, etag)


def _read_release(answer: Any) -> Release:
    document = {name: _utf8(answer.get(name)) for name in Release.__struct_fields__ if name not in ("author", "files")}
    document["tag_name"] = _one_line(answer["tag_name"])
    author = (answer.get("author") or {}).get("login")
    files = [_read_file(file) for file in answer["assets"] if file.get("state", UPLOADED) == UPLOADED]
    return msgspec.convert(document | {"author": author, "files": files}, Release)


def _read_file(answer: Any) -> dict[str, Any]:
    fields = [name for name in ReleaseFile.__struct_fields__ if name not in ("content", "error")]
    document = {name: _utf8(answer.get(name)) for name in fields}
    return document | {"size_bytes": answer["size"], "name": _one_line(answer["name"]), "content": None}


def _one_line(name: Any) -> str:
    """Return a name as it can be shown and kept."""
    return printable(str(name)).replace("\t", "\\x09").replace("\n", "\\x0a")


def _utf8(value: Any) -> Any:
    """Return text as UTF-8 can hold it, and anything else as it is."""
    return value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else value


def _digest(answer: Any) -> str | None:
    match = DIGEST.fullmatch(str(answer.get("digest")))
    return match[1] if match else None
