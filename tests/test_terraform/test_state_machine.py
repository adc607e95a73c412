"""The module's state machine, whatever its tasks do: they are stand-ins here, which end as a test says.

tests/test_backup/test_orchestration.py has the real ones.
"""

import json
import uuid
from collections import Counter
from dataclasses import dataclass
from typing import Any

import pytest

from embedded.asl import StatesError
from embedded.ecs import EcsTask
from embedded.executions import Execution
from embedded.ports import wait_until
from embedded.stack import Stack
from support.orchestrated import Orchestrated, orchestrate
from support.world import World
from terraform.module import Applied, Module

# Ends with the next code of its file: of list, merge, or a shard. `hang` ends by SIGTERM alone.
TASK = """\
codes="$(dirname "$0")/$2$RUN_SHARD"
code=$(head -n 1 "$codes" 2> /dev/null)
sed -i 1d "$codes" 2> /dev/null
if [ "$code" = hang ]; then trap 'exit 143' TERM; sleep 60 & wait; fi
exit "${code:-0}"
"""
NO_CAPACITY = StatesError("AmazonECS.Unknown", '{"failures": [{"reason": "Capacity is unavailable at this time."}]}')
# The run's name and start in the plan: a shard has them from there.
PLANNED = ["as-planned", "2026-11-23T03:00:00.123Z"]
CHECKED = ["FindRunningExecutions", "IsAnyRunning", "FindOldest", "IsThisTheOldest"]


@dataclass(frozen=True)
class Standins:
    """The state machine with tasks that end as a test says."""

    orchestrated: Orchestrated

    @property
    def bucket(self) -> str:
        return str(self.orchestrated.applied.outputs["s3_bucket_name"])

    def codes(self, task: str, *codes: int | str) -> None:
        """Say how the next attempts of a task end; the others end with 0."""
        (self.orchestrated.world.folder / task).write_text("".join(f"{code}\n" for code in codes))

    def start(self, *volumes: int) -> Execution:
        """Start an execution whose plan has a shard for each of these sizes of a volume."""
        return self.start_with(json.dumps([item(number, size) for number, size in enumerate(volumes, 1)]))

    def start_with(self, plan: str) -> Execution:
        """Start an execution with this file in S3 where a listing would put it."""
        world, name = self.orchestrated.world, f"run-{uuid.uuid4()}"
        key = world.key(f"plans/{name}/shards.json")
        world.stack.s3.client().put_object(Bucket=self.bucket, Key=key, Body=plan.encode())
        return self.orchestrated.machine.start(name=name)

    def run(self, *volumes: int) -> Execution:
        return self.start(*volumes).wait()

    def tasks(self, name: str) -> list[EcsTask]:
        return self.orchestrated.ecs.named(name)

    def refused(self) -> float:
        """Return how many refusals are in CloudWatch."""
        return sum(self.orchestrated.world.stack.aws.metrics("github-backup").get("RunRefused", []))

    def wait_for(self, name: str) -> None:
        """Wait until a task of that name has been started."""

        def look() -> None:
            assert self.tasks(name)

        wait_until(look, name)


def item(number: int, volume: int) -> dict[str, Any]:
    """Return what a plan says of a shard."""
    about = {"repositories": 1, "size_kb": 1, "volume_gib": volume}
    return about | {"shard": f"{number:02}", "run_name": PLANNED[0], "run_started_at": PLANNED[1]}


def make(world: World, applied: Applied) -> Standins:
    script = world.folder / "task.sh"
    script.write_text(TASK)
    return Standins(orchestrate(world, applied, ("sh", str(script))))


@pytest.fixture(scope="session")
def bucket(stack: Stack, orchestrated: Applied) -> str:
    """The module's own bucket."""
    return stack.s3.new_bucket(orchestrated.outputs["s3_bucket_name"])


@pytest.fixture
def standins(world: World, orchestrated: Applied, bucket: str) -> Standins:
    assert bucket
    return make(world, orchestrated)


def told(task: EcsTask, *names: str) -> list[str | None]:
    return [task.environment.get(name) for name in names]


def test_a_run_lists_backs_up_each_shard_and_merges(standins: Standins) -> None:
    execution = standins.run(0, 0, 0)
    assert execution.status == "SUCCEEDED", execution.cause
    assert execution.states() == [*CHECKED, "List", "BackUpShards", "Merge"]
    assert [child.states() for child in execution.children] == [["NeedsVolume", "BackUpShard"]] * 3
    started = execution.context("", 0)["Execution"]["StartTime"]
    [listing], [merge] = standins.tasks("list"), standins.tasks("merge")
    for task in (listing, merge):
        assert told(task, "RUN_NAME", "RUN_STARTED_AT", "RUN_SHARD") == [execution.name, started, None]
    shards = [told(task, "RUN_NAME", "RUN_STARTED_AT", "RUN_SHARD") for task in standins.tasks("shard")]
    assert sorted(shards, key=str) == [[*PLANNED, "01"], [*PLANNED, "02"], [*PLANNED, "03"]]
    assert listing.command == ["backup", "list"]
    assert merge.command == ["backup", "merge"]
    assert told(listing, "RUN_SHARDS", "SHARD_DISK_GIB", "INSTALLATION_REQUESTS") == ["16", "50", "96"]


