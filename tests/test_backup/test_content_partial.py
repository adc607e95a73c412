"""A repository of which a part fails: what was stored is named, and the next run completes it."""

import copy
import json
import os
import signal
from collections import Counter
from typing import Any

import msgspec
import pytest

from embedded.github import FakeRepository, Fault, down
from embedded.ports import wait_until
from embedded.s3_proxy import S3Fault, S3Proxy
from github_s3_backup.backup.plan.vanished import vanished
from github_s3_backup.records.entry import Entry, Failure, RefSummary, new_entry
from github_s3_backup.records.manifest import Manifest, ManifestError, new_manifest, parse_manifest
from github_s3_backup.records.stored_object import StoredObject
from github_s3_backup.repository import Repository
from support import content
from support.clients import MOMENT
from support.content import Numbers, release
from support.world import VALIDATOR, Run, World

BATCH, OBJECTS = r"POST .*/info/lfs/objects/batch", r"GET /lfs"
LISTING, DOWNLOADS = r"GET .*/acme/game/releases\?", r"GET /release-files/"
WIKI_REFS, WIKI_PACK = r"GET /acme/game\.wiki\.git/info/refs", r"POST /acme/game\.wiki\.git/"
PACK = r"POST /acme/game\.git/git-upload-pack"
BIG, SMALL = os.urandom(3000), b"small"


def add_with_everything(world: World, digests: bool = True) -> FakeRepository:
    """Add acme/game with LFS objects, a wiki, and a release of two files."""
    wiki = content.make_wiki(world.folder / "git", "game", {"Home.md": b"welcome"})
    files = {"big.bin": BIG, "small.bin": SMALL}
    repository, _ = content.add_with_lfs(world, wiki=wiki, releases=[release(Numbers(), "v1", files, digests=digests)])
    return repository


def run_and_fail(world: World, *faults: Fault, **changes: str) -> tuple[Run, dict[str, Any]]:
    """Run while GitHub has faults; return the run and its only failure."""
    world.github.faults = list(faults)
    run = world.run(**changes)
    world.github.faults = []
    world.github.exchanges.clear()
    assert run.code == 1, run.output
    (failure,) = run.failures.values()
    return run, failure


def complete(world: World) -> dict[str, Any]:
    """Run once more, and return the entry of what is now stored in whole."""
    run = world.run()
    assert run.code == 0, run.output
    entry = run.repos["acme/game"]
    assert (entry["lfs"]["objects"], entry["lfs"]["missing"]) == (4, 0)
    assert (entry["releases"]["files"], entry["releases"]["missing"]) == (2, 0)
    assert entry["wiki"]["status"] in ("stored", "unchanged")
    return entry


def asked(world: World, *patterns: str) -> list[int]:
    return [len(world.github.requests(pattern)) for pattern in patterns]


# -- what a failure says -------------------------------------------------------------------------


def test_every_part_that_fails_is_named_and_the_git_data_is_kept(world: World) -> None:
    add_with_everything(world)
    world.add("fork")
    run, failure = run_and_fail(world, down(BATCH), down(LISTING), down(WIKI_REFS))
    parts = failure["error"].split("; ")
    assert [part.partition(": ")[0] for part in parts] == ["Git LFS", "releases", "wiki"]
    assert all("GitHub answered 503" in part for part in parts)
    assert (failure["full_name"], failure["stage"]) == ("acme/game", "clone")
    partial = failure["partial"]
    assert (partial["status"], partial["s3_key"]) == ("stored", world.key("acme/game.bundle"))
    assert (partial["lfs"], partial["releases"], partial["wiki"], partial["not_read"]) == (None, None, None, [])
    assert failure["not_stored"] == ["lfs", "releases", "wiki"]
    assert run.manifest
    assert (run.manifest["total_repos"], run.manifest["success_count"], run.manifest["failure_count"]) == (2, 1, 1)
    assert world.metrics()["BackupFailure"] == [1]
    assert world.metrics()["BackupSuccess"] == [1]


