"""Wikis, LFS objects and releases, through a backup run, to a folder and a report: equal to the original."""

import json
from pathlib import Path

import pytest

from embedded.github import FakeRepository
from embedded.real_git import git, served_refs
from embedded.s3 import READER
from github_s3_backup.restore.fetch.destination import Form
from support import content
from support.content import LfsHistory
from support.vault_content import needs_git_lfs, run_git
from support.world import World

OBJECTS = {"bundles": "game@lfs/objects", "mirrors": "game.git/lfs/objects", "clones": "game/.git/lfs/objects"}
READ_ONLY = {"AWS_ACCESS_KEY_ID": READER[0], "AWS_SECRET_ACCESS_KEY": READER[1]}


@pytest.fixture
def game(world: World) -> tuple[FakeRepository, LfsHistory]:
    """A repository with LFS objects, one of them empty, a wiki and releases, that is backed up."""
    repository, lfs = content.add_with_lfs(world)
    repository.wiki = content.make_wiki(world.folder / "git", "game", {"Home.md": b"welcome"})
    numbers = content.Numbers()
    repository.releases = [
        content.release(numbers, "v2/ü", {"tool.tar.gz": b"tool", "empty": b""}),
        content.release(numbers, "v1", {"tool.tar.gz": b"tool"}, digests=False),
    ]
    assert world.run().code == 0
    return repository, lfs


@pytest.mark.parametrize("form", ["bundles", "mirrors", "clones"])
def test_what_is_fetched_is_equal_to_the_original(
    world: World, game: tuple[FakeRepository, LfsHistory], form: Form
) -> None:
    repository, lfs = game
    into = world.folder / "out"
    run = world.restore("fetch", "acme/game", "--into", str(into), "--as", form, **READ_ONLY)
    assert run.code == 0, run.stderr
    objects = {path.name: path.read_bytes() for path in (into / "acme" / OBJECTS[form]).rglob("*") if path.is_file()}
    assert objects == {oid: lfs.store.path(oid).read_bytes() for oid in lfs.oids}
    releases = into / "acme" / "game@releases"
    files = {str(path.relative_to(releases)): path.read_bytes() for path in releases.rglob("*") if path.is_file()}
    listed = json.loads(files.pop("releases.json"))
    assert [item["tag_name"] for item in listed["releases"]] == ["v2/ü", "v1"]
    assert files == {"v2%2Fü/tool.tar.gz": b"tool", "v2%2Fü/empty": b"", "v1/tool.tar.gz": b"tool"}
    if form == "mirrors":
        assert repository.wiki
        assert served_refs(into / "acme/game.wiki.git") == served_refs(repository.wiki)
        assert served_refs(into / "acme/game.git") == served_refs(repository.path)
    again = world.restore("fetch", "acme/game", "--into", str(into), "--as", form, **READ_ONLY)
    assert len(again.named("already there")) == 1


@needs_git_lfs
def test_a_clone_is_ready_to_go_on_working_in_and_to_push_from(
    world: World, game: tuple[FakeRepository, LfsHistory], tmp_path: Path
) -> None:
    _, lfs = game
    into = world.folder / "out"
    assert world.restore("fetch", "--all", "--into", str(into), "--as", "clones").code == 0
    clone = into / "acme" / "game"
    assert (clone / "a.bin").read_bytes() == lfs.store.path(lfs.on_main).read_bytes()
    assert git("-C", clone, "status", "--porcelain") == b""
    elsewhere = tmp_path / "elsewhere.git"
    git("init", "--quiet", "--bare", elsewhere)
    done = run_git("-C", clone, "push", "--quiet", f"file://{elsewhere}", "main")
    assert done.returncode == 0, done.stderr
    sent = {path.name for path in (elsewhere / "lfs" / "objects").rglob("*") if path.is_file()}
    assert sent == {lfs.on_main, lfs.only_in_the_past}


def test_a_backup_is_proven_with_all_that_is_beside_git(world: World, game: tuple[FakeRepository, LfsHistory]) -> None:
    _, lfs = game
    run = world.restore("verify", "--all", **READ_ONLY)
    assert run.code == 0, run.stderr
    report = json.loads(run.stdout)
    assert (report["lfs_objects"], report["release_files"], report["wikis"]) == (len(lfs.oids), 3, 1)


def test_an_object_that_a_backup_could_not_read_leaves_the_rest_to_be_restored(
    world: World, game: tuple[FakeRepository, LfsHistory]
) -> None:
    repository, lfs = game
    new = lfs.store.add(b"new")
    content.push(repository.path, {"new.bin": lfs.store.pointer(new)})
    lfs.store.errors[new] = (500, "no answer")
    assert world.run().code == 1
    into = world.folder / "out"
    run = world.restore("fetch", "--all", "--into", str(into), "--as", "mirrors")
    assert run.code == 1
    assert new in run.failures["acme/game"]
    assert len(run.named("stored only in part")) == 1
    assert served_refs(into / "acme/game.git") == served_refs(repository.path)
    objects = {path.name for path in (into / "acme/game.git/lfs/objects").rglob("*") if path.is_file()}
    assert objects == lfs.oids
    assert (into / "acme/game.wiki.git").exists()
    assert (into / "acme/game@releases/v1/tool.tar.gz").exists()