def test_a_shard_that_needs_a_volume_gets_it_in_the_size_of_the_plan(standins: Standins) -> None:
    execution = standins.run(0, 700)
    assert execution.status == "SUCCEEDED", execution.cause
    assert [task.volume_gib for task in standins.tasks("shard")] == [0]
    [task] = standins.tasks("shard-on-volume")
    assert task.volume_gib == 700
    assert task.command == ["backup", "shard"]
    assert told(task, "RUN_SHARD") == ["02"]
    [shard] = standins.tasks("shard")
    assert task.environment.keys() == shard.environment.keys()


def test_a_list_that_fails_ends_the_run_without_a_second_attempt(standins: Standins) -> None:
    standins.codes("list", 2)
    execution = standins.run(0)
    assert (execution.status, execution.error) == ("FAILED", "States.TaskFailed")
    assert execution.tries("List") == 1
    assert execution.states()[-1] == "List"
    assert json.loads(execution.cause or "")["Containers"][0]["ExitCode"] == 2


def test_a_shard_that_dies_is_started_again(standins: Standins) -> None:
    standins.codes("shard02", 137, 2)
    execution = standins.run(0, 0)
    assert execution.status == "SUCCEEDED", execution.cause
    assert [child.tries("BackUpShard") for child in execution.children] == [1, 3]


def test_a_shard_that_always_dies_fails_and_the_others_are_merged(standins: Standins) -> None:
    standins.codes("shard01", *[137] * 9)
    execution = standins.run(0, 0)
    lost, stored = execution.children
    assert (lost.status, lost.error, lost.tries("BackUpShard")) == ("FAILED", "ShardLost", 4)
    assert lost.cause == (
        "Shard 01 did not finish in any attempt: States.TaskFailed. The events of this execution name its tasks."
    )
    assert (stored.status, stored.output, stored.tries("BackUpShard")) == ("SUCCEEDED", {}, 1)
    assert execution.states()[-1] == "Merge"
    assert execution.status == "SUCCEEDED", "merge says what the run ends with"


def test_a_merge_that_fails_fails_the_run_after_a_second_attempt(standins: Standins) -> None:
    standins.codes("merge", 1, 1)
    execution = standins.run(0)
    assert (execution.status, execution.error) == ("FAILED", "States.TaskFailed")
    assert execution.tries("Merge") == 2


def test_tasks_wait_for_capacity(standins: Standins) -> None:
    faults = standins.orchestrated.machine.faults
    faults["List"], faults["BackUpShard"], faults["Merge"] = [NO_CAPACITY] * 9, [NO_CAPACITY] * 9, [NO_CAPACITY] * 9
    execution = standins.run(0)
    assert execution.status == "SUCCEEDED", execution.cause
    assert [execution.tries(state) for state in ("List", "BackUpShard", "Merge")] == [10, 10, 10]


def test_capacity_that_never_comes_costs_a_shard_no_attempt(standins: Standins) -> None:
    standins.orchestrated.machine.faults["BackUpShard"] = [NO_CAPACITY] * 9
    standins.codes("shard01", 137, 137, 137)
    execution = standins.run(0)
    assert execution.status == "SUCCEEDED", execution.cause
    assert len(standins.tasks("shard")) == 4


def test_a_shard_that_hangs_is_stopped_and_the_run_goes_on(standins: Standins) -> None:
    standins.codes("shard01", "hang")
    standins.orchestrated.machine.timeout_second = 1 / 20_000  # of a shard's: 4 seconds
    execution = standins.run(0)
    assert execution.errors("BackUpShard") == ["States.Timeout"], "there is no time for another attempt"
    assert execution.states()[-1] == "Merge"
    [task] = standins.tasks("shard")
    assert task.ended.wait(10)
    assert task.code == 143


@pytest.mark.parametrize("plan", ["not JSON", '{"no": "array"}'])
def test_shards_that_can_not_be_read_are_left_to_merge(standins: Standins, plan: str) -> None:
    execution = standins.start_with(plan).wait()
    assert execution.status == "SUCCEEDED", "merge says what the run ends with"
    assert execution.errors("BackUpShards") == ["States.ItemReaderFailed"]
    assert execution.states()[-1] == "Merge"


