"""Git LFS objects in a backup: found in the history, asked for in batches, stored once."""

import base64
import hashlib
import json
import os
import signal
import threading
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest

from bench.measure import watch
from embedded.github import FakeRepository, Fault, down
from embedded.github_lfs import LfsStore, pointer
from embedded.organisation import Stream
from embedded.ports import wait_until
from embedded.programs import REALLY
from embedded.real_git import git
from embedded.s3_proxy import S3Fault, S3Proxy
from github_s3_backup.runtime.capacity import PROGRAM_MEMORY, UPLOAD_BUFFERS
from github_s3_backup.s3.content_store import MAX_AGE_IN_LIST
from github_s3_backup.s3.upload import PART_SIZE
from support import content
from support.world import Run, World

BATCH = r"POST .*/info/lfs/objects/batch"
FILE = r"GET /lfs/"
AT_ONCE = {"Retry-After": "0"}
MANY = 101
MB = 1024**2
EMPTY = hashlib.sha256(b"").hexdigest()


def lfs_keys(world: World) -> set[str]:
    return {key for key in world.stored_keys() if key.startswith("github-backup-lfs/")}


def key_of(oid: str, owner: str = "acme") -> str:
    return f"github-backup-lfs/{owner}/{oid[:2]}/{oid}"


def list_of(world: World, run: Run, name: str = "acme/game") -> dict[str, Any]:
    entry = run.repos.get(name) or run.failures[name]["partial"]
    return world.read_list(entry["lfs"]["list"])


def missing_of(world: World, run: Run) -> dict[str, str]:
    """Return what the list says of the objects that are missing."""
    return {item["oid"]: item["error"] for item in list_of(world, run)["missing"]}


def asked_for(world: World) -> list[str]:
    """Return the OIDs that links were asked for, each time anew."""
    return [item["oid"] for request in world.github.requests(BATCH) for item in request.body["objects"]]


def downloaded(world: World) -> list[str]:
    return [request.path.partition("?")[0].rpartition("/")[2] for request in world.github.requests(FILE)]


def add_objects(world: World, *contents: bytes, name: str = "game", **about: Any) -> tuple[FakeRepository, LfsStore]:
    """Add a repository with a pointer to each of these contents."""
    store = LfsStore(world.folder / f"lfs-{name}")
    pointers = {f"{number}.bin": store.pointer(store.add(body)) for number, body in enumerate(contents)}
    return content.add(world, name, lambda stream: _commit(stream, pointers), lfs=store, **about), store


def _commit(stream: Stream, files: dict[str, bytes]) -> None:
    stream.commit("refs/heads/main", files)


def push_object(repository: FakeRepository, body: bytes) -> str:
    """Push a pointer to a new object and return its OID."""
    oid = repository.lfs.add(body)
    content.push(repository.path, {f"{oid}.bin": repository.lfs.pointer(oid)})
    return oid


def next_day(world: World, **changes: str) -> Run:
    """Run again as if the last run had been yesterday's; what GitHub was asked until then is forgotten."""
    world.yesterday()
    world.github.exchanges.clear()
    return world.run(**changes)


def full_day(world: World) -> Run:
    """Run on the day on which everything is made afresh."""
    return next_day(world, FULL_BACKUP_DAYS="1")


def remove_from_s3(world: World, oid: str) -> None:
    world.stack.s3.client().delete_object(Bucket=world.bucket, Key=key_of(oid))


def open_uploads(world: World) -> list[Any]:
    return world.stack.s3.client().list_multipart_uploads(Bucket=world.bucket).get("Uploads", [])


# -- a day -----------------------------------------------------------------------------------------


def test_every_object_that_the_history_points_at_is_stored_by_its_content(world: World) -> None:
    _, lfs = content.add_with_lfs(world)
    run = world.run()
    assert run.code == 0, run.output
    summary = run.repos["acme/game"]["lfs"]
    assert (summary["objects"], summary["missing"], summary["size_bytes"]) == (4, 0, 21_003)
    assert summary["list"]["s3_key"] == world.key("acme/game.lfs.json")
    assert lfs_keys(world) == {key_of(oid) for oid in lfs.oids}


