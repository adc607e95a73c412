"""Git LFS as GitHub serves it: the Batch API on the git host, the objects themselves on the second port.

Modelled from git-lfs' docs/api (batch.md, basic-transfers.md, locking.md), whose schemas are in tests/openapi/lfs.
GitHub's own: at most 100 objects a request, a limit to an object's size, links that are good for a while and one
object, and uploads that count once they have been verified. Locks there are none.
"""

import functools
import secrets
from collections.abc import Iterator
from datetime import datetime
from email.message import Message
from typing import TYPE_CHECKING, Any

from embedded.github_access import Denied, Place, enter
from embedded.github_answer import Answer
from embedded.github_lfs import OID, LfsStore

if TYPE_CHECKING:
    from embedded.github import FakeGitHub

MEDIA_TYPE = "application/vnd.git-lfs+json"
URL = "/{owner}/{repo}.git/info/lfs/"
MOST_OBJECTS = 100
NOT_THERE = "Object does not exist on the server"


def refusal(status: int, message: str, rest: str = "") -> Answer:
    """Return an error in the form of git-lfs' documents; `rest` is the path below `info/lfs/`."""
    about = {"message": message, "request_id": secrets.token_hex(8).upper()}
    body = about | {"documentation_url": "https://docs.github.com/repositories/working-with-files/managing-large-files"}
    headers = {"LFS-Authenticate": 'Basic realm="GitHub"'} if status == 401 else {}
    return Answer(URL + rest, status, body, {"Content-Type": MEDIA_TYPE} | headers)


def answer(fake: "FakeGitHub", asked: tuple[str, str], owner: str, name: str, headers: Message, body: Any) -> Answer:
    """Answer a request below `info/lfs/`: `asked` is its method and the rest of its path."""
    method, rest = asked
    body = body if isinstance(body, dict) else {}
    fake.on_request(method, URL + rest, body)
    if asked == ("POST", "objects/verify"):
        return _verify(fake, owner, name, headers, body)
    pushing = rest == "locks/verify" or body.get("operation") == "upload"
    place = enter(fake, owner, name, headers, pushing)
    if isinstance(place, Denied):
        return refusal(place.status, place.words, rest)
    if MEDIA_TYPE not in headers.get("Accept", ""):
        return refusal(406, f"The Accept header must be {MEDIA_TYPE}", rest)
    if place.is_wiki or asked not in (("POST", "objects/batch"), ("POST", "locks/verify")):
        return refusal(404, "Not Found", rest)
    # As git does: whoever reads by a former name is sent on.
    if place.full_name.lower() != f"{owner}/{name}".lower() and not pushing:
        moved = {"Location": f"{fake.server_url}/{place.full_name}.git/info/lfs/{rest}"}
        return Answer(URL + rest, 301, {"message": "Moved Permanently"}, {"Content-Type": MEDIA_TYPE} | moved)
    if rest == "locks/verify":
        return _answer(rest, {"ours": [], "theirs": []})
    return _batch(fake, place, body)


def _answer(rest: str, body: dict[str, Any]) -> Answer:
    return Answer(URL + rest, 200, body, {"Content-Type": MEDIA_TYPE})


def _batch(fake: "FakeGitHub", place: Place, body: dict[str, Any]) -> Answer:
    objects, rest = body.get("objects"), "objects/batch"
    answer_object = {"download": _download, "upload": _upload}.get(str(body.get("operation")))
    if answer_object is None or not objects or "basic" not in body.get("transfers", ["basic"]):
        return refusal(422, "The request needs an operation and objects, by the basic transfer", rest)
    if len(objects) > MOST_OBJECTS:
        return refusal(413, f"More than {MOST_OBJECTS} objects in one request", rest)
    answers = []
    for item in objects:
        about = {"oid": item["oid"], "size": item["size"]}
        error = _object_error(fake, place.repository.lfs, **about)
        answers.append(about | (error or answer_object(fake, place, **about)))
    return _answer(rest, {"transfer": "basic", "objects": answers})


def _object_error(fake: "FakeGitHub", store: LfsStore, oid: str, size: int) -> dict[str, Any]:
    """Return what is wrong with an object whatever the operation."""
    if oid in store.errors:
        return _error(*store.errors[oid])
    if not OID.fullmatch(oid):
        return _error(422, "Invalid oid")
    if size > fake.lfs_limit:  # https://github.com/git-lfs/git-lfs/issues/4101
        return _error(422, f"Size must be less than or equal to {fake.lfs_limit}")
    # What GitHub says of another size is not known: so that no test passes by it, it is an error here.
    return _error(422, "Object has another size") if store.size(oid) not in (None, size) else {}


def _error(code: int, message: str) -> dict[str, Any]:
    return {"error": {"code": code, "message": message}}


def _download(fake: "FakeGitHub", place: Place, oid: str, size: int) -> dict[str, Any]:
    store = place.repository.lfs
    if store.size(oid) != size:
        return _error(404, NOT_THERE)
    link = fake.files.give(f"/lfs/{place.repository.id}/{oid}", store.path(oid))
    return {"actions": {"download": _action(*link)}}


def _upload(fake: "FakeGitHub", place: Place, oid: str, size: int) -> dict[str, Any]:
    """Return where to put an object and where to say so; nothing for one that is there already."""
    if place.repository.lfs.size(oid) == size:
        return {}
    # Part of what S3's signature signs: who leaves it out is refused.
    signed = {"x-amz-content-sha256": oid}
    take = functools.partial(_take, place.repository.lfs, oid)
    href, expires_at = fake.files.take(f"/lfs/{place.repository.id}/{oid}", take, signed)
    verify = f"{fake.server_url}/{place.full_name}.git/info/lfs/objects/verify"
    header = {"Accept": MEDIA_TYPE, "Authorization": f"RemoteAuth {_new_secret(fake, place, oid)}"}
    return {
        "actions": {
            "upload": _action(href, expires_at, header=signed),
            "verify": _action(verify, expires_at, header=header),
        }
    }


def _take(store: LfsStore, oid: str, blocks: Iterator[bytes]) -> str | None:
    return (
        None
        if store.take(oid, blocks)
        else "The provided 'x-amz-content-sha256' header does not match what was computed."
    )


def _new_secret(fake: "FakeGitHub", place: Place, oid: str) -> str:
    """Return a secret that stands for the verification of one object."""
    value = secrets.token_hex(20)
    fake.verifications[value] = (place.repository.id, oid)
    fake.issued.append(value)
    return value


def _verify(fake: "FakeGitHub", owner: str, name: str, headers: Message, body: dict[str, Any]) -> Answer:
    rest = "objects/verify"
    repository = fake.find(owner, name)
    secret = headers.get("Authorization", "").removeprefix("RemoteAuth ")
    oid = str(body.get("oid"))
    if repository is None or fake.verifications.get(secret) != (repository.id, oid):
        return refusal(401, "Bad credentials", rest)
    if not repository.lfs.verify(oid, int(body.get("size", -1))):
        return refusal(404, NOT_THERE, rest)
    return _answer(rest, {})


def _action(href: str, expires_at: datetime, **about: Any) -> dict[str, Any]:
    return {"href": href, "expires_at": expires_at.strftime("%Y-%m-%dT%H:%M:%SZ")} | about