@pytest.mark.parametrize(
    ("fault", "title", "lost"),
    [(BATCH, "Git LFS", "lfs"), (LISTING, "releases", "releases"), (WIKI_REFS, "wiki", "wiki")],
)
def test_one_part_that_fails_does_not_stop_the_others(world: World, fault: str, title: str, lost: str) -> None:
    add_with_everything(world)
    _, failure = run_and_fail(world, down(fault))
    assert failure["error"].startswith(f"{title}: ")
    partial = failure["partial"]
    assert {part for part in ("lfs", "releases", "wiki") if partial[part] is None} == {lost}
    assert failure["not_stored"] == [lost]


@pytest.mark.parametrize("part", ["lfs", "releases", "wiki"])
def test_where_a_part_fails_the_last_one_is_named_and_the_next_run_does_not_take_it_for_todays(
    world: World, s3_proxy: S3Proxy, part: str
) -> None:
    repository = add_with_everything(world)
    before = world.run().repos["acme/game"]
    new = repository.lfs.add(b"new object")
    content.push(repository.path, {"new.bin": repository.lfs.pointer(new)})
    repository.releases.append(release(Numbers(700), "v0", {}))
    faults = {"lfs": [], "releases": [down(LISTING)], "wiki": [down(WIKI_REFS)]}
    s3_proxy.faults = [S3Fault(r"PUT .*\.lfs\.json", "deny")] if part == "lfs" else []
    _, failure = run_and_fail(world, *faults[part])
    s3_proxy.faults = []
    assert (failure["stage"], failure["not_stored"]) == ("upload" if part == "lfs" else "clone", [part])
    assert failure["partial"]["status"] == "stored"
    assert failure["partial"][part] == before[part]
    run = world.run()
    assert run.code == 0, run.output
    entry = run.repos["acme/game"]
    assert (entry["lfs"]["objects"], entry["releases"]["count"]) == (5, 2)
    assert entry["wiki"]["status"] == "unchanged"
    assert entry["status"] == ("stored" if part == "lfs" else "unchanged"), "a clone tells which objects there are"


# -- the next run --------------------------------------------------------------------------------


@pytest.mark.parametrize("digests", [True, False])
def test_after_a_file_of_a_release_failed_only_that_file_is_fetched(world: World, digests: bool) -> None:
    add_with_everything(world, digests)
    _, failure = run_and_fail(world, down(rf"{DOWNLOADS}.*/501\?"))
    assert (failure["partial"]["releases"]["files"], failure["partial"]["releases"]["missing"]) == (1, 1)
    entry = complete(world)
    assert (entry["status"], entry["s3_key"]) == ("unchanged", failure["partial"]["s3_key"])
    assert entry["lfs"] == failure["partial"]["lfs"]
    assert entry["wiki"]["s3_key"] == failure["partial"]["wiki"]["s3_key"]
    assert asked(world, PACK, WIKI_PACK, BATCH) == [0, 0, 0]
    assert [request.path.split("?")[0].rpartition("/")[2] for request in world.github.requests(DOWNLOADS)] == ["501"]


@pytest.mark.parametrize("fault", [WIKI_REFS, WIKI_PACK])
def test_after_a_wiki_failed_only_the_wiki_is_cloned(world: World, fault: str) -> None:
    add_with_everything(world)
    _, failure = run_and_fail(world, down(fault))
    entry = complete(world)
    assert (entry["status"], entry["wiki"]["status"]) == ("unchanged", "stored")
    assert entry["releases"]["list"] == failure["partial"]["releases"]["list"]
    assert asked(world, PACK, WIKI_PACK, BATCH, DOWNLOADS) == [0, 1, 0, 0]


