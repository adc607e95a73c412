"""`make test-orchestration`: a large run in many tasks, killed at random, and every bundle of it restored.

Everything around the program is embedded, as in the other tests. `make test` leaves this file out, as it takes many
minutes; it has a small one of the same kind in tests/test_backup/test_orchestration.py.
"""

import os
import time
from collections import Counter

from support.killed_at_random import Killer, add_many, at_random
from support.orchestrated import OrchestratedRun, apply_for, orchestrate
from support.world import World
from terraform.module import Module

REPOSITORIES, SHARDS = int(os.environ.get("REPOSITORIES", "5000")), int(os.environ.get("SHARDS", "16"))
SEED = int(os.environ.get("SEED", "20261123"))
HOUR = 3600


def say(text: str) -> None:
    print(f"orchestration: {text}", flush=True)


def say_what_was_done(run: OrchestratedRun, killer: Killer, most_at_once: int) -> None:
    execution, shards = run.execution, [task for task in run.tasks if "RUN_SHARD" in task.environment]
    for state in ("List", "BackUpShards", "Merge"):
        say(f"{state}: {execution.seconds(state):.0f} s")
    say(f"{len(shards)} tasks for {SHARDS} shards, {len(killer.killed)} of them killed, at most {most_at_once} at once")
    attempts = sorted(child.tries("BackUpShard") for child in execution.children)
    say("attempts: " + ", ".join(f"{count} shards with {tries}" for tries, count in Counter(attempts).items()))
    found = sum(line["already_stored"] for line in run.named("shard started"))
    say(f"attempts found {found} repositories that an attempt before them had stored")


def test_a_large_run_whose_tasks_are_killed_at_random_loses_nothing(world: World, module: Module) -> None:
    add_many(world, REPOSITORIES)
    orchestrated = orchestrate(world, apply_for(world, module, orchestration={"shards": SHARDS, "volumes": True}))
    killer = Killer(at_random(SEED, SHARDS, REPOSITORIES, attempts=3)).watch(orchestrated)
    say(f"{REPOSITORIES} repositories in {SHARDS} shards; SEED={SEED} decides which tasks are killed, and when")
    execution = orchestrated.machine.start()
    execution.wait(HOUR)
    say(f"the execution {execution.status.lower()}")
    begun = time.monotonic()
    run = orchestrated.end(execution)
    say_what_was_done(run, killer, orchestrated.ecs.most_at_once)
    assert execution.status == "SUCCEEDED", execution.cause
    assert len(run.repos) == REPOSITORIES
    assert killer.killed
    stored = [entry for entry in run.repos.values() if entry["status"] == "stored"]
    seconds = time.monotonic() - begun
    different = len({entry["sha256"] for entry in stored})
    say(f"{len(stored)} bundles read, {different} different ones restored with git alone, in {seconds:.0f} s")

    begun = time.monotonic()
    verified = world.restore("verify", "--all")
    assert verified.code == 0, verified.stderr[-2000:]
    names = {line["full_name"] for line in verified.named("verified")}
    assert names == run.repos.keys()
    say(f"{len(names)} repositories restored one by one and compared, in {time.monotonic() - begun:.0f} s")
