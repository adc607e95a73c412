"""The embedded GitHub serves Git LFS as GitHub does, to the real git-lfs client too."""

import hashlib
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import requests

from embedded.github import FakeGitHub, FakeRepository, Fault
from embedded.github_lfs import pointer
from embedded.github_lfs_api import MEDIA_TYPE
from embedded.real_git import ENVIRONMENT, git
from support import github_contract

READ = {"contents": "read", "metadata": "read"}
BATCH = "/{owner}/{repo}.git/info/lfs/objects/batch"
CONTENT = bytes(range(256)) * 100
OID = hashlib.sha256(CONTENT).hexdigest()
ABSENT = "0" * 64

needs_git_lfs = pytest.mark.skipif(
    shutil.which("git-lfs") is None, reason="git-lfs is not installed: apt-get install git-lfs, or see git-lfs.com"
)


@dataclass(frozen=True)
class Hub:
    """A GitHub with one writable repository, and a token that may write to it."""

    github: FakeGitHub
    repository: FakeRepository
    token: str

    @property
    def url(self) -> str:
        return f"{self.github.server_url}/acme/game.git"

    def batch(self, operation: str, *objects: tuple[str, int], token: str | None = None, **options: Any) -> Any:
        """Ask the Batch API with a token, this hub's unless another is given."""
        body = {"operation": operation, "objects": [{"oid": oid, "size": size} for oid, size in objects]}
        headers = options.pop("headers", {"Accept": MEDIA_TYPE})
        url = options.pop("url", self.url) + "/info/lfs/objects/batch"
        auth = ("x-access-token", token or self.token)
        return requests.post(url, timeout=10, **{"json": body, "auth": auth, "headers": headers} | options)

    def link(self, oid: str, size: int) -> str:
        """Return the link to download an object."""
        return str(self.batch("download", (oid, size)).json()["objects"][0]["actions"]["download"]["href"])


@pytest.fixture
def hub(github: FakeGitHub, tmp_path: Path) -> Hub:
    path = tmp_path / "served" / "game.git"
    git("init", "--quiet", "--bare", "--initial-branch=main", path)
    repository = github.add("acme", "game", path, writable=True)
    return Hub(github, repository, github.personal_token("octocat", ["acme"]))


# -- downloads ---------------------------------------------------------------------------------------


def test_a_download_has_a_link_to_another_host_that_needs_no_token(hub: Hub) -> None:
    hub.repository.lfs.add(CONTENT)
    answer = hub.batch("download", (OID, len(CONTENT)))
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, MEDIA_TYPE)
    action = answer.json()["objects"][0]["actions"]["download"]
    assert action["href"].startswith("http://localhost:")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", action["expires_at"])
    assert requests.get(action["href"], timeout=10).content == CONTENT
    assert hub.github.requests("GET /lfs/")[-1].headers["Host"].startswith("localhost:")
    assert action["href"].rpartition("=")[2] in hub.github.secrets()


def test_what_is_wrong_with_one_object_is_said_of_it_alone(hub: Hub) -> None:
    hub.repository.lfs.add(CONTENT)
    removed = hub.repository.lfs.add(b"removed")
    hub.repository.lfs.errors[removed] = (410, "Object was removed by the owner")
    asked = [(OID, len(CONTENT)), (ABSENT, 1), (removed, 7), (OID, 1), ("not-an-oid", 1)]
    answers = hub.batch("download", *asked).json()["objects"]
    assert [(item["oid"], item["size"]) for item in answers] == asked
    assert [item.get("error", {}).get("code") for item in answers] == [None, 404, 410, 422, 422]
    assert answers[1]["error"]["message"] == "Object does not exist on the server"
    assert answers[2]["error"]["message"] == "Object was removed by the owner"
    hub.repository.lfs.remove(OID)
    assert hub.batch("download", asked[0]).json()["objects"][0]["error"]["code"] == 404


