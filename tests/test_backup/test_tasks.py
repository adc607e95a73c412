"""A run in several tasks: list, one task for each shard, merge. Its result is that of a single task."""

import shutil
import signal
from datetime import UTC, datetime
from typing import Any

import pytest

from embedded.github import Fault
from embedded.killing import kill_with_children
from embedded.ports import wait_until
from embedded.s3_proxy import S3Fault, S3Proxy
from support.changing import add_large, grow
from support.world import Run, World, uploaded

# What differs between two runs of the same day, whatever they found.
DIFFERENT = {
    "run_id",
    "started_at",
    "finished_at",
    "backed_up_at",
    "duration_seconds",
    "s3_key",
    "version_id",
    "previous",
}


class Tasks:
    """The tasks of one run."""

    def __init__(self, world: World, name: str = "a-run", **changes: str) -> None:
        self.world, self.name = world, name
        started_at = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        self.changes = {"RUN_NAME": name, "RUN_STARTED_AT": started_at, "RUN_SHARDS": "3", **changes}

    def start(self, command: str, **changes: str) -> Any:
        return self.world.start_task(command, **(self.changes | changes))

    def do(self, command: str, **changes: str) -> Run:
        return self.world.end(self.start(command, **changes))

    def do_all(self, **changes: str) -> Run:
        """Do every task, in the order in which a state machine starts them; return the merge's run."""
        assert self.do("list", **changes).code == 0
        for item in self.items:
            assert self.do("shard", RUN_SHARD=item["shard"], **changes).code == 0
        return self.do("merge", **changes)

    def kill(self, begun: Any, **changes: str) -> None:
        """Start a shard's task and kill it as a broken machine would, once something has begun."""
        process = self.start("shard", **changes)
        wait_until(begun, "what the shard is killed in", ended=lambda: process.poll() is not None)
        kill_with_children(process.pid)
        process.communicate()
        for left in self.world.scratch.iterdir():
            shutil.rmtree(left)

    @property
    def items(self) -> list[dict[str, Any]]:
        """What the state machine is told of the shards."""
        items: Any = self.world.read(self.key("shards.json"))
        return list(items)

    def key(self, rest: str) -> str:
        return self.world.key(f"plans/{self.name}/{rest}")

    def saved(self) -> set[str]:
        return {key for key in self.world.stored_keys() if key.startswith(self.key("stored/"))}


def same(document: Any) -> Any:
    """Return a manifest without what differs from run to run."""
    if isinstance(document, dict):
        return {name: same(value) for name, value in document.items() if name not in DIFFERENT}
    return [same(item) for item in document] if isinstance(document, list) else document


@pytest.fixture
def tasks(world: World) -> Tasks:
    for name in ("api", "fork", "public", "empty", "tags-only", "shared-commit"):
        world.add(name)
    return Tasks(world)


def test_the_result_is_that_of_a_single_run(world: World, tasks: Tasks) -> None:
    """Of a first backup, and of a second one that finds nothing changed and a repository gone."""
    merged = tasks.do_all()
    metrics = world.metrics()
    single = world.run(SERVICE_NAME="single")
    assert (merged.code, single.code) == (0, 0)
    assert {entry["status"] for entry in merged.repos.values()} == {"stored", "empty"}
    for entry in (*merged.repos.values(), *single.repos.values()):
        entry["status"] = entry["status"].replace("unchanged", "stored")
    assert same(merged.manifest) == same(single.manifest)
    assert merged.events[-1].keys() == single.events[-1].keys()
    assert metrics["BackupSuccess"] == [6]
    assert metrics["BackupFailure"] == [0]
    assert metrics["BytesUploaded"] == [uploaded(merged)]
    assert (metrics["Shards"], metrics["ShardsFailed"]) == ([3], [0])
    assert metrics["RunDuration"][0] > 0

    world.yesterday()
    fork = next(fake for fake in world.github.repositories.values() if fake.name == "fork")
    fork.gone = True
    again = Tasks(world, "another").do_all()
    assert again.code == 0
    assert {entry["status"] for entry in again.repos.values()} == {"unchanged", "empty"}
    assert again.manifest is not None
    assert [record["full_name"] for record in again.manifest["vanished"]] == ["acme/fork"]


def test_the_plan_spreads_the_largest_repositories_and_says_what_each_shard_needs(world: World) -> None:
    for number, size in enumerate([300 * 1024**2, 9000, 8000, 7000, 20, 10]):
        world.add("fork", name=f"r{number}", size_kb=size)
    tasks = Tasks(world, SHARD_DISK_GIB="200", INSTALLATION_REQUESTS="12", BACKUP_CONCURRENCY="8")
    listed = tasks.do("list")
    assert listed.code == 0
    assert listed.events[-1]["event"] == "plan written"
    shards = [world.read(tasks.key(f"shards/{item['shard']}.json")) for item in tasks.items]
    names = [[repository["name"] for repository in shard["repositories"]] for shard in shards]
    assert names == [["r0"], ["r1", "r4", "r5"], ["r2", "r3"]]
    assert [item["volume_gib"] for item in tasks.items] == [563, 0, 0]
    assert {shard["workers"] for shard in shards} == {4}
    assert {item["run_name"] for item in tasks.items} == {"a-run"}


