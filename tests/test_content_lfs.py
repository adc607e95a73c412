"""Git LFS objects in a backup: found in the history, asked for in batches, stored once."""

from typing import Any

import content
from world import Run, World

BATCH = r"POST .*/info/lfs/objects/batch"


def lfs_keys(world: World) -> set[str]:
    return {key for key in world.stored_keys() if key.startswith("github-backup-lfs/")}


def key_of(oid: str) -> str:
    return f"github-backup-lfs/acme/{oid[:2]}/{oid}"


def list_of(world: World, run: Run, name: str = "acme/game") -> dict[str, Any]:
    entry = run.repos.get(name) or run.failures[name]["partial"]
    return world.read_list(entry["lfs"]["list"])


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
