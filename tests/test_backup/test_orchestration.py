"""Runs in many tasks: the module's state machine, and processes of the program that it starts.

What each command does is in test_tasks.py, what the state machine does in test_terraform/test_state_machine.py.
"""

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from embedded.ecs import EcsTask
from embedded.github import Fault
from embedded.organisation import AWKWARD
from embedded.ports import wait_until
from embedded.stack import WRITTEN_BY_PEOPLE
from support.killed_at_random import Killer, add_many, at_random
from support.orchestrated import Orchestrated, apply_for, orchestrate
from support.world import World
from terraform.module import Module

# What differs between two runs into two buckets.
OF_THE_RUN = {
    "run_id",
    "started_at",
    "finished_at",
    "backed_up_at",
    "duration_seconds",
    "version_id",
    "signing_key",
    "variables",
}
SOME = ("api", "fork", "public", "empty", "tags-only", "shared-commit")

Make = Callable[..., Orchestrated]


@pytest.fixture
def make(world: World, module: Module) -> Make:
    """Applies the module with these inputs."""

    def make(shards: int = 2, attempts: int = 3, **inputs: Any) -> Orchestrated:
        orchestration = {"shards": shards, "attempts": attempts, "volumes": True}
        return orchestrate(world, apply_for(world, module, orchestration=orchestration, **inputs))

    return make


def add_some(world: World) -> None:
    for name in SOME:
        world.add(name)


def without(document: Any, names: set[str]) -> Any:
    """Return a manifest without fields of these names."""
    if isinstance(document, dict):
        return {name: without(value, names) for name, value in document.items() if name not in names}
    return [without(item, names) for item in document] if isinstance(document, list) else document


def versions(world: World) -> Counter[str]:
    """Return how often each bundle has been written."""
    pages = world.stack.s3.client().get_paginator("list_object_versions").paginate(Bucket=world.bucket)
    keys = [item["Key"] for page in pages for item in page.get("Versions", [])]
    return Counter(key for key in keys if key.endswith(".bundle"))


def test_a_run_stores_what_a_single_run_stores(world: World, make: Make) -> None:
    world.variables |= dict.fromkeys(WRITTEN_BY_PEOPLE, "true")
    for recipe in AWKWARD:
        world.add(recipe.name).issues.fill(3, comments=1)
    orchestrated = make(shards=4)
    run = orchestrated.run()
    assert run.execution.status == "SUCCEEDED", run.output
    assert run.execution.states()[-3:] == ["List", "BackUpShards", "Merge"]
    assert orchestrated.ecs.most_at_once == 4
    assert [task.code for task in run.tasks] == [0] * 6
    other = replace(world, bucket=world.stack.s3.new_bucket(f"{world.bucket}-single"), service="single")
    single = other.run()
    assert without(run.manifest, OF_THE_RUN) == without(single.manifest, OF_THE_RUN)
    plan = f"plans/{run.execution.name}/"
    assert {key for key in world.stored_keys() if plan not in key and "/runs/" not in key} == {
        key for key in other.stored_keys() if "/runs/" not in key
    }
    assert world.metrics()["Shards"] == [4]
    world.stack.s3.remove_bucket(other.bucket)


def test_the_next_run_finds_what_did_not_change(world: World, make: Make) -> None:
    add_some(world)
    orchestrated = make(full_backup_days=int(world.nobodys_day(90)))
    assert orchestrated.run().execution.status == "SUCCEEDED"
    world.yesterday()
    world.add("sha256")
    run = orchestrated.run()
    assert run.execution.status == "SUCCEEDED", run.output
    assert Counter(entry["status"] for entry in run.repos.values()) == {"unchanged": 5, "empty": 1, "stored": 1}


