"""An object is written once: nothing is ever overwritten, and only `manifest.json` is written twice."""

import hashlib
import os
import re
import shutil
import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal

import psutil
import pytest

from embedded.github import FakeRepository, Fault
from embedded.ports import wait_until
from embedded.real_git import git
from embedded.s3_proxy import S3Fault, S3Proxy
from github_s3_backup.repository import Repository
from github_s3_backup.s3.archive import Archive
from github_s3_backup.s3.upload import PART_SIZE
from support import content
from support.clients import MOMENT, Log, archive_at
from support.world import Run, World

REPOSITORY = Repository(1, "acme", "api", True, False, False, "main", 1, 1)
DAY = f"github-backup/{MOMENT:%Y-%m-%d}"
KEY, TIMED_KEY = f"{DAY}/acme/api.bundle", f"{DAY}/acme/api@235959Z.bundle"
SMALL, IN_PARTS = 1000, PART_SIZE + 5


def own_copy(world: World, name: str) -> FakeRepository:
    """Add a repository whose git directory this test may change."""
    repository = world.add(name)
    path = world.folder / f"{name}.git"
    shutil.copytree(repository.path, path)
    repository.path = path
    return repository


def change(repository: FakeRepository, ref: str) -> None:
    git(f"--git-dir={repository.path}", "update-ref", f"refs/tags/{ref}", "main")


def versions(world: World) -> Counter[str]:
    """Return how many versions each key has, delete markers included."""
    answer = world.stack.s3.client().list_object_versions(Bucket=world.bucket)
    assert not answer["IsTruncated"]
    return Counter(version["Key"] for version in (*answer.get("Versions", []), *answer.get("DeleteMarkers", [])))


def assert_nothing_overwritten(world: World) -> None:
    counted = versions(world)
    assert {key for key, number in counted.items() if number > 1} <= {world.key("manifest.json")}


def assert_puts_are_conditional(proxy: S3Proxy) -> None:
    """Assert that what makes an object makes a new one, but for manifest.json."""
    making = [
        (what, condition)
        for what, condition in proxy.conditions
        if (what.startswith("PUT ") and "partNumber" not in what) or (what.startswith("POST ") and "uploadId" in what)
    ]
    assert making
    for what, condition in making:
        assert condition == (None if what.partition("?")[0].endswith("/manifest.json") else "*"), what
    assert not any(what.endswith(" copy") for what in proxy.requests)


# -- runs ------------------------------------------------------------------------------------------


def test_a_day_of_runs_writes_what_changed_and_never_over_anything(world: World, s3_proxy: S3Proxy) -> None:
    api = own_copy(world, "api")
    world.add("in-parts")
    first = world.run()
    assert first.code == 0, first.output
    before = versions(world)

    unchanged = world.run()
    written = versions(world) - before
    assert written == Counter({world.key("manifest.json"): 1, run_key(world, unchanged): 1})
    assert unchanged.repos["acme/api"]["s3_key"] == world.key("acme/api.bundle")

    for differential, suffix in (("true", ".changes.bundle"), ("false", ".bundle")):
        change(api, f"v-{differential}")
        before = versions(world)
        later = world.run(DIFFERENTIAL=differential)
        timed = later.repos["acme/api"]["s3_key"]
        assert re.fullmatch(re.escape(world.key("acme/api")) + r"@\d{6}Z" + re.escape(suffix), timed)
        assert versions(world) - before == Counter({world.key("manifest.json"): 1, run_key(world, later): 1, timed: 1})
        assert later.repos["acme/in-parts"]["s3_key"] == world.key("acme/in-parts.bundle")
        assert world.read_manifest() == later.manifest
    assert_nothing_overwritten(world)
    assert_puts_are_conditional(s3_proxy)
    for run in (first, unchanged):  # what an earlier manifest says still holds
        for entry in run.repos.values():
            assert hashlib.sha256(read(world, entry["s3_key"], entry["version_id"])).hexdigest() == entry["sha256"]