def test_a_large_object_of_zeros_takes_no_space(hub: Hub) -> None:
    size = 100 * 1024**2
    oid = hub.repository.lfs.add_sparse(size)
    assert hub.repository.lfs.path(oid).stat().st_blocks * 512 < 1024**2
    assert hub.repository.lfs.pointer(oid) == pointer(oid, size)
    link = hub.link(oid, size)
    digest = hashlib.sha256()
    with requests.get(link, stream=True, timeout=10) as answer:
        for block in answer.iter_content(1024**2):
            digest.update(block)
    assert digest.hexdigest() == oid


@pytest.mark.parametrize(
    ("asked", "wanted", "content_range"),
    [
        ("bytes=100-", CONTENT[100:], "bytes 100-25599/25600"),
        ("bytes=100-199", CONTENT[100:200], "bytes 100-199/25600"),
        ("bytes=25599-99999", CONTENT[-1:], "bytes 25599-25599/25600"),
    ],
)
def test_a_part_of_an_object_can_be_asked_for(hub: Hub, asked: str, wanted: bytes, content_range: str) -> None:
    hub.repository.lfs.add(CONTENT)
    answer = requests.get(hub.link(OID, len(CONTENT)), headers={"Range": asked}, timeout=10)
    assert (answer.status_code, answer.headers["Content-Range"]) == (206, content_range)
    assert answer.content == wanted


def test_a_part_beyond_the_end_is_refused(hub: Hub) -> None:
    hub.repository.lfs.add(CONTENT)
    answer = requests.get(hub.link(OID, len(CONTENT)), headers={"Range": "bytes=25600-"}, timeout=10)
    assert (answer.status_code, answer.headers["Content-Range"]) == (416, "bytes */25600")


# -- links -------------------------------------------------------------------------------------------


def test_a_link_with_an_authorization_header_is_refused_as_by_s3_and_recorded(hub: Hub) -> None:
    hub.repository.lfs.add(CONTENT)
    link = hub.link(OID, len(CONTENT))
    answer = requests.get(link, auth=("x-access-token", hub.token), timeout=10)
    assert (answer.status_code, "<Code>InvalidArgument</Code>" in answer.text) == (400, True)
    assert "Authorization" in hub.github.requests("GET /lfs/")[-1].headers
    assert requests.get(link, timeout=10).status_code == 200


def test_a_link_is_good_for_one_object_one_method_and_a_while(hub: Hub) -> None:
    hub.repository.lfs.add(CONTENT)
    other = hub.repository.lfs.add(b"another")
    link = hub.link(OID, len(CONTENT))
    wrong = [("GET", link.replace(OID, other)), ("PUT", link), ("GET", link[:-1] + "x"), ("GET", link.split("?")[0])]
    answers = [requests.request(method, url, timeout=10) for method, url in wrong]
    assert {(answer.status_code, "SignatureDoesNotMatch" in answer.text) for answer in answers} == {(403, True)}
    hub.github.expire_links()
    late = requests.get(link, timeout=10)
    assert (late.status_code, "Request has expired" in late.text) == (403, True)
    assert requests.get(hub.link(OID, len(CONTENT)), timeout=10).status_code == 200
    hub.github.link_life = timedelta(0)
    assert requests.get(hub.link(OID, len(CONTENT)), timeout=10).status_code == 403


def test_faults_befall_the_api_and_the_links(hub: Hub) -> None:
    hub.repository.lfs.add(CONTENT)
    link = hub.link(OID, len(CONTENT))
    hub.github.faults = [
        Fault("POST .*/objects/batch", status=429, headers={"Retry-After": "1"}, message="Slow down"),
        Fault("GET /lfs/", status=503),
        Fault("GET /lfs/", status=0, cut_after=100),
    ]
    slow = hub.batch("download", (OID, len(CONTENT)))
    assert (slow.status_code, slow.headers["Retry-After"], slow.json()["message"]) == (429, "1", "Slow down")
    assert slow.json().keys() == {"message", "request_id", "documentation_url"}
    assert "<Code>SlowDown</Code>" in requests.get(link, timeout=10).text
    with pytest.raises(requests.exceptions.ChunkedEncodingError, match="100 bytes read"):
        requests.get(link, timeout=10)
    assert requests.get(link, timeout=10).content == CONTENT