def test_a_second_list_of_the_same_run_keeps_the_plan(world: World, tasks: Tasks) -> None:
    assert tasks.do("list").code == 0
    before = world.read(tasks.key("plan.json"))
    world.add("sha256")
    again = tasks.do("list", RUN_SHARDS="1")
    assert (again.code, again.events[-1]["event"]) == (0, "plan already written")
    assert world.read(tasks.key("plan.json")) == before
    assert len(tasks.items) == 3


def test_a_killed_shard_is_tried_again_and_finds_what_it_stored(world: World, tasks: Tasks) -> None:
    tasks.changes |= {"RUN_SHARDS": "1", "BACKUP_CONCURRENCY": "1"}
    assert tasks.do("list").code == 0
    hang = Fault(r"POST /acme/shared-commit\.git", status=0, delay=60, times=1)
    world.github.faults = [hang]

    def hangs() -> None:
        assert hang.times == 0

    tasks.kill(hangs, RUN_SHARD="1")
    saved = tasks.saved()
    assert saved
    asked_before = len(world.github.exchanges)
    shard = tasks.do("shard", RUN_SHARD="1")
    assert shard.code == 0
    assert shard.named("shard started")[0]["already_stored"] == len(saved)
    cloned_again = {line["full_name"] for line in shard.named("started")}
    assert len(cloned_again) == 6 - len(saved)
    asked = [exchange.path for exchange in world.github.exchanges[asked_before:]]
    for key in saved:
        name = world.read(key)["full_name"]
        assert not any(f"/{name}" in path for path in asked)
    merged = tasks.do("merge")
    assert merged.code == 0
    assert len(merged.repos) == 6
    assert world.metrics()["BytesUploaded"] == [uploaded(merged)]
    stored = [key for key in world.stored_keys() if key.endswith(".bundle")]
    assert len(stored) == 5


def test_a_killed_shard_that_is_tried_again_stores_changes(world: World) -> None:
    repository = add_large(world)
    first = world.run().repos["acme/api"]
    world.yesterday()
    grow(repository)
    tasks = Tasks(world, RUN_SHARDS="1", SERVICE_NAME="killed")
    assert tasks.do("list").code == 0
    drip = Fault(r"POST /acme/api\.git", status=0, drip=0.5)
    world.github.faults = [drip]

    def arrive() -> None:
        assert drip.times == 0

    tasks.kill(arrive, RUN_SHARD="1")
    assert tasks.do("shard", RUN_SHARD="1").code == 0
    merged = tasks.do("merge")
    assert merged.code == 0, merged.output
    entry = merged.repos["acme/api"]
    assert entry["base"]["sha256"] == first["sha256"]
    metrics = world.stack.aws.metrics("killed")
    assert metrics["RepositoriesStoredAsChanges"] == [1]
    assert metrics["BytesFetched"] == metrics["BytesUploaded"] == [entry["size_bytes"]]


def test_a_bundle_that_was_stored_and_not_noted_does_not_keep_its_shard_from_storing_another(
    tasks: Tasks, s3_proxy: S3Proxy
) -> None:
    """Twice: each attempt has keys of its own."""
    tasks.changes |= {"RUN_SHARDS": "1"}
    assert tasks.do("list").code == 0
    for _ in range(2):
        s3_proxy.faults = [S3Fault(r"PUT .*/stored/", "hang", times=99), S3Fault(r"PUT .*/reports/", "hang", times=99)]

        def stored() -> None:
            assert sum("PUT" in request and "/stored/" in request for request in s3_proxy.requests) >= 5

        tasks.kill(stored, RUN_SHARD="1")
        s3_proxy.requests.clear()
    s3_proxy.faults = []
    assert tasks.do("shard", RUN_SHARD="1").code == 0
    merged = tasks.do("merge")
    assert merged.code == 0
    assert len(merged.repos) == 6


def test_a_shard_that_never_ends_is_named_repository_by_repository(world: World, tasks: Tasks) -> None:
    assert tasks.do("list").code == 0
    lost, *others = [item["shard"] for item in tasks.items]
    for number in others:
        assert tasks.do("shard", RUN_SHARD=number).code == 0
    merged = tasks.do("merge")
    names = {repository["name"] for repository in world.read(tasks.key(f"shards/{lost}.json"))["repositories"]}
    assert names
    assert merged.code == 1
    assert {name.partition("/")[2] for name in merged.failures} == names
    assert all(f"shard {lost} did not finish" in failure["error"] for failure in merged.failures.values())
    assert {line["full_name"] for line in merged.named("failed")} == merged.failures.keys()
    assert merged.manifest is not None
    assert merged.manifest["complete"] is True
    assert len(merged.repos) == 6 - len(names)
    assert world.metrics()["ShardsFailed"] == [1]
    assert world.metrics()["BackupFailure"] == [len(names)]