def test_a_repository_without_pointers_has_none(world: World) -> None:
    world.add("api")
    run = world.run()
    assert run.repos["acme/api"]["lfs"] == {"objects": 0, "size_bytes": 0, "missing": 0, "list": None}
    assert world.github.requests(BATCH) == []


def test_an_empty_repository_has_none(world: World) -> None:
    world.add("empty")
    run = world.run()
    assert run.code == 0, run.output
    assert run.repos["acme/empty"]["lfs"]["objects"] == 0


def test_a_second_day_without_a_change_asks_nothing_and_writes_nothing(world: World) -> None:
    content.add_with_lfs(world)
    world.run()
    world.yesterday()
    before = world.stored_keys()
    world.github.exchanges.clear()
    run = world.run()
    assert run.repos["acme/game"]["status"] == "unchanged"
    assert run.repos["acme/game"]["lfs"]["objects"] == 4
    assert world.github.requests(BATCH) == []
    assert {key for key in world.stored_keys() - before if "/runs/" not in key} == {world.key("manifest.json")}


def test_a_hundred_objects_take_one_request_and_one_more_takes_one(world: World) -> None:
    repository, store = add_objects(world, *(b"%d" % number for number in range(MANY)))
    run = world.run()
    assert run.code == 0, run.output
    assert run.repos["acme/game"]["lfs"]["objects"] == MANY
    assert [len(request.body["objects"]) for request in world.github.requests(BATCH)].count(100) == MANY // 100
    assert len(world.github.requests(BATCH)) == MANY // 100 + 1
    assert sorted(asked_for(world)) == sorted(downloaded(world)) == sorted(store.oids())

    new = push_object(repository, b"new")
    second = next_day(world)
    assert second.code == 0, second.output
    assert second.repos["acme/game"]["lfs"]["objects"] == MANY + 1
    assert asked_for(world) == downloaded(world) == [new]


def test_the_day_of_the_full_backup_asks_github_for_nothing_that_s3_has(world: World) -> None:
    content.add_with_lfs(world)
    before = list_of(world, world.run())
    run = full_day(world)
    assert run.repos["acme/game"]["status"] == "stored"
    assert world.github.requests(BATCH) == []
    assert [item["version_id"] for item in list_of(world, run)["objects"]] == [
        item["version_id"] for item in before["objects"]
    ]


def test_every_size_that_a_pointer_names_is_tried_and_what_the_server_has_wins(world: World) -> None:
    """A merge that went wrong leaves pointers with another size. Which one is right is known to the server alone."""
    store = LfsStore(world.folder / "lfs")
    oids = [store.add(b"first"), store.add(b"the second"), store.add(b"last"), "e" * 64]
    sizes = {oids[0]: (5, 3), oids[1]: (10, 99), oids[2]: (4, 0), oids[3]: (7, 8)}
    files = {f"{oid[:9]}-{size}": pointer(oid, size) for oid, given in sizes.items() for size in given}
    content.add(world, "game", lambda stream: _commit(stream, files), lfs=store)
    run = world.run()
    assert run.code == 0, run.output
    assert {item["oid"]: item["size_bytes"] for item in list_of(world, run)["objects"]} == {
        oids[0]: 5,
        oids[1]: 10,
        oids[2]: 4,
    }
    assert missing_of(world, run).keys() == {oids[3]}
    world.github.exchanges.clear()
    assert len(list_of(world, full_day(world))["objects"]) == 3
    assert downloaded(world) == [], "S3 has them, each under one of its sizes"


def test_an_empty_object_is_stored_without_a_server(world: World) -> None:
    content.add(world, "game", lambda stream: _commit(stream, {"empty.bin": pointer(EMPTY, 0)}))
    run = world.run()
    assert run.code == 0, run.output
    (item,) = list_of(world, run)["objects"]
    assert (item["oid"], item["size_bytes"]) == (EMPTY, 0)
    assert world.github.requests(BATCH) == []


def test_what_two_repositories_share_is_stored_once(world: World) -> None:
    shared = os.urandom(5000)
    for name in ("game", "fork-of-game"):
        add_objects(world, shared, name=name)
    run = world.run()
    assert run.code == 0, run.output
    (key,) = lfs_keys(world)
    versions = world.stack.s3.client().list_object_versions(Bucket=world.bucket, Prefix=key)["Versions"]
    assert len(versions) == 1
    first, second = (list_of(world, run, f"acme/{name}")["objects"] for name in ("game", "fork-of-game"))
    assert first[0]["version_id"] == second[0]["version_id"]