# -- who may ask for what ----------------------------------------------------------------------------


def test_who_may_not_is_refused_as_by_git(hub: Hub) -> None:
    github, one = hub.github, (ABSENT, 1)
    reader, stranger = (github.personal_token(*who) for who in (("r", ["acme"], READ), ("s", ["else"])))
    nobody = hub.batch("download", one, auth=None)
    assert (nobody.status_code, nobody.headers["LFS-Authenticate"]) == (401, 'Basic realm="GitHub"')
    assert hub.batch("download", one, token="wrong").status_code == 401
    assert hub.batch("download", one, token=stranger).status_code == 404
    assert hub.batch("download", one, token=reader).status_code == 200
    assert hub.batch("upload", one, token=reader).status_code == 403
    for name in ("nothing", "game.wiki"):
        assert hub.batch("download", one, url=f"{github.server_url}/acme/{name}.git").status_code == 404
    hub.repository.private = False
    assert hub.batch("download", one, auth=None).status_code == 200
    assert hub.batch("upload", one, auth=None).status_code == 401


def test_a_request_that_is_not_git_lfs_own_is_refused(hub: Hub) -> None:
    one = (ABSENT, 1)
    assert hub.batch("download", one, headers={"Accept": "application/json"}).status_code == 406
    assert hub.batch("download", *[one] * 100).status_code == 200
    assert hub.batch("download", *[one] * 101).status_code == 413
    assert hub.batch("remove", one).status_code == 422
    assert hub.batch("download").status_code == 422
    ssh = {"operation": "download", "transfers": ["ssh"], "objects": [{"oid": ABSENT, "size": 1}]}
    assert hub.batch("download", json=ssh).status_code == 422


def test_a_former_name_sends_readers_on(hub: Hub) -> None:
    hub.repository.old_name = "old"
    old = f"{hub.github.server_url}/acme/old.git"
    answer = hub.batch("download", (ABSENT, 1), url=old, allow_redirects=False)
    assert (answer.status_code, answer.headers["Location"]) == (301, hub.url + "/info/lfs/objects/batch")
    assert hub.batch("upload", (OID, len(CONTENT)), url=old).status_code == 200


# -- uploads -----------------------------------------------------------------------------------------


def upload_actions(hub: Hub) -> dict[str, Any]:
    actions: dict[str, Any] = hub.batch("upload", (OID, len(CONTENT))).json()["objects"][0]["actions"]
    return actions


def verify(action: dict[str, Any], **changes: Any) -> int:
    body = {"oid": OID, "size": len(CONTENT)} | changes
    return requests.post(action["href"], json=body, headers=action["header"], timeout=10).status_code


def test_an_upload_counts_once_it_has_been_verified(hub: Hub) -> None:
    actions = upload_actions(hub)
    assert verify(actions["verify"]) == 404
    put = requests.put(actions["upload"]["href"], data=CONTENT, headers=actions["upload"]["header"], timeout=10)
    assert put.status_code == 200
    assert hub.repository.lfs.oids() == set()
    assert verify(actions["verify"], size=1) == 404
    assert verify(actions["verify"]) == 200
    assert hub.repository.lfs.oids() == {OID}
    assert hub.repository.lfs.path(OID).read_bytes() == CONTENT
    assert hub.batch("upload", (OID, len(CONTENT))).json()["objects"] == [{"oid": OID, "size": len(CONTENT)}]


def test_only_the_object_itself_can_be_uploaded_and_only_as_it_was_said(hub: Hub) -> None:
    upload, verification = upload_actions(hub).values()
    wrong = requests.put(upload["href"], data=b"something else", headers=upload["header"], timeout=10)
    assert (wrong.status_code, "XAmzContentSHA256Mismatch" in wrong.text) == (400, True)
    assert requests.put(upload["href"], data=CONTENT, timeout=10).status_code == 403
    assert requests.put(upload["href"], data=CONTENT, headers=upload["header"], timeout=10).status_code == 200
    assert verify(verification, oid=ABSENT) == 401
    assert verify(verification | {"header": {"Accept": MEDIA_TYPE}}) == 401
    assert list(hub.repository.lfs.folder.iterdir()) == [hub.repository.lfs.path(OID + ".unverified")]