def test_after_an_lfs_object_failed_only_that_object_is_fetched(world: World) -> None:
    repository = add_with_everything(world)
    first = min(path.name for path in repository.lfs.folder.rglob("*") if path.is_file())
    _, failure = run_and_fail(world, down(rf"GET .*{first}"))
    assert failure["error"].startswith("Git LFS: 1 of 4 objects could not be stored")
    assert failure["partial"]["lfs"]["missing"] == 1
    entry = complete(world)
    assert entry["wiki"]["status"] == "unchanged"
    assert asked(world, WIKI_PACK, DOWNLOADS) == [0, 0]
    assert asked(world, rf"GET .*{first}") == [1]


def test_what_fails_every_day_does_not_have_the_rest_stored_every_day(world: World) -> None:
    repository = add_with_everything(world)
    repository.releases[0].files[0].listed_as = {"digest": f"sha256:{'0' * 64}"}
    _, first = run_and_fail(world)
    _, second = run_and_fail(world)
    assert second["error"] == first["error"]
    assert second["partial"]["status"] == "unchanged"
    for part in ("s3_key", "version_id", "lfs"):
        assert second["partial"][part] == first["partial"][part]
    assert second["partial"]["wiki"]["s3_key"] == first["partial"]["wiki"]["s3_key"]


def test_what_changed_since_it_failed_is_stored(world: World) -> None:
    repository = add_with_everything(world)
    _, failure = run_and_fail(world, down(LISTING))
    content.push(repository.path, {"new.txt": b"new"})
    entry = complete(world)
    assert entry["status"] == "stored"
    assert entry["s3_key"] != failure["partial"]["s3_key"]


def test_an_empty_repository_whose_wiki_fails_is_completed_too(world: World) -> None:
    world.add("empty", wiki=content.make_wiki(world.folder / "git", "empty", {"Home.md": b"welcome"}))
    refs = r"GET /acme/empty\.wiki\.git/info/refs"
    _, failure = run_and_fail(world, down(refs))
    assert failure["error"].startswith("wiki: ")
    assert (failure["partial"]["status"], failure["partial"]["s3_key"]) == ("empty", None)
    run = world.run()
    assert run.code == 0, run.output
    assert run.repos["acme/empty"]["wiki"]["status"] == "stored"


def test_the_wiki_of_an_empty_repository_is_kept_where_another_part_fails(world: World) -> None:
    world.add("empty", wiki=content.make_wiki(world.folder / "git", "empty", {"Home.md": b"welcome"}))
    _, failure = run_and_fail(world, down(r"GET .*/acme/empty/releases\?"))
    assert failure["partial"]["wiki"]["s3_key"] == world.key("acme/empty.wiki.bundle")
    run = world.run()
    assert run.repos["acme/empty"]["wiki"]["status"] == "unchanged"


# -- a run that ends before its time -------------------------------------------------------------


def test_a_run_that_is_stopped_in_a_part_names_what_it_had_stored(world: World) -> None:
    add_with_everything(world)
    world.github.faults = [Fault(DOWNLOADS, status=0, delay=60, times=9)]
    process = world.start()

    def wait() -> None:
        assert any(fault.times < 9 for fault in world.github.faults)

    wait_until(wait, "a download")
    process.send_signal(signal.SIGTERM)
    run = world.end(process)
    assert run.code == 143
    assert run.manifest
    assert run.manifest["complete"] is False
    failure = run.failures["acme/game"]
    assert "the run was stopped before this repository was stored" in failure["error"]
    assert failure["partial"]["s3_key"] == world.key("acme/game.bundle")
    assert (failure["partial"]["lfs"]["objects"], failure["partial"]["releases"]) == (4, None)
    world.github.faults = []
    assert complete(world)["status"] == "stored", "a run that was stopped is not compared with"


def test_a_run_at_its_deadline_names_what_it_had_stored_and_the_next_goes_on(world: World) -> None:
    add_with_everything(world)
    _, failure = run_and_fail(world, Fault(DOWNLOADS, status=0, delay=60, times=9), RUN_DEADLINE_HOURS="0.002")
    assert "RUN_DEADLINE_HOURS" in failure["error"]
    assert failure["partial"]["lfs"]["objects"] == 4
    assert complete(world)["status"] == "unchanged"
    assert asked(world, PACK, BATCH) == [0, 0]


