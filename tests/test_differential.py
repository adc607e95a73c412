"""A repository that changed stores what changed, and restores to what GitHub serves; else it is cloned."""

import os
import random
import shutil
import tempfile
from pathlib import Path

import content
from changing import Changing
from embedded.github_http import Fault
from embedded.real_git import served_refs
from github_s3_backup.git.process import Git
from github_s3_backup.runtime.stop import Stop
from world import Run, World

MAIN = "refs/heads/main"
POST = "POST /acme/api.git/git-upload-pack"


def ballast(size: int) -> str:
    """Return text that does not get smaller by packing."""
    return random.Random(size).randbytes(size // 2).hex()  # noqa: S311


def changing(world: World, path: Path) -> Changing:
    """Return a git directory of the test's own, about 60 kB in full."""
    tool = Git(Path(tempfile.mkdtemp(dir=world.folder)), "https://github.com", Stop())
    repository = Changing(tool, None, path, world.folder, count=100)
    repository.commit("main", ref=MAIN, files={"ballast": ballast(120_000)})
    return repository


def add(world: World) -> Changing:
    world.variables["DIFFERENTIAL"] = "true"
    added = world.add("api")
    path = world.folder / "api.git"
    shutil.copytree(added.path, path)
    added.path = path
    return changing(world, path)


def commit(repository: Changing, size: int = 100) -> None:
    """Commit so many new bytes, about half of that packed."""
    files = {"ballast": ballast(120_000), "new": ballast(size + repository.count)}
    repository.commit("main", ref=MAIN, files=files)


def day(world: World) -> Run:
    """Let a day pass, and back up. The run's checks restore every bundle."""
    world.yesterday()
    run = world.run()
    assert run.code == 0, run.output
    return run


def test_a_changed_repository_stores_what_changed(world: World) -> None:
    repository = add(world)
    first = world.run().repos["acme/api"]
    assert first["base"] is None
    assert first["objects"]["s3_key"] == world.key("acme/api.objects")

    commit(repository)
    repository.git("tag", "-a", "-m", "release", "v9", "main~1")
    second = day(world)
    entry = second.repos["acme/api"]
    assert entry["status"] == "stored"
    assert entry["s3_key"].startswith(world.key("acme/api@"))
    assert entry["s3_key"].endswith("Z.changes.bundle")
    assert entry["base"]["sha256"] == first["sha256"]
    assert entry["objects"]["sha256"] == first["objects"]["sha256"]
    assert entry["size_bytes"] < first["size_bytes"] / 10
    assert len(world.github.requests(POST)) == 2, "a clone, and a request for the changes"
    published = world.metrics()
    assert sum(published["RepositoriesStoredAsChanges"]) == 1
    assert sum(published["BytesFetched"]) == first["size_bytes"] + entry["size_bytes"]

    same = world.run().repos["acme/api"]
    names = ("s3_key", "version_id", "sha256", "base", "objects", "backed_up_at", "refs_sha256")
    assert {name: same[name] for name in names} == {name: entry[name] for name in names}
    assert same["status"] == "unchanged"

    commit(repository, 12_000)  # on the full bundle, not on the last changes
    third = day(world).repos["acme/api"]
    assert third["base"]["sha256"] == first["sha256"]
    assert third["size_bytes"] > first["size_bytes"] / 10

    commit(repository)
    fourth = day(world)
    assert fourth.repos["acme/api"]["base"] is None
    assert fourth.named("many changes, cloning")

    commit(repository)
    assert world.run(DIFFERENTIAL="false").repos["acme/api"]["base"] is None


def test_what_stands_in_the_way_of_changes_costs_a_clone_and_never_the_backup(world: World) -> None:
    repository = add(world)
    assert world.run().code == 0

    def cloned(reason: str) -> None:
        run = world.run()
        assert run.code == 0, run.output
        assert run.repos["acme/api"]["base"] is None
        assert reason in run.named("changes not possible, cloning")[0]["error"]

    for fault, reason in (
        (Fault(POST, 500), "answered 500"),
        (Fault(POST, 0, cut_after=60), "truncated"),
        (Fault(POST, 0, cut_after=200), "truncated"),
        (Fault(POST, 301, headers={"Location": "https://example.com/"}), "answered 301"),
        (Fault(POST, 200, raw="<html>"), "answered 200"),
    ):
        commit(repository)
        world.github.faults = [fault]
        cloned(reason)
    commit(repository, 60_000)
    cloned("more than")

    commit(repository)
    objects = world.run().repos["acme/api"]["objects"] or {}
    world.stack.s3.client().delete_object(Bucket=world.bucket, Key=objects["s3_key"], VersionId=objects["version_id"])
    commit(repository)
    cloned(objects["s3_key"])


def test_every_way_to_restore_takes_both_bundles(world: World, tmp_path: Path) -> None:
    repository = add(world)
    world.run()
    commit(repository)
    repository.git("tag", "-a", "-m", "release", "v9", "main~1")
    entry = day(world).repos["acme/api"]
    assert entry["base"]
    expected = {name: oid for name, oid in served_refs(repository.path).items() if name != "HEAD"}
    for form in ("mirrors", "clones", "bundles"):
        done = world.restore("fetch", "--all", "--as", form, "--into", str(tmp_path / form))
        assert done.code == 0, done.stderr
    restored = served_refs(tmp_path / "mirrors" / "acme" / "api.git")
    assert {name: oid for name, oid in restored.items() if name != "HEAD"} == expected
    files = sorted(path.name for path in (tmp_path / "bundles" / "acme").iterdir())
    assert files == ["api.bundle", "api.changes.bundle"]
    assert world.restore("fetch", "--all", "--as", "bundles", "--into", str(tmp_path / "bundles")).code == 0
    assert world.restore("verify", "--all").code == 0

    version = {"Key": entry["s3_key"], "VersionId": entry["version_id"]}
    world.stack.s3.client().delete_object(Bucket=world.bucket, **version)
    assert world.restore("verify", "--all").code == 1
    lost = world.restore("fetch", "--all", "--as", "mirrors", "--into", str(tmp_path / "lost"))
    assert lost.code == 1
    assert "its bundle of changes can't be used, so what is there is the full bundle of" in lost.stderr + lost.stdout
    full = served_refs(tmp_path / "lost" / "acme" / "api.git")
    assert full[MAIN] == repository.rev("main~1")


def test_the_wiki_and_new_lfs_objects_of_a_changed_repository_are_stored(world: World) -> None:
    """The new objects hold the pointers that are new. The others are those of the last list."""
    world.variables["DIFFERENTIAL"] = "true"
    repository = content.add_with_everything(world)
    assert repository.wiki
    for path, ref in ((repository.path, MAIN), (repository.wiki, "refs/heads/master")):
        content.push(path, {"ballast": ballast(120_000).encode()}, ref)
    assert world.run().code == 0
    oid = repository.lfs.add(os.urandom(500))
    content.push(repository.path, {"new.bin": repository.lfs.pointer(oid)})
    content.push(repository.wiki, {"New.md": b"new"}, "refs/heads/master")
    entry = day(world).repos["acme/game"]
    assert entry["base"]
    assert entry["wiki"]["base"]["s3_key"].endswith("acme/game.wiki.bundle")
    assert (entry["lfs"]["objects"], entry["lfs"]["missing"]) == (5, 0)
    assert oid in {item["oid"] for item in world.read_list(entry["lfs"]["list"])["objects"]}
