"""A whole run: everything that GitHub lists is in S3 and in the manifest."""

import pytest

from embedded.organisation import AWKWARD, SECOND_OWNER
from support.world import World, uploaded


def test_every_awkward_repository_is_stored_restores_and_is_in_the_manifest_as_github_says(world: World) -> None:
    for recipe in AWKWARD:
        world.add(recipe.name)
    run = world.run()
    assert run.code == 0, run.output
    assert run.repos.keys() == {f"{recipe.owner}/{recipe.name}" for recipe in AWKWARD}
    assert {name for name, entry in run.repos.items() if entry["status"] != "stored"} == {"acme/empty"}
    stored = {entry["full_name"]: entry for entry in run.repos.values() if entry["status"] == "stored"}
    assert {entry["s3_key"] for entry in stored.values()} == {world.key(f"{name}.bundle") for name in stored}
    lists = {entry["objects"]["s3_key"] for entry in stored.values()}
    assert lists == {world.key(f"{name}.objects") for name in stored}
    assert world.stored_keys() == world.keys_of(run)
    assert world.metrics() == {
        "BackupSuccess": [len(AWKWARD)],
        "BackupFailure": [0],
        "BytesUploaded": [uploaded(run)],
        "RepositoriesUnchanged": [0],
        "RepositoriesStoredAsChanges": [0],
        "BytesFetched": [sum(entry["size_bytes"] for entry in run.repos.values())],
        "IssuesWaiting": [0],
        "RepositoriesVanished": [0],
        "BackupAnomaly": [0],
        "ReplicationBehind": [0],
        "Shards": [1],
        "ShardsFailed": [0],
        "RunDuration": [pytest.approx(run.events[-1]["duration"], abs=5)],
    }
    repos = run.repos
    assert repos["acme/archived"]["archived"]
    assert repos["acme/fork"]["fork"]
    assert not repos["acme/public"]["private"]
    assert repos["acme/archived"]["private"]
    assert repos["acme/shared-commit"]["default_branch"] == "trunk"
    assert repos["acme/head-at-missing-branch"]["sha"] is None
    assert repos["acme/empty"]["sha"] is None


def test_large_repositories_are_stored_and_restore(world: World) -> None:
    for name in ("in-parts", "many-refs"):
        world.add(name)
    assert world.run().code == 0


def test_a_second_run_of_one_installation_writes_beside_the_first_and_has_metrics_of_its_own(world: World) -> None:
    world.add("api")
    world.add("experiments")
    labs = next(each for each in world.github.installations.values() if each.owner == SECOND_OWNER)
    first = world.run().repos
    changes = {"GITHUB_APP_INSTALLATION_ID": str(labs.id), "SERVICE_NAME": f"{world.service}-other"}
    second = world.run(**changes, FULL_BACKUP_DAYS="1")
    started = str(second.manifest and second.manifest["started_at"])[11:19].replace(":", "")
    assert {name: entry["s3_key"] for name, entry in first.items()} == {
        "acme/api": world.key("acme/api.bundle"),
        "acme-labs/experiments": world.key("acme-labs/experiments.bundle"),
    }
    assert {name: entry["s3_key"] for name, entry in second.repos.items()} == {
        "acme-labs/experiments": world.key(f"acme-labs/experiments@{started}Z.bundle")
    }
    assert world.metrics()["BackupSuccess"] == [2]
    assert world.stack.aws.metrics(f"{world.service}-other")["BackupSuccess"] == [1]


def test_a_backup_under_another_prefix_and_without_cloudwatch_is_still_a_backup(world: World) -> None:
    world.add("api")
    run = world.run(S3_PREFIX="/team-a/git/", AWS_ENDPOINT_URL="http://127.0.0.1:9")
    assert run.code == 0
    assert {key.rsplit("/", 3)[0] for key in world.stored_keys() if key.endswith(".bundle")} == {"team-a/git"}
    assert len(run.named("metrics not published")) == 1


@pytest.mark.parametrize("workers", [1, 3])
def test_as_many_repositories_are_in_flight_as_was_asked_for_and_the_largest_go_first(
    world: World, workers: int
) -> None:
    world.github.latency = 0.15
    sizes = {f"copy-{number}": size for number, size in enumerate((10, 3000, 200, 1, 20, 2))}
    for name, size in sizes.items():
        world.add("service-001", name=name, size_kb=size)
    run = world.run(BACKUP_CONCURRENCY=str(workers))
    assert run.code == 0
    assert world.github.most_git_at_once == workers
    started = [line["full_name"].removeprefix("acme/") for line in run.named("started")]
    assert workers > 1 or started == sorted(sizes, key=lambda name: -sizes[name])
    world.github.most_git_at_once = 0
    assert {entry["status"] for entry in world.run(BACKUP_CONCURRENCY=str(workers)).repos.values()} == {"unchanged"}
    assert world.github.most_git_at_once == (len(sizes) if workers > 1 else 1)  # a question is no clone