# -- a repository that is deleted ----------------------------------------------------------------


@pytest.mark.parametrize("after_listing", [False, True])
def test_what_vanished_keeps_all_its_parts(world: World, after_listing: bool) -> None:
    world.add("fork")
    repository = add_with_everything(world)
    entry = world.run().repos["acme/game"]
    assert entry["wiki"]
    for _ in range(2):
        if after_listing and not repository.gone:
            world.github.after_listing = lambda: setattr(repository, "gone", True)
        else:
            repository.gone = True
        run = world.run()
        assert run.code == 0, run.output
        assert run.manifest
        (lost,) = run.manifest["vanished"]
        for part in ("s3_key", "wiki", "lfs", "releases"):
            assert lost[part] == entry[part]


def test_what_expired_of_a_vanished_repository_is_no_longer_named(world: World) -> None:
    world.add("fork")
    repository = add_with_everything(world)
    entry = world.run().repos["acme/game"]
    repository.gone = True
    world.run()
    world._delete_all(entry["releases"]["list"]["s3_key"])
    run = world.run()
    assert run.manifest
    (lost,) = run.manifest["vanished"]
    assert (lost["releases"], lost["wiki"], lost["lfs"]) == (None, entry["wiki"], entry["lfs"])


@pytest.mark.parametrize("after_listing", [False, True])
def test_what_vanished_after_a_part_of_it_failed_keeps_what_was_stored(world: World, after_listing: bool) -> None:
    world.add("fork")
    repository = add_with_everything(world)
    _, failure = run_and_fail(world, down(LISTING))
    if after_listing:
        world.github.after_listing = lambda: setattr(repository, "gone", True)
    else:
        repository.gone = True
    run = world.run()
    assert run.code == 0, run.output
    assert run.manifest
    (lost,) = run.manifest["vanished"]
    for part in ("s3_key", "wiki", "lfs", "releases"):
        assert lost[part] == failure["partial"][part]


# -- how much is asked ---------------------------------------------------------------------------


def test_a_day_without_a_change_asks_once_for_each_thing_that_may_have_changed(world: World) -> None:
    add_with_everything(world)
    world.add("api", has_wiki=True)  # has tags, and no wiki was ever written
    world.add("gitlinks")  # has neither
    world.add("empty", wiki=content.make_wiki(world.folder / "git", "empty", {"Home.md": b"welcome"}))
    assert world.run().code == 0
    world.yesterday()
    world.github.exchanges.clear()
    assert world.run().code == 0
    kinds = {
        r"POST .*/access_tokens": 1,
        r"GET .*/app/installations\?": 1,
        r"GET .*/installation/repositories": 1,
        r"GET /acme/[a-z]+\.git/info/refs": 4,
        r"GET /acme/[a-z]+\.wiki\.git/info/refs": 3,
        r"GET .*/releases\?": 2,
    }
    assert dict(zip(kinds, asked(world, *kinds), strict=True)) == kinds
    paths = Counter(f"{request.method} {request.path}" for request in world.github.exchanges)
    assert sum(paths.values()) == sum(kinds.values()), paths


# -- reading it back -----------------------------------------------------------------------------


def whole(name: str, number: int) -> Entry:
    """Return the entry of a repository with a wiki."""
    repository = Repository(number, "acme", name, True, False, False, "main", 10, 1, has_wiki=True)
    stored = StoredObject(key=f"b/acme/{name}.bundle", version_id="v1", size_bytes=1, sha256="a" * 64, checksum=None)
    refs = RefSummary(ref_count=1, refs_sha256="b" * 64, sha="c" * 40)
    wiki = new_entry(repository.wiki, "stored", stored, refs, 0.0)
    return msgspec.structs.replace(new_entry(repository, "stored", stored, refs, 1.0), wiki=wiki)


