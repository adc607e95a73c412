"""A repository that changed stores what changed, and restores to what GitHub serves; else it is cloned."""

import os
import random
import shutil
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from embedded.github_http import Fault
from embedded.real_git import served_refs
from embedded.s3_proxy import S3Fault, S3Proxy
from support import content
from support.changing import MAIN, Changing, add_large, enlarged, grow, random_change
from support.world import Run, World
from test_backup.test_disk import UNSHARE, namespaces_work

POST = "POST /acme/api.git/git-upload-pack"
NOT_POSSIBLE, NOT_USABLE = "changes not possible, cloning", "last bundle not usable, cloning"
AS_PACK = {"Content-Type": "application/x-git-upload-pack-result"}


def day(world: World, **changes: str) -> Run:
    """Let a day pass, and back up. The run's checks restore every bundle."""
    world.yesterday()
    run = world.run(**changes)
    assert run.code == 0, run.output
    return run


def test_a_changed_repository_stores_what_changed(world: World) -> None:
    repository = add_large(world)
    first = world.run().repos["acme/api"]
    assert first["base"] is None
    assert first["objects"]["s3_key"] == world.key("acme/api.objects")

    grow(repository)
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

    grow(repository, 12_000)  # on the full bundle, not on the last changes
    third = day(world).repos["acme/api"]
    assert third["base"]["sha256"] == first["sha256"]
    assert third["size_bytes"] > first["size_bytes"] / 10

    grow(repository)
    fourth = day(world)
    assert fourth.repos["acme/api"]["base"] is None
    assert fourth.named("many changes, cloning")

    grow(repository)
    assert world.run(DIFFERENTIAL="false").repos["acme/api"]["base"] is None


# What the git server answers instead of the changes, and what the log says of it.
FAULTS = {
    "fails": (Fault("", 500), "answered 500"),
    "refuses": (Fault("", 429, headers={"Retry-After": "0"}), "answered 429"),
    "redirects": (Fault("", 301, headers={"Location": "https://example.com/"}), "answered 301"),
    "is-a-web-page": (Fault("", 200, raw="<html>"), "answered 200"),
    "says-nothing": (Fault("", 200, raw="", headers=AS_PACK), "the answer is empty"),
    "ends-early": (Fault("", 0, cut_after=60), "truncated"),
    "ends-in-the-pack": (Fault("", 0, cut_after=200), "truncated"),
    "has-it-no-more": (Fault("", 200, raw="0017ERR not our ref 123", headers=AS_PACK), "refused: not our ref 123"),
    "is-shallow": (Fault("", 200, raw="0011shallow-info\n", headers=AS_PACK), "'shallow-info'"),
    "keeps-packs-elsewhere": (Fault("", 200, raw="0012packfile-uris\n", headers=AS_PACK), "'packfile-uris'"),
    "stops": (Fault("", 200, raw="000dpackfile\n000c\3too bad", headers=AS_PACK), "the server stopped: too bad"),
    "sends-no-pack": (Fault("", 200, raw="000dpackfile\n0009\1PACK0000", headers=AS_PACK), "git index-pack"),
}
# What is wrong in S3, as the manifest says it: what is done to the entry, given another one.
Spoil = Callable[[World, dict[str, Any], dict[str, Any]], object]


def delete(world: World, stored: dict[str, Any]) -> None:
    version = {"Key": stored["s3_key"], "VersionId": stored["version_id"]}
    world.stack.s3.client().delete_object(Bucket=world.bucket, **version)


def take_bundle_of(_: World, entry: dict[str, Any], other: dict[str, Any]) -> None:
    names = ("s3_key", "version_id", "size_bytes", "sha256", "s3_checksum_sha256")
    entry.update({name: other[name] for name in names})


SPOILT: dict[str, tuple[Spoil, str, str]] = {
    "list-missing": (lambda world, entry, _: delete(world, entry["objects"]), NOT_POSSIBLE, "list-missing.objects"),
    "list-altered": (lambda _, entry, __: entry["objects"].update(sha256="0" * 64), NOT_POSSIBLE, "SHA-256"),
    "list-of-another": (lambda _, entry, other: entry.update(objects=other["objects"]), NOT_POSSIBLE, "another bundle"),
    "full-missing": (lambda world, entry, _: delete(world, entry), NOT_USABLE, "full-missing.bundle"),
    "full-altered": (lambda _, entry, __: entry.update(sha256="0" * 64), NOT_USABLE, "SHA-256"),
    "full-of-another": (take_bundle_of, NOT_POSSIBLE, "another bundle"),
}