def test_a_shard_that_is_killed_twice_goes_on_where_it_was(world: World, make: Make) -> None:
    add_some(world)
    orchestrated = make(shards=1, concurrency=1)
    killer = Killer({"1": [2, 1]}).watch(orchestrated)
    run = orchestrated.run()
    assert run.execution.status == "SUCCEEDED", run.output
    assert len(killer.killed) == 2
    assert [task.code for task in orchestrated.ecs.named("shard")] == [137, 137, 0]
    assert run.execution.errors("BackUpShard") == ["States.TaskFailed"] * 2
    begun = [line for line in run.events if line["event"] == "shard started"]
    assert begun[0]["already_stored"] == 0
    assert begun[2]["already_stored"] >= 2
    assert run.repos.keys() == {f"acme/{name}" for name in SOME}
    saved = {key.rpartition("/")[2] for key in world.stored_keys() if "/stored/" in key}
    assert len(saved) == len(SOME) - 1, "all but the empty one"
    assert set(versions(world).values()) == {1}


def test_a_shard_that_always_dies_is_named_repository_by_repository(world: World, make: Make) -> None:
    add_some(world)
    orchestrated = make(attempts=1, concurrency=1)
    Killer({"1": [1, 0]}).watch(orchestrated)
    run = orchestrated.run()
    assert (run.execution.status, run.execution.error) == ("FAILED", "States.TaskFailed")
    assert [child.error for child in run.execution.children] == ["ShardLost", None]
    assert [task.code for task in orchestrated.ecs.named("merge")] == [1, 1]
    lost = orchestrated.plan(run.execution, "shards/1.json")["repositories"]
    names = {f"{item['owner']}/{item['name']}" for item in lost}
    assert run.failures.keys() < names, "one was stored before it died"
    assert run.failures.keys() | run.repos.keys() == {f"acme/{name}" for name in SOME}
    assert all("shard 1 did not finish" in failure["error"] for failure in run.failures.values())
    metrics = world.metrics()
    assert (metrics["Shards"], metrics["ShardsFailed"]) == ([2], [1])
    assert metrics["BackupFailure"] == [len(run.failures)]


def test_a_merge_that_is_killed_is_done_again(world: World, make: Make) -> None:
    add_some(world)
    orchestrated = make()
    first: list[EcsTask] = []

    def kill(task: EcsTask, line: str) -> None:
        if task.command[-1] == "merge" and not first and '"run finished"' in line:
            first.append(task)
            task.kill()

    orchestrated.ecs.on_line = kill
    run = orchestrated.run()
    assert first
    assert run.execution.status == "SUCCEEDED", run.output
    assert world.metrics()["BackupSuccess"] == [len(SOME)]


def test_a_run_without_repositories_ends_with_its_list(world: World, make: Make) -> None:
    world.github.install("acme")
    orchestrated = make()
    run = orchestrated.run()
    assert (run.execution.status, run.execution.states()[-1]) == ("FAILED", "List")
    assert json.loads(run.execution.cause or "")["Containers"][0]["ExitCode"] == 2
    assert [task.command for task in run.tasks] == [["backup", "list"]]
    assert run.manifest is None
    assert world.metrics()["BackupFailure"] == [1]


def hold(orchestrated: Orchestrated, name: str) -> None:
    """Let GitHub keep a repository waiting."""
    orchestrated.world.github.faults = [Fault(rf"/({name})\.git/", status=0, delay=300, times=99)]


def wait_for_shards(orchestrated: Orchestrated) -> None:
    """Wait until every shard backs up repositories."""

    def look() -> None:
        shards = orchestrated.ecs.named("shard")
        assert len(shards) == 2
        assert all('"event": "started"' in task.output for task in shards)

    wait_until(look, "shards that back up repositories")


def test_a_second_run_is_refused_and_the_first_is_not_disturbed(world: World, make: Make) -> None:
    add_some(world)
    world.github.latency = 0.3
    orchestrated = make()
    first = orchestrated.machine.start()
    wait_for_shards(orchestrated)
    second = orchestrated.machine.run()
    assert (second.status, second.error) == ("FAILED", "RunRefused")
    assert first.arn in (second.cause or "")
    assert first.status == "RUNNING"
    run = orchestrated.end(first)
    assert run.execution.status == "SUCCEEDED", run.output
    assert world.metrics()["RunRefused"] == [1]
    assert len(world.run_keys()) == 1