@pytest.fixture
def failed() -> dict[str, Any]:
    """A manifest in which acme/api is stored, acme/game failed in part, and acme/done vanished; each has a wiki."""
    game = Failure(full_name="acme/game", id=2, stage="clone", error="releases: no", partial=whole("game", 2))
    about = {"run_id": "run", "started_at": MOMENT, "finished_at": MOMENT, "complete": True, "git_version": "2.39.5"}
    done = vanished(whole("done", 3), "2026-11-20")
    made = new_manifest(entries=[whole("api", 1)], failures=[game], vanished=[done], **about)  # type: ignore[arg-type]
    manifest: dict[str, Any] = json.loads(made.to_json())
    VALIDATOR.validate(manifest)
    return manifest


def parsed(manifest: dict[str, Any]) -> Manifest:
    return parse_manifest(json.dumps(manifest).encode())


FORGED_WIKIS: list[dict[str, Any]] = [
    {"full_name": "acme/other.wiki", "name": "other.wiki"},
    {"full_name": "acme/api", "name": "api"},
    {"full_name": "other/api.wiki", "owner": "other"},
    {"full_name": "acme/../x.wiki", "name": "../x.wiki"},
    {"s3_key": None},
    {"sha256": "?"},
]


def test_a_forged_or_broken_part_is_not_believed_and_the_rest_is_read(failed: dict[str, Any]) -> None:
    assert json.loads(parsed(failed).to_json()) == failed
    for changes in FORGED_WIKIS:
        manifest = copy.deepcopy(failed)
        manifest["repos"][0]["wiki"] |= changes
        assert parsed(manifest).entries == (), changes
        assert [failure.stage for failure in parsed(manifest).failures] == ["list", "clone"]
        manifest = copy.deepcopy(failed)
        manifest["failures"][0]["partial"]["wiki"] |= changes
        assert [failure.partial for failure in parsed(manifest).failures] == [None], changes
        assert len(parsed(manifest).entries) == 1
        manifest = copy.deepcopy(failed)
        manifest["vanished"][0]["wiki"] |= changes
        assert parsed(manifest).vanished == (), changes


@pytest.mark.parametrize("partial", ["acme/game", [], {}, {"full_name": "acme/game"}, 7])
def test_a_broken_partial_is_dropped_and_the_failure_stays(failed: dict[str, Any], partial: Any) -> None:
    failed["failures"][0]["partial"] = partial
    (failure,) = parsed(failed).failures
    assert (failure.full_name, failure.partial) == ("acme/game", None)


def test_a_partial_of_another_repository_is_dropped(failed: dict[str, Any]) -> None:
    failed["failures"][0]["partial"]["id"] = failed["repos"][0]["id"]
    (failure,) = parsed(failed).failures
    assert failure.partial is None


def test_wikis_of_wikis_without_end_cost_no_other_entry(failed: dict[str, Any]) -> None:
    whole = failed["repos"][0]
    wiki = whole["wiki"]
    for _ in range(300):
        wiki = copy.copy(whole["wiki"]) | {"wiki": wiki}
    failed["repos"].append(whole | {"wiki": wiki})
    read = parsed(failed)
    assert [entry.full_name for entry in read.entries] == ["acme/api"]


def test_a_manifest_from_before_there_were_parts_is_read(failed: dict[str, Any]) -> None:
    for entry in (*failed["repos"], *failed["vanished"]):
        for part in ("wiki", "lfs", "releases", "not_read"):
            entry.pop(part, None)
    failed["failures"][0].pop("partial")
    VALIDATOR.validate(failed)
    read = parsed(failed)
    assert (read.entries[0].wiki, read.failures[0].partial, read.vanished[0].wiki) == (None, None, None)
    with pytest.raises(ManifestError):
        parsed(failed | {"failures": [{"full_name": 7}]})
