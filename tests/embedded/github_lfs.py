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
VERIFY = "/{owner}/{repo}.git/info/lfs/verify"
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

    def receive(self, oid: str, blocks: Iterable[bytes]) -> str | None:
        """Take an upload, which counts once it is verified. Return what is wrong with it, None where nothing is."""
        found = self._keep(blocks)
        self.path(found).rename(self.folder / f"{found}.incoming")
        if found != oid:
            return "The Content-SHA256 you specified did not match what we received."
        return None

    def verify(self, oid: str, size: int) -> bool:
        """Let an upload count. Return False where there is none of that size."""
        incoming = self.folder / f"{oid}.incoming"
        if incoming.exists() and incoming.stat().st_size == size:
            incoming.rename(self.path(oid))
        return self.size(oid) == size

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
    if asked == ("POST", "verify"):
        return _verify(fake, owner, name, headers, body)
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
    prepare = {"download": _download, "upload": _upload}.get(str(body.get("operation")))
    if prepare is None or not objects:
        return refusal(422, "operation and objects are needed")
    if len(objects) > MOST_OBJECTS:
        return refusal(413, f"More than {MOST_OBJECTS} objects in one request")
    answers = [prepare(fake, place, item["oid"], item["size"]) for item in objects]
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


def _upload(fake: "FakeGitHub", place: Place, oid: str, size: int) -> dict[str, Any]:
    """Return where to put an object and where to say that it is there; nothing where it is there already."""
    store = place.repository.lfs
    if oid in store.errors:
        return _object_error(oid, size, *store.errors[oid])
    if not OID.fullmatch(oid):
        return _object_error(oid, size, 422, "Object has no valid oid")
    if store.size(oid) == size:
        return {"oid": oid, "size": size}
    link = fake.files.take(f"/lfs/{place.repository.id}/{oid}", lambda blocks: store.receive(oid, blocks))
    upload = _action(*link, header={"Content-Type": "application/octet-stream"})
    credential = f"RemoteAuth {_credential(fake, place.repository.id, oid)}"
    verify = f"{fake.server_url}/{place.repository.full_name}.git/info/lfs/verify"
    header = {"Authorization": credential, "Accept": MEDIA_TYPE}
    actions = {"upload": upload, "verify": _action(verify, link[1], header=header)}
    return {"oid": oid, "size": size, "actions": actions}


def _credential(fake: "FakeGitHub", number: int, oid: str) -> str:
    """Return what lets its bearer say that an object is there."""
    return hashlib.sha256(f"{fake.server_url} {number} {oid}".encode()).hexdigest()


def _verify(fake: "FakeGitHub", owner: str, name: str, headers: Message, body: Any) -> Answer:
    """Answer an upload's verify action, whose credential is in the answer to the batch."""
    repository = fake.find(owner, name)
    oid, size = str(body["oid"]), int(body["size"])
    if repository is None or headers.get("Authorization") != f"RemoteAuth {_credential(fake, repository.id, oid)}":
        return refusal(401, "Bad credentials")
    if not repository.lfs.verify(oid, size):
        return refusal(404, "Object does not exist on the server")
    return Answer(VERIFY, 200, {"message": "ok"}, {"Content-Type": MEDIA_TYPE})


def _action(href: str, expires_at: datetime, **about: Any) -> dict[str, Any]:
    return {"href": href, "expires_at": expires_at.strftime("%Y-%m-%dT%H:%M:%SZ")} | about


def _object_error(oid: str, size: int, code: int, message: str) -> dict[str, Any]:
    return {"oid": oid, "size": size, "error": {"code": code, "message": message}}