def test_at_the_deadline_a_run_ends_with_what_it_has(world: World, make: Make) -> None:
    add_some(world)
    orchestrated = make(run={"deadline_hours": 20 / 3600})
    hold(orchestrated, "api")
    run = orchestrated.run()
    assert [child.status for child in run.execution.children] == ["SUCCEEDED", "SUCCEEDED"], (run.output, run.execution)
    assert (run.execution.status, run.execution.states()[-1]) == ("FAILED", "Merge")
    # On a busy machine others may be late too.
    assert "acme/api" in run.failures
    assert run.failures.keys() | run.repos.keys() == {f"acme/{name}" for name in SOME}
    assert all("deadline" in failure["error"].lower() for failure in run.failures.values())
    assert run.manifest is not None
    assert run.manifest["complete"] is True
    assert world.metrics()["ShardsFailed"] == [0]


@pytest.mark.exhaustive
def test_an_apply_during_a_run_takes_no_task_definition_from_it(world: World, module: Module) -> None:
    """ECS starts nothing with a revision that is deregistered, and a run keeps the one that it began with."""
    add_some(world)
    inputs = {"orchestration": {"shards": 2}, "alarm_emails": ["b@example.com"]}
    module.apply_now(**inputs)
    changes = module.changes(task_memory=8192, **inputs)
    replaced = [
        change["before"]
        for address, change in changes.items()
        if address.startswith("aws_ecs_task_definition.") and "delete" in change["actions"]
    ]
    assert len(replaced) == len(("backup", "shard"))
    orchestrated = orchestrate(world, apply_for(world, module, orchestration={"shards": 2}))
    orchestrated.ecs.deregistered = {old["arn"] for old in replaced if not old["skip_destroy"]}
    assert orchestrated.run().code == 0
    assert {old["family"] for old in replaced} == {"github-backup", "github-backup-shard"}


def test_a_shard_whose_task_definition_is_deregistered_never_starts(world: World, make: Make) -> None:
    add_some(world)
    orchestrated = make(attempts=0)
    orchestrated.ecs.deregistered = {
        arn for arn, found in orchestrated.ecs.definitions.items() if found.container["name"] == "shard"
    }
    run = orchestrated.run()
    assert [child.status for child in run.execution.children] == ["FAILED", "FAILED"]
    assert run.repos == {}


def test_stopping_an_execution_stops_its_tasks(world: World, make: Make) -> None:
    add_some(world)
    orchestrated = make()
    hold(orchestrated, "api|shared-commit|fork|public|tags-only|empty")
    execution = orchestrated.machine.start()
    wait_for_shards(orchestrated)
    execution.stop()
    run = orchestrated.end(execution)
    assert run.execution.status == "ABORTED"
    assert [task.code for task in orchestrated.ecs.named("shard")] == [143, 143]
    assert orchestrated.ecs.named("merge") == []
    assert run.manifest is None


def test_a_repository_larger_than_the_disk_gets_a_volume(world: World, make: Make) -> None:
    """Whether this machine has so much disk decides what becomes of it."""
    world.add("api", size_kb=300 * 1024**2)
    world.add("fork")
    orchestrated = make()
    run = orchestrated.run()
    sizes = {item["shard"]: item["volume_gib"] for item in orchestrated.plan(run.execution, "shards.json")}
    assert sorted(size > 300 for size in sizes.values()) == [False, True]
    started = {task.environment["RUN_SHARD"]: task for task in run.tasks if "RUN_SHARD" in task.environment}
    assert {shard: task.volume_gib for shard, task in started.items()} == sizes
    on_volume = [task.definition.container["name"] for task in started.values() if task.volume_gib]
    assert on_volume == ["shard-on-volume"]
    assert "acme/fork" in run.repos


@pytest.mark.parametrize(
    ("count", "shards", "kills"), [(24, 4, 2), pytest.param(200, 16, 10, marks=pytest.mark.exhaustive)]
)
def test_shards_that_are_killed_at_random_lose_nothing(
    world: World, make: Make, count: int, shards: int, kills: int
) -> None:
    add_many(world, count)
    orchestrated = make(shards=shards)
    killer = Killer(at_random(1, shards, count, attempts=3)).watch(orchestrated)
    run = orchestrated.run()
    assert run.execution.status == "SUCCEEDED", run.output
    assert len(run.repos) == count
    assert len(killer.killed) > kills
    assert sum(line["already_stored"] for line in run.named("shard started")) > kills
