"""Tasks that are killed at random: by a plan that one seed decides, so that a failure can be had again."""

import random
import re
from collections import Counter
from dataclasses import dataclass, field

from embedded.ecs import EcsTask
from embedded.organisation import AWKWARD, OWNER, SECOND_OWNER, plain
from support.orchestrated import Orchestrated
from support.world import World

# A repository is done.
DONE = re.compile(r'"done": \d+')
# Made once and served under many names.
SERVED = (*AWKWARD, *plain(30))


@dataclass
class Killer:
    """Kills tasks of a cluster. `after`: how many repositories each attempt of a shard gets done before that."""

    after: dict[str, list[int]]
    attempts: Counter[str] = field(default_factory=Counter)
    done: Counter[str] = field(default_factory=Counter)
    killed: list[EcsTask] = field(default_factory=list)

    def watch(self, orchestrated: Orchestrated) -> "Killer":
        orchestrated.ecs.on_line = self.see
        return self

    def see(self, task: EcsTask, line: str) -> None:
        """Take a line of a task's log, and kill the task where its time has come."""
        shard = task.environment.get("RUN_SHARD")
        if shard is None or task in self.killed:
            return
        if len(task.lines) == 1:
            self.attempts[shard] += 1
        self.done[task.arn] += bool(DONE.search(line))
        left = self.after.get(shard, [])[self.attempts[shard] - 1 :]
        if left and self.done[task.arn] >= left[0]:
            self.killed.append(task)
            task.kill()


def at_random(seed: int, shards: int, repositories: int, attempts: int) -> dict[str, list[int]]:
    """Return when tasks are killed: most shards at least once, none in its last attempt."""
    chance = random.Random(seed)  # noqa: S311
    each = max(1, repositories // shards)
    names = [f"{number:0{len(str(shards))}}" for number in range(1, shards + 1)]
    return {name: [chance.randint(0, each) for _ in range(chance.randint(0, attempts))] for name in names}


def add_many(world: World, number: int) -> None:
    """Add so many repositories of two owners. Their contents differ from one to the next."""
    for index in range(number):
        recipe = SERVED[index % len(SERVED)]
        owner = OWNER if index % 4 else SECOND_OWNER
        world.add(recipe.name, name=f"{recipe.name[:40]}-{index:05}", owner=owner, size_kb=1 + index % 50)