def test_an_object_that_somebody_deleted_is_fetched_again_on_the_day_of_the_full_backup(world: World) -> None:
    _, lfs = content.add_with_lfs(world)
    world.run()
    remove_from_s3(world, lfs.on_main)
    run = full_day(world)
    assert run.code == 0, run.output
    assert downloaded(world) == [lfs.on_main]
    assert run.repos["acme/game"]["lfs"]["objects"] == 4


def test_something_else_under_the_key_is_left_alone(world: World) -> None:
    _, store = add_objects(world, b"content")
    (oid,) = store.oids()
    client = world.stack.s3.client()
    other = client.put_object(Bucket=world.bucket, Key=key_of(oid), Body=b"another")["VersionId"]
    run = world.run()
    assert run.code == 0, run.output
    assert run.named("key taken by another object")
    (item,) = list_of(world, run)["objects"]
    assert item["s3_key"] == f"{key_of(oid)}.{run.manifest['date'] if run.manifest else ''}"
    assert client.head_object(Bucket=world.bucket, Key=key_of(oid))["VersionId"] == other
    again = full_day(world)
    assert list_of(world, again)["objects"][0]["version_id"] == item["version_id"]
    assert world.github.requests(BATCH) == []


def test_a_list_that_was_lost_is_made_again_from_what_s3_has(world: World) -> None:
    content.add_with_lfs(world)
    world.run()
    stored = world.yesterday()["repos"][0]["lfs"]["list"]
    client = world.stack.s3.client()
    client.delete_object(Bucket=world.bucket, Key=stored["s3_key"], VersionId=stored["version_id"])
    world.github.exchanges.clear()
    run = world.run()
    assert run.code == 0, run.output
    assert run.repos["acme/game"]["status"] == "stored"
    assert run.named("last list not usable")
    assert run.repos["acme/game"]["lfs"]["objects"] == 4
    assert world.github.requests(BATCH) == []


def age_objects(world: World, proxy: S3Proxy, days: int) -> None:
    """Let yesterday's list say, and S3 too, that the objects were written so many days ago."""
    moment = datetime.now(UTC) - timedelta(days)
    proxy.answer_headers["HEAD .*/github-backup-lfs/"] = {"Last-Modified": format_datetime(moment, usegmt=True)}
    manifest = world.yesterday()
    stored = manifest["repos"][0]["lfs"]["list"]
    document = world.read_list(stored)
    for item in document["objects"]:
        item["stored_at"] = f"{moment:%Y-%m-%dT%H:%M:%SZ}"
    body = json.dumps(document).encode()
    checksum = base64.b64encode(hashlib.sha256(body).digest()).decode()
    put = world.stack.s3.client().put_object(
        Bucket=world.bucket, Key=stored["s3_key"], Body=body, ChecksumSHA256=checksum
    )
    stored |= {"version_id": put["VersionId"], "size_bytes": len(body), "s3_checksum_sha256": checksum}
    stored["sha256"] = hashlib.sha256(body).hexdigest()
    world.put_manifest(manifest)


@pytest.mark.parametrize(("days", "is_written_again"), [(MAX_AGE_IN_LIST, False), (MAX_AGE_IN_LIST + 1, True)])
def test_objects_are_written_again_before_a_new_list_names_what_expires_too_early(
    world: World, s3_proxy: S3Proxy, days: int, is_written_again: bool
) -> None:
    repository, lfs = content.add_with_lfs(world)
    world.run()
    new = push_object(repository, b"new")
    age_objects(world, s3_proxy, days)
    world.github.exchanges.clear()
    run = world.run()
    assert run.code == 0, run.output
    assert downloaded(world) == [new]
    today = run.manifest["date"] if run.manifest else ""
    dated = {item["oid"] for item in list_of(world, run)["objects"] if item["s3_key"].endswith(f".{today}")}
    assert dated == (lfs.oids if is_written_again else set())
    assert len(run.named("writing content again")) == len(dated)
    assert {key_of(oid) for oid in lfs.oids} <= lfs_keys(world), "the old ones stay"


# -- faults ----------------------------------------------------------------------------------------


