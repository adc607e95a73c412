"""How long a run in several tasks takes, and what it costs per month.

The comments say what was measured (docs/performance.md) and what is assumed.
"""

import argparse
from dataclasses import dataclass
from math import ceil

from calculator import durations, one_task

# Measured, in seconds for each repository: to list in pages of 100, each answered after 100 ms, eight at once; and to
# merge.
LIST_REPOSITORY, MERGE_REPOSITORY = 0.0002, 0.00015
# vCPUs and GB of memory of the tasks that list and merge.
SMALL_VCPU, SMALL_MEMORY = 0.5, 2.0
# From backup/plan/split.py: with fewer workers than this, one more shard does not help its installation.
MIN_WORKERS = 4
# From capacity.py: GiB of a task's disk that the image takes, and a volume's size by the disk that a clone takes.
TAKEN_DISK, VOLUME_FACTOR, GIB = 2, 1.5, 1024**3 / 1e9
# The largest temporary disk of a Fargate task, in GiB.
LARGEST_DISK = 200
# State transitions of a run and of each shard. Assumed: some more than the states that they pass through.
RUN_TRANSITIONS, SHARD_TRANSITIONS = 10, 4


@dataclass(frozen=True)
class Run:
    """Seconds of a run in several tasks: to list, the longest shard, all shards together, to merge."""

    listing: float
    longest: float
    all_shards: float
    merging: float

    @property
    def seconds(self) -> float:
        return self.listing + self.longest + self.merging


def run(work: durations.Work, given: argparse.Namespace) -> Run:
    """Return how long a run takes: the shards share the work evenly, but for the largest repository."""
    shards, repositories = most_shards(given), work.cloned + work.unchanged + work.changed
    parts = durations.parts(work, given.vcpu * shards)
    even = max(parts.cpu, waiting(parts, given), network(work, given))
    return Run(
        listing=durations.TASK_START + repositories * LIST_REPOSITORY,
        longest=durations.TASK_START + max(even, parts.largest),
        all_shards=shards * (durations.TASK_START + even) + max(0.0, parts.largest - even),
        merging=durations.TASK_START + repositories * MERGE_REPOSITORY,
    )


def most_shards(given: argparse.Namespace) -> int:
    """Return the shards that there are: no more than the installations can serve."""
    return int(min(given.shards, given.repositories, max(1, given.requests // MIN_WORKERS) * given.installations))


def at_once(given: argparse.Namespace) -> float:
    """Return how many repositories are stored at once in all shards together."""
    workers = durations.IN_FLIGHT * given.vcpu * most_shards(given)
    return float(min(workers, given.requests * given.installations))


def waiting(parts: durations.Parts, given: argparse.Namespace) -> float:
    """Return the seconds of waiting in all shards together."""
    return parts.waiting(at_once(given), given.requests * given.installations)


def network(work: durations.Work, given: argparse.Namespace) -> float:
    """Return the seconds in which the bytes come over the network."""
    return float(work.gigabytes / min(durations.ALL_CLONES * most_shards(given), given.network))


def volume_gib(gigabytes: float, disk_gib: float) -> int:
    """Return the GiB of the volume that a repository of so many GB needs; 0 where the task's own disk is enough."""
    needs = durations.DISK * gigabytes / GIB
    if needs <= durations.USABLE_DISK * (disk_gib - TAKEN_DISK):
        return 0
    return ceil(max(disk_gib, VOLUME_FACTOR * needs))


@dataclass(frozen=True)
class Costs:
    """Dollars per month of what a run in several tasks needs besides storage; `total` is everything."""

    list_and_merge: float
    shards: float
    volume: float
    transitions: float
    plan_requests: float
    total: float

    @property
    def of_runs(self) -> float:
        return self.list_and_merge + self.shards + self.volume + self.transitions + self.plan_requests


def monthly(given: argparse.Namespace) -> Costs:
    """Return the costs of what was given: those of a single task, without it, and of the tasks in its place."""
    day, month = one_task.a_day(given), given.runs_a_day * one_task.DAYS_A_MONTH
    work = one_task.usual_run(day, given)
    found, base = run(work, given), one_task.costs(given)
    small = SMALL_VCPU * given.price_cpu + SMALL_MEMORY * given.price_memory + given.price_address
    volume = volume_gib(given.largest, given.disk) * given.price_volume / one_task.HOURS_A_MONTH
    transitions = RUN_TRANSITIONS + SHARD_TRANSITIONS * most_shards(given)
    of_runs = (
        month * (found.listing + found.merging) / 3600 * small,
        month * found.all_shards / 3600 * one_task.task_hour(given),
        month * found.longest / 3600 * volume,
        month * transitions * given.price_transition / 1000,
        month * plan_requests(work, given) / 1000,
    )
    return Costs(*of_runs, total=base.total - base.task + sum(of_runs))


def plan_requests(work: durations.Work, given: argparse.Namespace) -> float:
    """Return the dollars of 1,000 runs' requests for plan and progress: PUT in both buckets, GET in the primary."""
    puts = 2 + 2 * most_shards(given) + work.cloned + work.changed
    gets = 3 + 6 * most_shards(given)
    replica_put = given.price_s3_put_cold if one_task.is_cold(given) else given.price_s3_put
    return float(puts * (given.price_s3_put + replica_put) + gets * given.price_s3_head)