def test_what_stands_in_the_way_of_changes_costs_a_clone_and_never_the_backup(world: World, s3_proxy: S3Proxy) -> None:
    """In one run, a repository for each reason, beside one that nothing stands in the way of."""
    repositories = {name: add_large(world, name) for name in ("api", "grows", "denied", *FAULTS, *SPOILT)}
    assert world.run().code == 0
    manifest = world.yesterday()
    entries = {entry["name"]: entry for entry in manifest["repos"]}
    other = dict(entries["api"])
    for name, (spoil, *_) in SPOILT.items():
        spoil(world, entries[name], other)
    world.put_manifest(manifest)
    for name, repository in repositories.items():
        grow(repository, 60_000 if name == "grows" else 100)
    for name, (fault, _) in FAULTS.items():
        world.github.faults.append(replace(fault, match=f"POST /acme/{name}.git/git-upload-pack"))
    s3_proxy.faults = [S3Fault(r"PUT .*/denied.*\.changes\.bundle", "deny")]
    run = world.run()
    assert run.code == 0, run.output
    assert run.repos["acme/api"]["base"]
    assert {name for name, entry in run.repos.items() if entry["base"] is None} == run.repos.keys() - {"acme/api"}
    reasons = {line["full_name"]: line["error"] for line in run.named(NOT_POSSIBLE)}
    unusable = {line["full_name"]: line["error"] for line in run.named(NOT_USABLE)}
    assert "has more than" in reasons.pop("acme/grows")
    assert "AccessDenied" in reasons.pop("acme/denied")
    for name, (_, reason) in FAULTS.items():
        assert reason in reasons.pop(f"acme/{name}"), name
    for name, (_, event, reason) in SPOILT.items():
        said = reasons if event == NOT_POSSIBLE else unusable
        assert reason in said.pop(f"acme/{name}"), name
    assert (reasons, unusable) == ({}, {})
    assert sum(world.metrics()["RepositoriesStoredAsChanges"]) == 1


# Runs a command with a small file system at $0, which is full as long as the changes are received.
FULL_MEANWHILE = """
mount -t tmpfs -o size=50m none "$0"
received() { kill -0 $$ && [ -n "$(find "$0" -name changes.git)" ]; }
(
    until received || ! kill -0 $$; do sleep 0.01; done
    cat /dev/zero > "$0/other"
    while received; do sleep 0.01; done
    rm "$0/other"
) 2> /dev/null &
exec "$@"
"""


@pytest.mark.skipif(not namespaces_work(), reason="a small file system needs user namespaces, which are off here")
def test_a_disk_that_another_program_fills_meanwhile_costs_a_clone(world: World) -> None:
    repository = add_large(world)
    assert world.run().code == 0
    grow(repository)
    world.github.faults = [Fault(POST, 0, drip=0.002)]
    run = world.run(*UNSHARE, "sh", "-c", FULL_MEANWHILE, str(world.scratch))
    assert run.code == 0, run.output
    assert "No space left on device" in run.named(NOT_POSSIBLE)[0]["error"]
    assert run.repos["acme/api"]["base"] is None


def test_the_wiki_and_new_lfs_objects_of_a_changed_repository_are_stored(world: World) -> None:
    """The new objects hold the pointers that are new. The others are those of the last list."""
    repository = content.add_with_everything(world)
    assert repository.wiki
    enlarged(world, repository.path)
    wiki = enlarged(world, repository.wiki)
    wiki.point("refs/heads/master", wiki.rev("main"))
    assert world.run().code == 0
    oid = repository.lfs.add(os.urandom(500))
    content.push(repository.path, {"new.bin": repository.lfs.pointer(oid)})
    content.push(repository.wiki, {"New.md": b"new"}, "refs/heads/master")
    entry = day(world).repos["acme/game"]
    assert entry["base"]
    assert entry["wiki"]["base"]["s3_key"].endswith("acme/game.wiki.bundle")
    assert (entry["lfs"]["objects"], entry["lfs"]["missing"]) == (5, 0)
    assert oid in {item["oid"] for item in world.read_list(entry["lfs"]["list"])["objects"]}