def test_a_server_in_trouble_is_asked_again(world: World) -> None:
    content.add_with_lfs(world)
    world.github.faults = [
        Fault(where, status=status, headers=AT_ONCE) for where in (BATCH, FILE) for status in (429, 500, 503)
    ]
    run = world.run()
    assert run.code == 0, run.output
    assert {line["wait_source"] for line in run.named("retrying")} == {"Retry-After"}
    assert run.repos["acme/game"]["lfs"]["objects"] == 4


def test_links_that_expired_and_connections_that_are_cut_cost_nothing(world: World) -> None:
    add_objects(world, os.urandom(3_000_000), os.urandom(2000))
    world.github.link_life = timedelta(0)
    world.github.faults = [Fault(FILE, status=0, cut_after=1_000_001, after=2)]
    checked = world.github.on_request

    def live_again(*request: Any) -> None:
        checked(*request)
        if world.github.requests(BATCH):
            world.github.link_life = timedelta(minutes=15)

    world.github.on_request = live_again
    run = world.run()
    assert run.code == 0, run.output
    assert {request.status for request in world.github.requests(FILE)} >= {200, 403}
    assert len(world.github.requests(BATCH)) >= 3


def test_a_token_that_is_rejected_on_the_way_is_replaced(world: World) -> None:
    content.add_with_lfs(world)
    world.github.faults = [Fault(BATCH, status=401, message="Bad credentials")]
    run = world.run()
    assert run.code == 0, run.output
    assert [request.status for request in world.github.requests(BATCH)] == [401, 200]


@pytest.mark.parametrize("what", ["other", "short", "long"])
@pytest.mark.parametrize("size", [3000, PART_SIZE + 3000])
def test_bytes_that_are_not_the_objects_are_never_stored_under_its_oid(world: World, size: int, what: str) -> None:
    repository, store = add_objects(world, bytes(size), b"right")
    oid = hashlib.sha256(bytes(size)).hexdigest()
    store.path(oid).write_bytes({"other": b"x" * size, "short": bytes(size - 1), "long": bytes(size + 1)}[what])
    repository.lfs = Lying(store.folder, {oid: size})
    run = world.run()
    assert run.code == 0, run.output
    assert missing_of(world, run).keys() == {oid}
    assert lfs_keys(world) == {key_of(hashlib.sha256(b"right").hexdigest())}
    assert open_uploads(world) == []
    assert run.named("LFS objects missing")[0]["objects"] == 1


@pytest.mark.parametrize("raw", ["wrong", "too long"])
def test_wrong_bytes_are_asked_for_once_more(world: World, raw: str) -> None:
    add_objects(world, b"right")
    world.github.faults = [Fault(FILE, status=200, raw=raw)]
    run = world.run()
    assert run.code == 0, run.output
    assert (run.repos["acme/game"]["lfs"]["objects"], run.repos["acme/game"]["lfs"]["missing"]) == (1, 0)
    assert len(downloaded(world)) == 2


class Lying(LfsStore):
    """A store that says other sizes of its objects than they have."""

    def __init__(self, folder: Path, sizes: dict[str, int]) -> None:
        super().__init__(folder)
        self._sizes = sizes

    def size(self, oid: str) -> int | None:
        return self._sizes.get(oid) or super().size(oid)


@pytest.mark.parametrize("what", ["server", "link"])
def test_a_server_that_never_works_fails_the_repository_and_no_other(world: World, what: str) -> None:
    content.add_with_lfs(world)
    world.add("api")
    where = {"server": BATCH, "link": FILE}[what]
    world.github.faults = [down(where)]
    run = world.run()
    assert run.code == 1, run.output
    assert run.repos.keys() == {"acme/api"}
    failure = run.failures["acme/game"]
    assert failure["stage"] == "clone"
    assert failure["error"].startswith("Git LFS: ")
    assert "503" in failure["error"]
    assert failure["partial"]["s3_key"] == world.key("acme/game.bundle")
    assert lfs_keys(world) <= {key_of(EMPTY)}, "which needs no server"

    world.github.faults = []
    healed = next_day(world)
    assert healed.code == 0, healed.output
    assert healed.repos["acme/game"]["lfs"]["objects"] == 4