def test_an_object_over_the_limit_is_refused(hub: Hub) -> None:
    hub.github.lfs_limit = 100
    over, under = hub.batch("upload", (ABSENT, 101), (OID, 100)).json()["objects"]
    assert over["error"] == {"code": 422, "message": "Size must be less than or equal to 100"}
    assert "upload" in under["actions"]


# -- the real client ---------------------------------------------------------------------------------

CLIENT = {
    "credential.helper": '!f() { echo username=x-access-token; echo "password=$TOKEN"; }; f',
    "filter.lfs.clean": "git-lfs clean -- %f",
    "filter.lfs.smudge": "git-lfs smudge -- %f",
    "filter.lfs.process": "git-lfs filter-process",
    "filter.lfs.required": "true",
    "lfs.transfer.maxretrydelay": "1",
}


def client(hub: Hub, cwd: Path, *arguments: object, code: int = 0) -> str:
    """Run git with Git LFS installed, and return what it said."""
    pairs = list(enumerate(CLIENT.items()))
    keys = {f"GIT_CONFIG_KEY_{index}": key for index, (key, _) in pairs}
    values = {f"GIT_CONFIG_VALUE_{index}": value for index, (_, value) in pairs}
    own = {"GIT_CONFIG_COUNT": str(len(pairs)), "TOKEN": hub.token, "HOME": str(cwd)}
    environment = os.environ | ENVIRONMENT | keys | values | own
    command = ["git", *map(str, arguments)]
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == code, done.stderr
    return done.stdout + done.stderr


def committed(hub: Hub, folder: Path, files: dict[str, bytes]) -> Path:
    """Clone the repository and commit files that Git LFS tracks."""
    client(hub, folder, "clone", "--quiet", hub.url, "work")
    work = folder / "work"
    client(hub, work, "lfs", "install", "--local")
    client(hub, work, "lfs", "track", "*.bin")
    for name, content in files.items():
        (work / name).write_bytes(content)
    client(hub, work, "add", ".")
    client(hub, work, "commit", "--quiet", "--message", "Large files")
    return work


@needs_git_lfs
def test_the_real_client_pushes_objects_and_another_clone_pulls_them_back(hub: Hub, tmp_path: Path) -> None:
    files = {f"{number}.bin": os.urandom(1000 * number + 1) for number in range(120)}
    work = committed(hub, tmp_path, files)
    client(hub, work, "push", "--quiet", "origin", "HEAD:main")
    oids = {hashlib.sha256(content).hexdigest() for content in files.values()}
    assert hub.repository.lfs.oids() == oids
    first = pointer(hashlib.sha256(files["0.bin"]).hexdigest(), 1)
    assert git(f"--git-dir={hub.repository.path}", "show", "main:0.bin") == first
    client(hub, tmp_path, "clone", "--quiet", hub.url, "again")
    assert {path.name: path.read_bytes() for path in (tmp_path / "again").glob("*.bin")} == files
    # More objects than go into one request, each put once and got once, with no token where S3 wants none.
    assert len(hub.github.requests("PUT /lfs/")) == len(hub.github.requests("GET /lfs/")) == len(files)
    assert not any("Authorization" in item.headers for item in hub.github.requests("(PUT|GET) /lfs/"))
    assert {item.status for item in hub.github.requests("POST .*/objects/verify")} == {200}
    assert {item.status for item in hub.github.requests("POST .*/locks/verify")} <= {200, 401}
    assert len(hub.github.requests("POST .*/objects/batch")) >= 4


@needs_git_lfs
def test_the_real_client_resumes_a_download_that_was_cut(hub: Hub, tmp_path: Path) -> None:
    work = committed(hub, tmp_path, {"a.bin": CONTENT})
    client(hub, work, "push", "--quiet", "origin", "HEAD:main")
    hub.github.faults = [Fault("GET /lfs/", status=0, cut_after=10_000)]
    client(hub, tmp_path, "clone", "--quiet", hub.url, "again")
    assert (tmp_path / "again" / "a.bin").read_bytes() == CONTENT
    cut, resumed = hub.github.requests("GET /lfs/")
    assert (cut.status, resumed.status) == (200, 206)
    assert resumed.headers["Range"] == "bytes=10000-25599"


