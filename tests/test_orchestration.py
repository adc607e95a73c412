"""Runs in many tasks: the module's state machine, and processes of the program that it starts."""

import pytest

from embedded.organisation import AWKWARD
from orchestrated import Orchestrated, apply_for, orchestrate
from terraform.module import Module
from world import World


@pytest.fixture
def orchestrated(world: World, module: Module) -> Orchestrated:
    return orchestrate(world, apply_for(world, module))


def test_try(orchestrated: Orchestrated) -> None:
    for recipe in AWKWARD:
        orchestrated.world.add(recipe.name)
    run = orchestrated.run()
    print(run.execution.status, run.execution.cause, run.code)
    for t in run.tasks:
        print(t.command, t.code, t.environment.get("RUN_SHARD")); print(t.output[-1500:])
    print(orchestrated.ecs.most_at_once, orchestrated.world.metrics())
    assert 0