def run_key(world: World, run: Run) -> str:
    assert run.manifest is not None, run.output
    return world.key(f"runs/{run.manifest['run_id']}.json")


def test_two_runs_at_the_same_time_write_two_true_manifests(world: World) -> None:
    api = own_copy(world, "api")
    for name in ("fork", "public", "in-parts"):
        world.add(name)
    world.github.latency = 0.2

    def two_runs() -> list[dict[str, Any]]:
        before = world.run_keys()
        for process in [world.start() for _ in range(2)]:
            output, _ = process.communicate(timeout=60)
            assert process.returncode == 0, output
        manifests = [world.read(key) for key in sorted(world.run_keys() - before)]
        assert len(manifests) == 2
        for manifest in manifests:
            world.check_manifest(manifest)
        return manifests

    for manifest in two_runs():
        assert {entry["status"] for entry in manifest["repos"]} == {"stored"}
    change(api, "later")
    manifests = two_runs()
    changed = [entry for manifest in manifests for entry in manifest["repos"] if entry["base"]]
    assert [entry["full_name"] for entry in changed] == ["acme/api", "acme/api"]
    first, second = ({name: entry[name] for name in ("s3_key", "version_id", "sha256")} for entry in changed)
    assert (first["s3_key"] == second["s3_key"]) == (first == second), (
        "one object is one only where both stored its bytes"
    )
    assert world.read_manifest() in manifests
    assert_nothing_overwritten(world)
    assert world.stack.s3.client().list_multipart_uploads(Bucket=world.bucket).get("Uploads", []) == []


def test_a_stopped_run_leaves_the_day_to_the_complete_one(world: World) -> None:
    api = own_copy(world, "api")
    world.add("fork")
    complete = world.run()
    content.push(api.path, {"new.txt": b"new"})
    world.github.faults = [Fault(r"POST /acme/api\.git", status=0, delay=60, times=9)]
    process = world.start()

    def cloning() -> None:
        assert world.github.git_at_once

    wait_until(cloning, "the clone that the run is stopped in")
    psutil.Process(process.pid).send_signal(signal.SIGTERM)
    stopped = world.end(process)
    assert stopped.code == 143
    assert stopped.manifest is not None
    assert stopped.manifest["complete"] is False
    assert stopped.failures.keys() == {"acme/api"}
    assert world.read_manifest() == complete.manifest
    world.github.faults = []
    again = world.run()
    (compared,) = again.named("comparing with the last backup")
    assert complete.manifest is not None
    assert compared["run_id"] == complete.manifest["run_id"]
    assert {name: entry["status"] for name, entry in again.repos.items()} == {
        "acme/api": "stored",
        "acme/fork": "unchanged",
    }
    assert world.read_manifest() == again.manifest
    assert_nothing_overwritten(world)


def test_a_bundle_that_is_not_as_the_manifest_says_is_made_anew(world: World) -> None:
    names = ("api", "fork", "public", "shared-commit")
    for name in names:
        world.add(name)
    world.run()
    manifest = world.yesterday()
    entries = {entry["name"]: entry for entry in manifest["repos"]}
    client = world.stack.s3.client()
    deleted = entries["api"]
    client.delete_object(Bucket=world.bucket, Key=deleted["s3_key"], VersionId=deleted["version_id"])
    entries["fork"]["size_bytes"] += 1
    entries["public"]["sha256"] = "0" * 64
    world.put_manifest(manifest)
    run = world.run()
    assert run.code == 0
    assert {entry["name"]: entry["status"] for entry in run.repos.values()} == {
        **dict.fromkeys(names, "stored"),
        "shared-commit": "unchanged",
    }
    warned = {line["full_name"] for line in run.named("last bundle not usable, cloning")}
    assert warned == {"acme/api", "acme/fork", "acme/public"}


# -- uploads ---------------------------------------------------------------------------------------