@needs_git_lfs
def test_the_real_client_is_told_what_is_wrong(hub: Hub, tmp_path: Path) -> None:
    work = committed(hub, tmp_path, {"a.bin": CONTENT})
    hub.github.lfs_limit = 100
    refused = client(hub, work, "push", "--quiet", "origin", "HEAD:main", code=1)
    assert "Size must be less than or equal to 100" in refused
    hub.github.lfs_limit = 10**9
    client(hub, work, "push", "--quiet", "origin", "HEAD:main")
    hub.repository.lfs.remove(OID)
    assert "Object does not exist on the server" in client(hub, tmp_path, "clone", hub.url, "again", code=128)


# -- pushes of pointers ------------------------------------------------------------------------------


@needs_git_lfs
def test_a_push_that_points_at_unknown_objects_is_refused(hub: Hub, tmp_path: Path) -> None:
    work = committed(hub, tmp_path, {"a.bin": CONTENT})
    refused = client(hub, work, "push", "--no-verify", "origin", "HEAD:main", code=1)
    assert "remote: error: GH008: Your push referenced at least 1 unknown Git LFS object:" in refused
    assert f"remote:     {OID}" in refused
    assert "(pre-receive hook declined)" in refused
    assert git("ls-remote", hub.repository.path) == b""
    hub.repository.lfs.add(CONTENT)
    client(hub, work, "push", "--no-verify", "origin", "HEAD:main")
    hub.repository.lfs.remove(OID)
    # What is there already is not looked at again.
    client(hub, work, "push", "--no-verify", "origin", "HEAD:again")


@needs_git_lfs
def test_another_server_takes_pointers_to_unknown_objects(hub: Hub, tmp_path: Path) -> None:
    hub.github.checks_lfs_pointers = False
    client(hub, committed(hub, tmp_path, {"a.bin": CONTENT}), "push", "--no-verify", "origin", "HEAD:main")
    assert git("ls-remote", hub.repository.path) != b""


# -- the contract ------------------------------------------------------------------------------------


def test_answers_and_requests_are_held_to_git_lfs_own_schemas(hub: Hub) -> None:
    hub.repository.lfs.add(CONTENT)
    good = hub.batch("download", (OID, len(CONTENT)), (ABSENT, 1)).json()
    assert github_contract.problems("POST", BATCH, 200, good) == []
    no_size = {"objects": [{"oid": OID}]}
    strange = {"objects": [{"oid": OID, "size": 1, "actions": {"fetch": {"href": "x"}}}]}
    nothing: dict[str, Any] = {}
    for wrong in (no_size, strange, nothing):
        assert github_contract.problems("POST", BATCH, 200, wrong) != []
    assert github_contract.problems("POST", BATCH, 404, {"message": "Not Found"}) == []
    assert github_contract.problems("POST", BATCH, 404, {"error": "Not Found"}) != []
    locks = BATCH.replace("objects/batch", "locks/verify")
    assert github_contract.problems("POST", locks, 200, {"ours": [], "theirs": []}) == []
    assert github_contract.problems("POST", locks, 200, {"ours": []}) != []
    request = {"operation": "download", "objects": [{"oid": OID, "size": 1}]}
    assert github_contract.request_problems("POST", BATCH, request) == []
    assert github_contract.request_problems("POST", BATCH, request | {"objects": [{"oid": OID, "size": "1"}]}) != []
    assert github_contract.request_problems("POST", BATCH, {"objects": []}) != []


def test_a_wrong_request_to_the_batch_api_is_seen(hub: Hub) -> None:
    seen: list[str] = []
    hub.github.on_request = lambda *request: seen.extend(github_contract.request_problems(*request))
    hub.batch("download", json={"objects": []})
    assert [problem for problem in seen if "operation" in problem] != []