@pytest.mark.exhaustive
def test_an_object_in_parts_passes_through_little_memory(world: World) -> None:
    """300 MB, of which no more is held at once than the parts of one upload."""
    store = LfsStore(world.folder / "lfs-game")
    oids = [store.add_sparse(300 * MB), store.add_sparse(PART_SIZE), store.add(b"")]
    pointers = {f"{oid}.bin": store.pointer(oid) for oid in oids}
    content.add(world, "game", lambda stream: _commit(stream, pointers), lfs=store)
    world.github.faults = [Fault(f"{FILE}.*{oids[0]}", status=0, cut_after=100 * MB)]
    process = world.start(*REALLY)  # its memory is its own from the start
    memory, disk = watch(process.pid, world.scratch)
    run = world.end(process)
    assert run.code == 0, run.output
    assert lfs_keys(world) == {key_of(oid) for oid in oids}
    assert "bytes=" in str(world.github.requests(FILE)[-1].headers)
    assert memory < PROGRAM_MEMORY + UPLOAD_BUFFERS
    assert disk < 10 * MB


def test_a_server_that_says_the_token_finds_it_in_no_list_and_no_manifest(world: World) -> None:
    """World looks into the log, the manifest and the lists of every run."""
    _, lfs = content.add_with_lfs(world)
    checked = world.github.on_request

    def answer_with_the_token(*request: Any) -> None:
        checked(*request)
        lfs.store.errors[lfs.on_main] = 404, f"asked for with {world.github.issued[-1]}"

    world.github.on_request = answer_with_the_token
    run = world.run()
    assert run.code == 0, run.output
    assert missing_of(world, run)[lfs.on_main].endswith("asked for with ***")
    world.github.echo_token = True
    world.github.faults = [Fault(BATCH, status=403, times=99)]
    assert full_day(world).failures["acme/game"]["error"].endswith("***")


# -- what the server does not have -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "words"), [(404, "Object does not exist"), (410, "Removed by the owner"), (422, "Invalid object")]
)
def test_an_object_that_was_never_there_is_recorded_and_no_failure(world: World, code: int, words: str) -> None:
    _, lfs = content.add_with_lfs(world)
    lfs.store.errors[lfs.on_a_branch] = code, words
    run = world.run()
    assert run.code == 0, run.output
    summary = run.repos["acme/game"]["lfs"]
    assert (summary["objects"], summary["missing"], summary["size_bytes"]) == (3, 1, 21_000)
    (missing,) = list_of(world, run)["missing"]
    assert (missing["oid"], missing["size_bytes"]) == (lfs.on_a_branch, 3)
    assert str(code) in missing["error"]
    assert words in missing["error"]
    assert run.named("LFS objects missing")[0]["objects"] == 1
    assert next_day(world).code == 0


def test_a_link_to_an_object_that_is_gone_counts_as_missing(world: World) -> None:
    _, lfs = content.add_with_lfs(world)
    world.github.faults = [Fault(f"{FILE}.*{lfs.on_main}", status=404, times=99)]
    run = world.run()
    assert run.code == 0, run.output
    assert "404" in missing_of(world, run)[lfs.on_main]


def test_an_object_that_turns_up_later_is_stored_with_the_next_change(world: World) -> None:
    repository, lfs = content.add_with_lfs(world)
    lfs.store.errors[lfs.on_main] = 404, "Object does not exist"
    world.run()
    lfs.store.errors.clear()
    new = push_object(repository, b"new")
    run = next_day(world)
    assert run.repos["acme/game"]["lfs"]["missing"] == 0
    assert sorted(downloaded(world)) == sorted([lfs.on_main, new])


@pytest.mark.parametrize("code", [404, 410, 422])
def test_an_object_that_is_lost_on_both_sides_fails_the_repository(world: World, code: int) -> None:
    _, lfs = content.add_with_lfs(world)
    world.run()
    remove_from_s3(world, lfs.on_main)
    lfs.store.errors[lfs.on_main] = code, "It is no more"
    run = full_day(world)
    assert run.code == 1, run.output
    failure = run.failures["acme/game"]
    assert lfs.on_main in failure["error"]
    assert f"{code}: It is no more" in failure["error"]
    assert failure["partial"]["lfs"]["objects"] == 3
    assert missing_of(world, run).keys() == {lfs.on_main}