class Content:
    """Bytes to be uploaded; S3 may ask for them twice."""

    def __init__(self, size: int) -> None:
        self.content, self.estimate, self.size = os.urandom(size), size, size
        self.sha256 = hashlib.sha256(self.content).hexdigest()

    def __iter__(self) -> Iterator[bytes]:
        return (self.content[start : start + 999_983] for start in range(0, self.size, 999_983))

    def open(self) -> AbstractContextManager["Content"]:
        return nullcontext(self)


@pytest.fixture
def log() -> Log:
    return Log()


@pytest.fixture
def archive(world: World, s3_proxy: S3Proxy, log: Log) -> Archive:
    return archive_at(world, s3_proxy.url, log)


def read(world: World, key: str, version_id: str | None) -> bytes:
    assert version_id
    return world.stack.s3.client().get_object(Bucket=world.bucket, Key=key, VersionId=version_id)["Body"].read()


def open_uploads(world: World) -> list[Any]:
    return list(world.stack.s3.client().list_multipart_uploads(Bucket=world.bucket).get("Uploads", []))


@pytest.mark.parametrize("kind", ["lose", "fail"])
@pytest.mark.parametrize(
    ("size", "match"),
    [(SMALL, r"PUT .*/acme/api\.bundle"), (IN_PARTS, r"POST .*/acme/api\.bundle\?.*uploadId")],
    ids=["PutObject", "CompleteMultipartUpload"],
)
def test_an_upload_whose_answer_is_lost_counts_as_stored(
    world: World,
    s3_proxy: S3Proxy,
    archive: Archive,
    log: Log,
    size: int,
    match: str,
    kind: Literal["lose", "fail"],
) -> None:
    s3_proxy.faults = [S3Fault(match, kind, times=1)]
    content = Content(size)
    stored = archive.put_bundle(REPOSITORY.full_name, content.open)
    assert s3_proxy.faults[0].times == 0
    assert stored.key == KEY
    assert read(world, stored.key, stored.version_id) == content.content
    assert archive.flaw(stored) is None
    assert versions(world) == Counter({KEY: 1})
    assert [line["key"] for line in log.named("already stored")] == [KEY]
    assert log.named("upload not aborted") == []
    assert open_uploads(world) == []
    assert_puts_are_conditional(s3_proxy)


@pytest.mark.parametrize("size", [SMALL, IN_PARTS], ids=["whole", "in parts"])
def test_an_object_that_somebody_else_put_there_is_left_alone(world: World, archive: Archive, size: int) -> None:
    client = world.stack.s3.client()
    client.put_object(Bucket=world.bucket, Key=KEY, Body=b"somebody else's")
    content = Content(size)
    stored = archive.put_bundle(REPOSITORY.full_name, content.open)
    assert stored.key == TIMED_KEY
    assert read(world, stored.key, stored.version_id) == content.content
    assert client.get_object(Bucket=world.bucket, Key=KEY)["Body"].read() == b"somebody else's"
    assert versions(world) == Counter({KEY: 1, TIMED_KEY: 1})


@pytest.mark.parametrize("size", [SMALL, IN_PARTS], ids=["whole", "in parts"])
@pytest.mark.parametrize("same", [True, False], ids=["the same bytes", "other bytes"])
def test_an_object_that_is_put_there_during_the_upload_is_left_alone(
    world: World, s3_proxy: S3Proxy, archive: Archive, size: int, same: bool
) -> None:
    """A run beside this one was faster. Its object will do where it holds the same bytes."""
    content, other = Content(size), Content(size)
    faster = archive_at(world, world.stack.s3.url, Log())
    s3_proxy.before = {  # as late as can be
        r"(PUT .*/api\.bundle(\?x-id=PutObject)?$|POST .*/api\.bundle\?uploadId)": lambda: faster.put_bundle(
            REPOSITORY.full_name, (content if same else other).open
        )
    }
    stored = archive.put_bundle(REPOSITORY.full_name, content.open)
    assert stored.key == (KEY if same else TIMED_KEY)
    assert read(world, stored.key, stored.version_id) == content.content
    assert set(versions(world).values()) == {1}
    assert open_uploads(world) == []
