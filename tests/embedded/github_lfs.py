"""Git LFS as GitHub serves it: the Batch API on the git host, the objects themselves on the second port.

Modelled from git-lfs' docs/api (batch.md, basic-transfers.md, locking.md); tests/openapi/lfs holds its schemas.
"""

import hashlib
import re
import secrets
import shutil
import tempfile
import weakref
from collections.abc import Iterable
from datetime import datetime
from email.message import Message
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embedded.github_access import Denied, Place, enter
from embedded.github_answer import Answer

if TYPE_CHECKING:
    from embedded.github import FakeGitHub

MEDIA_TYPE = "application/vnd.git-lfs+json"
BATCH = "/{owner}/{repo}.git/info/lfs/objects/batch"
MOST_OBJECTS = 100
OID = re.compile(r"[0-9a-f]{64}")


class LfsStore:
    """The LFS objects of one repository: files by their SHA-256, in a folder of its own unless one is given."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        # What GitHub says of an object instead of where it is: code and message, by oid.
        self.errors: dict[str, tuple[int, str]] = {}

    @property
    def folder(self) -> Path:
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="lfs-"))
            weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
        self._folder.mkdir(parents=True, exist_ok=True)
        return self._folder

    def add(self, content: bytes) -> str:
        """Add an object and return its oid."""
        return self._keep([content])

    def add_sparse(self, size: int) -> str:
        """Add a large object of zeros, which takes no space, and return its oid."""
        with tempfile.NamedTemporaryFile(dir=self.folder, delete=False) as file:
            file.truncate(size)
        with Path(file.name).open("rb") as written:
            oid = hashlib.file_digest(written, "sha256").hexdigest()
        Path(file.name).rename(self.path(oid))
        return oid

    def remove(self, oid: str) -> None:
        self.path(oid).unlink()

    def oids(self) -> set[str]:
        """Return which objects there are."""
        return {path.name for path in self.folder.iterdir() if OID.fullmatch(path.name)}

    def path(self, oid: str) -> Path:
        """Return where an object is, or would be."""
        return self.folder / oid

    def size(self, oid: str) -> int | None:
        """Return an object's size in bytes, None where there is no such object."""
        path = self.path(oid)
        return path.stat().st_size if path.exists() else None

    def pointer(self, oid: str) -> bytes:
        """Return the file that git holds in place of an object."""
        return pointer(oid, self.size(oid) or 0)

    def _keep(self, blocks: Iterable[bytes], oid: str | None = None) -> str:
        """Keep a content under its SHA-256; where an oid is expected, only if it is that one."""
        digest = hashlib.sha256()
        with tempfile.NamedTemporaryFile(dir=self.folder, delete=False) as file:
            for block in blocks:
                digest.update(block)
                file.write(block)
        found = digest.hexdigest()
        if oid in (None, found):
            Path(file.name).rename(self.path(found))
        else:
            Path(file.name).unlink()
        return found


def pointer(oid: str, size: int) -> bytes:
    """Return the file that git holds in place of an object."""
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize {size}\n".encode()


def refusal(status: int, message: str, headers: dict[str, str] | None = None) -> Answer:
    """Return an error in the form of git-lfs' documents."""
    about = {"message": message, "request_id": secrets.token_hex(8).upper()}
    body = about | {"documentation_url": "https://docs.github.com/repositories/working-with-files/managing-large-files"}
    return Answer(BATCH, status, body, {"Content-Type": MEDIA_TYPE} | (headers or {}))


def answer(fake: "FakeGitHub", asked: tuple[str, str], owner: str, name: str, headers: Message, body: Any) -> Answer:
    """Answer a request below `info/lfs/`: `asked` is its method and the rest of its path."""
    if asked != ("POST", "objects/batch"):
        return refusal(404, "Not Found")
    fake.on_request("POST", BATCH, body)
    body = body if isinstance(body, dict) else {}
    place = enter(fake, owner, name, headers, pushing=body.get("operation") == "upload")
    if isinstance(place, Denied):
        return refusal(place.status, place.words, _challenge(place.status))
    if MEDIA_TYPE not in headers.get("Accept", ""):
        return refusal(406, f"The Accept header must be {MEDIA_TYPE}")
    return _batch(fake, place, body)


def _challenge(status: int) -> dict[str, str]:
    return {"LFS-Authenticate": 'Basic realm="GitHub"'} if status == 401 else {}


def _batch(fake: "FakeGitHub", place: Place, body: dict[str, Any]) -> Answer:
    objects = body.get("objects") or []
    if body.get("operation") != "download" or not objects:
        return refusal(422, "operation and objects are needed")
    if len(objects) > MOST_OBJECTS:
        return refusal(413, f"More than {MOST_OBJECTS} objects in one request")
    answers = [_download(fake, place, item["oid"], item["size"]) for item in objects]
    return Answer(BATCH, 200, {"transfer": "basic", "objects": answers}, {"Content-Type": MEDIA_TYPE})


def _download(fake: "FakeGitHub", place: Place, oid: str, size: int) -> dict[str, Any]:
    store = place.repository.lfs
    there = store.size(oid) if OID.fullmatch(oid) else None
    if oid in store.errors:
        return _object_error(oid, size, *store.errors[oid])
    if there is None:
        return _object_error(oid, size, 404, "Object does not exist on the server")
    if there != size:
        return _object_error(oid, size, 422, "Object has another size")
    link = fake.files.give(f"/lfs/{place.repository.id}/{oid}", store.path(oid))
    return {"oid": oid, "size": size, "actions": {"download": _action(*link)}}


def _action(href: str, expires_at: datetime, **about: Any) -> dict[str, Any]:
    return {"href": href, "expires_at": expires_at.strftime("%Y-%m-%dT%H:%M:%SZ")} | about


def _object_error(oid: str, size: int, code: int, message: str) -> dict[str, Any]:
    return {"oid": oid, "size": size, "error": {"code": code, "message": message}}