@pytest.mark.parametrize(("code", "times"), [(403, 1), (500, 6)])
def test_an_object_that_is_refused_fails_the_repository_until_it_is_there(world: World, code: int, times: int) -> None:
    _, lfs = content.add_with_lfs(world)
    lfs.store.errors[lfs.on_main] = code, "Not now"
    run = world.run()
    assert run.code == 1, run.output
    failure = run.failures["acme/game"]
    assert failure["stage"] == "clone"
    assert f"1 of 4 objects could not be stored, the first {lfs.on_main}" in failure["error"]
    assert f"{code}: Not now" in failure["error"]
    assert failure["partial"]["lfs"]["objects"] == 3
    assert missing_of(world, run).keys() == {lfs.on_main}
    assert asked_for(world).count(lfs.on_main) == times

    lfs.store.errors.clear()
    healed = next_day(world)
    assert healed.code == 0, healed.output
    assert healed.repos["acme/game"]["lfs"]["objects"] == 4
    assert downloaded(world) == [lfs.on_main], "what was stored is not fetched again"


def disabled() -> Fault:
    return Fault(BATCH, status=403, message="Git LFS is disabled for this repository.", times=99)


def test_that_git_lfs_is_switched_off_is_noted_until_the_server_is_asked_again(world: World) -> None:
    content.add_with_lfs(world)
    world.github.faults = [disabled()]
    run = world.run()
    assert run.code == 0, run.output
    entry = run.repos["acme/game"]
    assert entry["lfs"] is None
    (refusal,) = entry["not_read"]
    assert refusal["content"] == "lfs"
    assert "Git LFS is disabled" in refusal["error"]
    assert run.named("content not readable")[0]["content"] == "lfs"
    for _ in range(2):
        unchanged = next_day(world)
        assert unchanged.code == 0, unchanged.output
        assert unchanged.repos["acme/game"]["status"] == "unchanged"
        assert unchanged.repos["acme/game"]["lfs"] is None
        assert unchanged.repos["acme/game"]["not_read"] == entry["not_read"]
        assert world.github.requests(BATCH) == []
    world.github.faults = []
    entry = full_day(world).repos["acme/game"]
    assert (entry["lfs"]["objects"], entry["not_read"]) == (4, [])


@pytest.mark.parametrize("status", [403, 404, 501])
def test_objects_that_are_refused_fail_the_repository_and_are_asked_for_every_day(world: World, status: int) -> None:
    content.add_with_lfs(world)
    words = "This repository is over its data quota"
    wait = {"Retry-After": "7200"} if status >= 500 else {}
    world.github.faults = [Fault(BATCH, status, wait, words, times=99)]
    for run in (world.run(), next_day(world)):
        assert run.code == 1, run.output
        failure = run.failures["acme/game"]
        assert f"{status}" in failure["error"]
        assert words in failure["error"]
        assert failure["not_stored"] == ["lfs"]
        assert failure["partial"]["status"] == "stored"
        assert (failure["partial"]["lfs"], failure["partial"]["not_read"]) == (None, [])
    assert world.github.requests(BATCH)
    world.github.faults = []
    healed = next_day(world)
    assert healed.code == 0, healed.output
    assert healed.repos["acme/game"]["lfs"]["objects"] == 4


def test_a_refusal_that_an_earlier_release_only_noted_is_asked_for_again(world: World) -> None:
    content.add_with_lfs(world)
    world.github.faults = [disabled()]
    world.run()
    manifest = world.yesterday()
    manifest["repos"][0]["not_read"][0]["error"] = "GitHub answered 403: This repository is over its data quota"
    world.put_manifest(manifest)
    world.github.faults = []
    run = world.run()
    assert run.code == 0, run.output
    assert (run.repos["acme/game"]["lfs"]["objects"], run.repos["acme/game"]["not_read"]) == (4, [])


@pytest.mark.parametrize("status", [403, 404])
def test_a_server_that_refuses_what_was_there_fails_the_repository_each_day(world: World, status: int) -> None:
    repository, _ = content.add_with_lfs(world)
    first = world.run()
    world.github.faults = [Fault(BATCH, status=status, message="No more LFS", times=99)]
    for number in (1, 2):
        new = push_object(repository, b"%d" % number)
        run = next_day(world)
        assert run.code == 1, run.output
        assert "No more LFS" in run.failures["acme/game"]["error"]
        partial = run.failures["acme/game"]["partial"]
        assert partial["lfs"]["objects"] == first.repos["acme/game"]["lfs"]["objects"]
        assert new in missing_of(world, run)


