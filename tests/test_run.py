"""A whole run: everything that GitHub lists is in S3 and in the manifest."""

import re

import pytest

from embedded.organisation import AWKWARD, LONG_NAME, OWNER, SECOND_OWNER
from world import World


def test_every_awkward_repository_is_stored_and_restores(world: World) -> None:
    for recipe in AWKWARD:
        world.add(recipe.name)
    run = world.run()
    assert run.code == 0, run.output
    assert run.repos.keys() == {f"{one.owner}/{one.name}" for one in AWKWARD}
    assert {name for name, one in run.repos.items() if one["status"] != "stored"} == {"acme/empty"}
    stored = {f"{one['full_name']}.bundle" for one in run.repos.values() if one["status"] == "stored"}
    assert world.stored_keys() == {world.key(name) for name in {*stored, "manifest.json"}} | world.run_keys()
    assert world.metrics() == {
        "BackupSuccess": [len(AWKWARD)],
        "BackupFailure": [0],
        "BytesUploaded": [sum(one["size_bytes"] for one in run.repos.values())],
        "RepositoriesUnchanged": [0],
        "RepositoriesVanished": [0],
        "BackupAnomaly": [0],
        "ReplicationBehind": [0],
        "RunDuration": [pytest.approx(run.events[-1]["duration"], abs=5)],
    }


def test_the_manifest_tells_what_github_says_of_a_repository(world: World) -> None:
    for name in ("archived", "fork", "public", "shared-commit", "head-at-missing-branch", "empty"):
        world.add(name)
    repos = world.run().repos
    assert repos["acme/archived"]["archived"]
    assert repos["acme/fork"]["fork"]
    assert not repos["acme/public"]["private"]
    assert repos["acme/archived"]["private"]
    assert repos["acme/shared-commit"]["default_branch"] == "trunk"
    assert repos["acme/head-at-missing-branch"]["sha"] is None
    assert repos["acme/empty"]["sha"] is None


@pytest.mark.parametrize("name", ["big-file", "in-parts", "many-refs"])
def test_a_large_repository_is_stored_and_restores(world: World, name: str) -> None:
    world.add(name)
    assert world.run().code == 0


def test_more_repositories_than_fit_on_a_page_are_all_stored(world: World) -> None:
    for number in range(103):
        world.add("service-001", name=f"copy-{number:03}")
    run = world.run()
    assert run.code == 0
    assert run.manifest is not None
    assert run.manifest["total_repos"] == 103
    assert [re.sub(r".*\?", "", one.path) for one in world.github.requests("GET .*/installation/repositories")] == [
        "per_page=100",
        "per_page=100&page=2",
    ]


def test_all_installations_are_backed_up_or_only_the_one_that_is_named(world: World) -> None:
    world.add("api")
    world.add("experiments")
    labs = next(one for one in world.github.installations.values() if one.owner == SECOND_OWNER)
    assert world.run().repos.keys() == {"acme/api", "acme-labs/experiments"}
    assert world.run(GITHUB_APP_INSTALLATION_ID=str(labs.id)).repos.keys() == {"acme-labs/experiments"}


def test_a_second_run_on_the_same_day_writes_beside_the_first(world: World) -> None:
    world.add("api")
    first, second = world.run().repos["acme/api"], world.run(FULL_BACKUP_DAYS="1")
    started = str(second.manifest and second.manifest["started_at"])[11:19].replace(":", "")
    assert first["s3_key"] == world.key("acme/api.bundle")
    assert second.repos["acme/api"]["s3_key"] == world.key(f"acme/api.{started}Z.bundle")


def test_the_prefix_can_be_chosen(world: World) -> None:
    world.add("api")
    run = world.run(S3_PREFIX="/team-a/git/")
    assert run.code == 0
    assert {key.rsplit("/", 3)[0] for key in world.stored_keys() if key.endswith(".bundle")} == {"team-a/git"}


def test_the_largest_repositories_go_first(world: World) -> None:
    for name, size in (("api", 10), ("fork", 3000), ("public", 200)):
        world.add(name, size_kb=size)
    run = world.run(BACKUP_CONCURRENCY="1")
    assert [one["full_name"] for one in run.named("started")] == ["acme/fork", "acme/public", "acme/api"]


@pytest.mark.parametrize("workers", [1, 3])
def test_as_many_repositories_are_in_flight_as_was_asked_for(world: World, workers: int) -> None:
    world.github.latency = 0.15
    for number in range(6):
        world.add("service-001", name=f"copy-{number}")
    assert world.run(BACKUP_CONCURRENCY=str(workers)).code == 0
    assert world.github.most_git_at_once == workers


def test_valid_but_odd_names_become_keys_as_they_are(world: World) -> None:
    for name in (".github", "_under.score-", LONG_NAME):
        world.add(name)
    assert world.run().code == 0
    assert {
        world.key(f"{OWNER}/{name}.bundle") for name in (".github", "_under.score-", LONG_NAME)
    } < world.stored_keys()


def test_two_services_publish_metrics_that_do_not_hide_each_other(world: World) -> None:
    world.add("api")
    world.run()
    world.run(SERVICE_NAME=f"{world.service}-other")
    assert world.metrics()["BackupSuccess"] == [1]
    assert world.stack.aws.metrics(f"{world.service}-other")["BackupSuccess"] == [1]


def test_a_backup_without_cloudwatch_is_still_a_backup(world: World) -> None:
    world.add("api")
    run = world.run(AWS_ENDPOINT_URL="http://127.0.0.1:9")
    assert run.code == 0
    assert len(run.named("metrics not published")) == 1