def test_a_second_run_is_refused_while_one_is_going(standins: Standins) -> None:
    standins.codes("shard01", "hang")
    first = standins.start(0)
    standins.wait_for("shard")
    refused = standins.refused()
    second = standins.run(0)
    assert (second.status, second.error) == ("FAILED", "RunRefused")
    assert first.arn in (second.cause or "")
    assert second.states() == [*CHECKED, "ReportRefusal", "Refuse"]
    assert standins.refused() == refused + 1
    assert first.status == "RUNNING"
    first.stop()
    assert first.wait().status == "ABORTED"
    assert standins.run(0).status == "SUCCEEDED", "nothing runs any more"


def test_of_runs_that_start_together_the_oldest_goes_on(standins: Standins) -> None:
    standins.orchestrated.machine.faults["FindRunningExecutions"] = [StatesError("Sfn.SfnException", "Rate exceeded")]
    standins.codes("shard01", "hang")
    first = standins.start(0)
    standins.wait_for("shard")
    assert [standins.run(0).error for _ in range(2)] == ["RunRefused"] * 2
    first.stop()


def test_executions_that_can_not_be_listed_hold_up_nothing(standins: Standins) -> None:
    broken = [StatesError("Sfn.SfnException", "Service unavailable")] * 4
    standins.orchestrated.machine.faults["FindRunningExecutions"] = broken
    execution = standins.run(0)
    assert execution.states() == ["FindRunningExecutions", "List", "BackUpShards", "Merge"]
    assert execution.status == "SUCCEEDED", execution.cause


def test_an_execution_that_does_not_find_itself_goes_on(standins: Standins) -> None:
    standins.orchestrated.machine.listed = []
    execution = standins.run(0)
    assert execution.states() == ["FindRunningExecutions", "IsAnyRunning", "List", "BackUpShards", "Merge"]


def test_a_refusal_that_can_not_be_reported_is_a_refusal(standins: Standins) -> None:
    standins.codes("shard01", "hang")
    first = standins.start(0)
    standins.wait_for("shard")
    broken = [StatesError("CloudWatch.CloudWatchException", "Service unavailable")] * 4
    standins.orchestrated.machine.faults["ReportRefusal"] = broken
    assert standins.run(0).error == "RunRefused"
    first.stop()


def test_stopping_an_execution_stops_its_tasks(standins: Standins) -> None:
    standins.codes("shard01", "hang")
    standins.codes("shard02", "hang")
    execution = standins.start(0, 0)
    wait_until(lambda: standins.tasks("shard")[1], "both shards")
    execution.stop()
    assert execution.wait().status == "ABORTED"
    assert [child.status for child in execution.children] == ["ABORTED", "ABORTED"]
    for task in standins.tasks("shard"):
        assert task.ended.wait(10)
        assert task.code == 143
    assert standins.tasks("merge") == []


def test_a_run_that_never_ends_is_stopped(standins: Standins) -> None:
    standins.codes("list", "hang")
    standins.orchestrated.machine.timeout_second = 1 / 20_000
    del standins.orchestrated.machine.document["States"]["List"]["TimeoutSeconds"]
    assert standins.run(0).status == "TIMED_OUT"


@pytest.mark.exhaustive
@pytest.mark.usefixtures("bucket")
def test_no_more_tasks_run_at_once_than_shards_were_asked_for(world: World, module: Module) -> None:
    standins = make(world, module.apply(orchestration={"shards": 2, "volumes": True}))
    execution = standins.run(*[0] * 9)
    assert execution.status == "SUCCEEDED", execution.cause
    assert standins.orchestrated.ecs.most_at_once == 2


@pytest.mark.exhaustive
@pytest.mark.usefixtures("bucket")
def test_many_shards_that_fail_are_merged(world: World, module: Module) -> None:
    """What a Map returns may not be too large: nothing catches that."""
    standins = make(world, module.apply(orchestration={"shards": 1000, "attempts": 0, "volumes": True}))
    faults, died = standins.orchestrated.machine.faults, StatesError("States.TaskFailed", "x" * 4000)
    faults["BackUpShard"] = [died] * 150
    some = standins.run(*[0] * 1000)
    assert (some.status, some.states()[-1]) == ("SUCCEEDED", "Merge"), some.cause
    assert some.errors("BackUpShards") == []
    assert Counter(child.status for child in some.children) == {"FAILED": 150, "SUCCEEDED": 850}
    faults["BackUpShard"] = [died] * 1000
    all_of_them = standins.run(*[0] * 1000)
    assert (all_of_them.status, all_of_them.states()[-1]) == ("SUCCEEDED", "Merge"), all_of_them.cause
    assert all_of_them.errors("BackUpShards") == ["States.ExceedToleratedFailureThreshold"]