def test_a_server_that_refuses_all_that_is_left_fails_the_repository_each_day(world: World) -> None:
    """Everything that was stored left the history: nothing of the new objects can be had."""
    repository, _ = add_objects(world, b"old")
    world.run()
    world.github.faults = [Fault(BATCH, status=403, message="No more LFS", times=99)]
    oid = repository.lfs.add(b"new")
    git(f"--git-dir={repository.path}", "update-ref", "-d", "refs/heads/main")
    stream = Stream()
    _commit(stream, {"new.bin": repository.lfs.pointer(oid)})
    git(f"--git-dir={repository.path}", "fast-import", "--quiet", stdin=bytes(stream.data))
    git(f"--git-dir={repository.path}", "gc", "--quiet", "--prune=now")
    for _ in range(3):
        run = next_day(world)
        assert run.code == 1, run.output
        assert "No more LFS" in run.failures["acme/game"]["error"]
        assert run.failures["acme/game"]["partial"]["not_read"] == []


def test_a_rate_limit_is_no_refusal(world: World) -> None:
    content.add_with_lfs(world)
    world.github.faults = [Fault(BATCH, status=403, headers=AT_ONCE, message="secondary rate limit")]
    run = world.run()
    assert run.code == 0, run.output
    assert run.repos["acme/game"]["not_read"] == []
    assert run.repos["acme/game"]["lfs"]["missing"] == 0


def test_s3_that_refuses_an_object_fails_the_repository_at_its_upload(world: World, s3_proxy: S3Proxy) -> None:
    _, lfs = content.add_with_lfs(world)
    s3_proxy.faults = [S3Fault(f"PUT .*{lfs.on_main}", "deny")]
    run = world.run()
    assert run.code == 1, run.output
    assert run.failures["acme/game"]["stage"] == "upload"
    assert "AccessDenied" in run.failures["acme/game"]["error"]
    assert run.failures["acme/game"]["partial"]["lfs"]["objects"] == 3
    s3_proxy.faults = []
    assert next_day(world).code == 0
    assert downloaded(world) == [lfs.on_main]


def test_a_list_that_s3_refuses_fails_the_repository_and_nothing_is_fetched_again(
    world: World, s3_proxy: S3Proxy
) -> None:
    content.add_with_lfs(world)
    s3_proxy.faults = [S3Fault("PUT .*lfs.json", "deny")]
    run = world.run()
    assert run.code == 1, run.output
    assert run.failures["acme/game"]["stage"] == "upload"
    assert run.failures["acme/game"]["partial"]["lfs"] is None
    s3_proxy.faults = []
    healed = next_day(world)
    assert healed.repos["acme/game"]["lfs"]["objects"] == 4
    assert world.github.requests(BATCH) == []


# -- stopped ---------------------------------------------------------------------------------------


def large_object(world: World) -> str:
    """Add a repository with an object that comes at some bytes a second once its first part is there."""
    _, store = add_objects(world, bytes(3 * PART_SIZE))
    (oid,) = store.oids()
    world.github.faults = [
        Fault(FILE, status=0, cut_after=PART_SIZE + 1000),
        Fault(FILE, status=0, drip=0.05, times=99),
    ]
    return oid


def is_under_way(world: World) -> None:
    assert len(world.github.requests(FILE)) >= 2
    assert open_uploads(world)


def assert_left_behind_nothing(world: World, run: Run, words: str) -> None:
    failure = run.failures["acme/game"]
    assert words in failure["error"]
    assert failure["partial"]["s3_key"] == world.key("acme/game.bundle")
    assert failure["partial"]["lfs"] is None
    assert lfs_keys(world) <= {key_of(EMPTY)}, "which needs no server"
    assert open_uploads(world) == []
    assert not [line for line in run.events if "did not respond" in line["event"]]


def test_a_run_that_is_stopped_in_a_large_object_leaves_nothing_of_it(world: World) -> None:
    large_object(world)
    world.add("api")
    process = world.start()
    wait_until(lambda: is_under_way(world), "an upload in parts")
    process.send_signal(signal.SIGTERM)
    run = world.end(process)
    assert run.code == 143
    assert run.events[-1]["event"] == "run stopped"
    assert_left_behind_nothing(world, run, "the run was stopped")