def test_changes_outlive_what_happens_to_repositories(world: World) -> None:
    """They are renamed, fail, are filtered out, emptied, made anew under their name, and vanish."""
    names = ("renamed", "fails", "filtered", "emptied", "anew", "vanishes", "stays")
    repositories = {name: add_large(world, name) for name in names}
    known = {repository.name: repository for repository in world.github.repositories.values()}
    first = world.run().repos
    for repository in repositories.values():
        grow(repository)
    second = day(world)
    assert sum(world.metrics()["RepositoriesStoredAsChanges"]) == len(names)

    for repository in repositories.values():
        grow(repository)
    known["renamed"].name = "new-name"
    known["vanishes"].gone = known["anew"].gone = True
    repositories["anew"] = add_large_again(world, "anew")
    repositories["emptied"].delete(*(ref.decode() for ref in repositories["emptied"].refs() if ref != b"HEAD"))
    world.github.faults = [Fault("/acme/fails.git/", 403, times=99)]
    world.yesterday()
    third = world.run(BACKUP_EXCLUDE="acme/filtered", ANOMALY_PERCENT="50")
    assert third.manifest
    assert third.manifest["variables"]["BACKUP_EXCLUDE"] == "acme/filtered"
    assert third.code == 1, third.output
    assert third.failures.keys() == {"acme/fails"}
    assert third.repos["acme/new-name"]["base"]["sha256"] == first["acme/renamed"]["sha256"]
    assert "/acme/new-name@" in third.repos["acme/new-name"]["s3_key"]
    assert third.repos["acme/anew"]["base"] is None
    assert third.repos["acme/emptied"]["status"] == "empty"
    assert "acme/filtered" not in third.repos
    assert third.manifest
    vanished = {record["full_name"]: record for record in third.manifest["vanished"]}
    assert vanished["acme/vanishes"]["base"]["sha256"] == first["acme/vanishes"]["sha256"]
    assert vanished["acme/vanishes"]["sha256"] == second.repos["acme/vanishes"]["sha256"]

    world.github.faults = []
    enlarged(world, repositories["emptied"].path)
    fourth = day(world)
    for name in ("fails", "stays"):
        assert fourth.repos[f"acme/{name}"]["base"]["sha256"] == first[f"acme/{name}"]["sha256"], name
    assert fourth.repos["acme/emptied"]["base"] is None
    into = world.folder / "restored"
    done = world.restore("fetch", "--all", "--as", "mirrors", "--into", str(into))
    assert done.code == 0, done.stderr
    gone = served_refs(into / "acme" / "vanishes.git")
    assert gone[MAIN] == repositories["vanishes"].rev("main~1")


def add_large_again(world: World, name: str) -> Changing:
    shutil.rmtree(world.folder / f"{name}.git")
    return add_large(world, name)


@pytest.mark.parametrize(
    ("seed", "runs"), [(1, 4), *(pytest.param(seed, 30, marks=pytest.mark.exhaustive) for seed in range(2, 6))]
)
def test_after_random_changes_every_manifest_restores_to_what_there_was(world: World, seed: int, runs: int) -> None:
    """The model is what GitHub served at each run: the run's own checks compare with it."""
    choice = random.Random(seed)  # noqa: S311
    repositories = [add_large(world, name) for name in ("api", "other")]
    fulls = set()
    for _ in range(runs):
        for repository in repositories:
            for _ in range(choice.randrange(4)):
                random_change(repository, choice)
        trouble = [(Fault(POST, 500), 0.1), (Fault(POST, 0, cut_after=200), 0.1)]
        world.github.faults = [fault for fault, rate in trouble if choice.random() < rate]
        run = world.run(DIFFERENTIAL="false" if choice.random() < 0.05 else "true")
        assert run.code == 0, run.output
        fulls |= {(entry["base"] or entry)["sha256"] for entry in run.repos.values()}
    assert len(fulls) < 2 * runs, "some stand on the full bundles of others"
    for key in world.run_keys():
        manifest = world.read(key)
        done = world.restore("verify", "--all", "--date", manifest["date"], "--run", manifest["run_id"])
        assert done.code == 0, done.stderr