def test_a_stopped_shard_writes_no_report_and_goes_on_when_tried_again(world: World, tasks: Tasks) -> None:
    tasks.changes |= {"RUN_SHARDS": "1", "BACKUP_CONCURRENCY": "1"}
    assert tasks.do("list").code == 0
    hang = Fault(r"POST /acme/shared-commit\.git", status=0, delay=60, times=1)
    world.github.faults = [hang]
    process = tasks.start("shard", RUN_SHARD="1")

    def hangs() -> None:
        assert hang.times == 0

    wait_until(hangs, "the clone that the shard is stopped in")
    process.send_signal(signal.SIGTERM)
    stopped = world.end(process)
    assert (stopped.code, stopped.events[-1]["event"]) == (143, "shard stopped")
    assert tasks.key("reports/1.json") not in world.stored_keys()
    assert world.metrics() == {}
    assert tasks.do("shard", RUN_SHARD="1").code == 0
    assert tasks.do("merge").code == 0


def test_a_shard_reports_once_and_a_run_is_merged_once(world: World, tasks: Tasks) -> None:
    merged = tasks.do_all()
    keys, metrics = world.stored_keys(), world.metrics()
    again = tasks.do("shard", RUN_SHARD="1")
    assert (again.code, again.events[-1]["event"]) == (0, "shard already reported")
    again = tasks.do("merge")
    assert (again.code, again.manifest) == (merged.code, None)
    assert (world.stored_keys(), sum(world.metrics()["BackupSuccess"])) == (keys, sum(metrics["BackupSuccess"]))

    # A merge that died after it had written the run's manifest left the rest to the next one.
    for key in (tasks.key("published.json"), world.key("manifest.json")):
        world.stack.s3.client().delete_object(Bucket=world.bucket, Key=key)
    assert tasks.do("merge").code == merged.code
    assert world.stored_keys() == keys
    assert sum(world.metrics()["BackupSuccess"]) == 2 * sum(metrics["BackupSuccess"])


def test_failures_of_every_stage_reach_the_manifest(world: World, tasks: Tasks) -> None:
    world.add("empty", name="größe")
    world.github.faults = [Fault(r"GET /acme/fork\.git", status=403, times=99, message="no")]
    merged = tasks.do_all()
    assert merged.code == 1
    assert {name: failure["stage"] for name, failure in merged.failures.items()} == {
        "acme/fork": "clone",
        "acme/größe": "list",
    }
    assert world.metrics()["BackupFailure"] == [2]


def test_the_deadline_counts_from_the_start_of_the_run(tasks: Tasks) -> None:
    """The shards come after it: they report what is missing, and are not tried again."""
    assert tasks.do("list").code == 0
    late = {"RUN_DEADLINE_HOURS": "0.0001"}
    for item in tasks.items:
        shard = tasks.do("shard", RUN_SHARD=item["shard"], **late)
        assert (shard.code, shard.events[-1]["event"]) == (0, "shard finished")
    merged = tasks.do("merge", **late)
    assert merged.code == 1
    assert len(merged.failures) == 6
    assert all("RUN_DEADLINE_HOURS" in failure["error"] for failure in merged.failures.values())


def test_many_lost_repositories_are_an_anomaly(world: World, tasks: Tasks) -> None:
    assert world.run().code == 0
    world.yesterday()
    for fake in world.github.repositories.values():
        fake.gone = fake.name in ("api", "fork", "public")
    merged = tasks.do_all(SERVICE_NAME="anomaly")
    assert merged.code == 1
    assert world.stack.aws.metrics("anomaly")["BackupAnomaly"] == [1]
    assert tasks.do("merge").code == 1


def test_what_is_wrong_at_the_start_of_each_task_is_said_at_once(world: World, tasks: Tasks) -> None:
    wrong = {"RUN_NAME": "a/b", "RUN_STARTED_AT": "yesterday", "RUN_SHARDS": "0", "INSTALLATION_REQUESTS": "many"}
    for command in ("list", "shard", "merge"):
        run = tasks.do(command, **wrong, RUN_SHARD="x")
        assert run.code == 2
        named = {problem.split()[0] for problem in run.problems}
        assert named == wrong.keys() | ({"RUN_SHARD"} if command == "shard" else set())
    assert sum(world.metrics()["BackupFailure"]) == 2  # not of the shard: another task takes its place


def test_a_shard_and_a_merge_before_the_list_say_what_is_missing(tasks: Tasks) -> None:
    shard, merge = tasks.do("shard", RUN_SHARD="1"), tasks.do("merge")
    assert (shard.code, merge.code) == (2, 2)
    for run in (shard, merge):
        assert len(run.problems) == 1
        assert "did `backup list` succeed?" in run.problems[0]


def test_a_report_that_is_broken_is_named(world: World, tasks: Tasks) -> None:
    assert tasks.do("list").code == 0
    world.stack.s3.client().put_object(Bucket=world.bucket, Key=tasks.key("reports/1.json"), Body=b'{"shard": 1}')
    merged = tasks.do("merge")
    assert merged.code == 2
    assert len(merged.problems) == 1
    assert "reports/1.json can't be used" in merged.problems[0]