def test_a_run_whose_deadline_passes_in_a_large_object_leaves_nothing_of_it(world: World) -> None:
    large_object(world)
    world.add("api")
    run = world.run(RUN_DEADLINE_HOURS="0.003")
    assert run.code == 1, run.output
    assert world.github.requests(FILE)
    assert run.repos.keys() == {"acme/api"}
    assert_left_behind_nothing(world, run, "RUN_DEADLINE_HOURS")


def test_a_server_that_hangs_keeps_no_stopped_run(world: World) -> None:
    content.add_with_lfs(world)
    world.github.faults = [fault := Fault(FILE, status=0, delay=60, times=99)]
    process = world.start()

    def hangs() -> None:
        assert fault.times < 99

    wait_until(hangs, "a link that hangs")
    process.send_signal(signal.SIGTERM)
    run = world.end(process)
    assert run.code == 143
    assert_left_behind_nothing(world, run, "the run was stopped")
    assert run.events[-1]["event"] == "run stopped"


def test_a_run_that_is_stopped_while_an_upload_begins_does_not_leave_it_open(world: World, s3_proxy: S3Proxy) -> None:
    add_objects(world, bytes(3 * PART_SIZE))
    begun = threading.Event()

    def begin_slowly() -> None:
        begun.set()
        time.sleep(2)

    s3_proxy.before = {r"POST .*github-backup-lfs/.*\?uploads": begin_slowly}
    process = world.start()
    assert begun.wait(60)
    process.send_signal(signal.SIGTERM)
    run = world.end(process)

    def all_is_answered() -> None:
        assert s3_proxy.at_once == 0

    wait_until(all_is_answered, "S3 to have answered everything")
    assert run.code == 143
    assert open_uploads(world) == []


# -- switched off ----------------------------------------------------------------------------------


def test_switched_off_nothing_is_looked_for_and_switched_on_again_all_is_stored(world: World) -> None:
    content.add_with_lfs(world)
    off = world.run(BACKUP_LFS="false")
    assert off.code == 0, off.output
    assert off.repos["acme/game"]["lfs"] is None
    assert off.repos["acme/game"]["not_read"] == []
    assert world.github.requests(BATCH) == []
    still_off = next_day(world, BACKUP_LFS="false")
    assert still_off.repos["acme/game"]["status"] == "unchanged"
    on = next_day(world)
    assert on.repos["acme/game"]["status"] == "stored"
    assert on.repos["acme/game"]["lfs"]["objects"] == 4
    off_again = next_day(world, BACKUP_LFS="false")
    assert off_again.repos["acme/game"]["status"] == "unchanged"
    assert off_again.repos["acme/game"]["lfs"] is None


def test_a_setting_that_is_neither_is_a_problem_among_the_others(world: World) -> None:
    run = world.run(BACKUP_LFS="maybe", S3_BUCKET="s3://x")
    assert run.code == 2
    assert any(problem.startswith("BACKUP_LFS must be true or false") for problem in run.problems)
    assert any(problem.startswith("S3_BUCKET") for problem in run.problems)
    assert world.github.exchanges == []


# -- names -----------------------------------------------------------------------------------------


def test_a_repository_that_moves_to_another_name_keeps_its_objects(world: World) -> None:
    repository, _ = content.add_with_lfs(world)
    world.run()
    repository.old_name, repository.name = repository.name, "play"
    run = next_day(world)
    assert run.code == 0, run.output
    assert run.repos["acme/play"]["lfs"]["objects"] == 4
    assert world.github.requests(BATCH) == []


def test_lists_of_an_owner_called_runs_are_no_manifests(world: World) -> None:
    repository, _ = content.add_with_lfs(world)
    repository.owner = "runs"
    world.github.install("runs")
    run = world.run()
    assert run.repos["runs/game"]["lfs"]["list"]["s3_key"] == world.key("runs/game.lfs.json")
    listed = world.restore("list", "--runs", "--date", world.key("").split("/")[1], "--json")
    assert len(json.loads(listed.stdout)) == 1
    fetched = world.restore("fetch", "--all", "--into", str(world.folder / "into"))
    assert fetched.code == 0, fetched.stderr
