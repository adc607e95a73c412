#!/usr/bin/env python3
"""Estimate how long a run in several tasks takes, and what it costs per month. Every assumption is an option.

python3 docs/scaling.py --repositories 50000 --gigabytes 20000 --largest 100 --shards 32 --vcpu 2 --memory 8
python3 docs/scaling.py --help

The comments say what was measured (docs/performance.md) and what is assumed. Prices are assumed, as in docs/costs.py.
"""

import argparse
from dataclasses import dataclass
from math import ceil

import costs
import durations

# Measured, in seconds for each repository: to list in pages of 100, each answered after 100 ms; and to merge.
LIST_REPOSITORY, MERGE_REPOSITORY = 0.0011, 0.00005
# The module's defaults: shards, requests_per_installation, and vCPUs and GB of memory of the tasks that list and merge.
DEFAULT_SHARDS, INSTALLATION_REQUESTS = 16, 96
SMALL_VCPU, SMALL_MEMORY = 0.5, 2.0
# From backup/plan/split.py: with fewer workers than this, one more shard does not help its installation.
MIN_WORKERS = 4
# From capacity.py: GiB of a task's disk that the image takes, and a volume's size by the disk that a clone takes.
TAKEN_DISK, VOLUME_FACTOR, GIB = 2, 1.5, 1024**3 / 1e9
# The largest temporary disk of a Fargate task, in GiB.
LARGEST_DISK = 200
# State transitions of a run and of each shard. Assumed: some more than the states that they pass through.
RUN_TRANSITIONS, SHARD_TRANSITIONS = 10, 4
# Repositories in a page of the listing, which is one request to GitHub's REST API.
PAGE = 100
PRICES = (
    ("transition", 0.025, "1,000 state transitions of Step Functions"),
    ("volume", 0.08, "a GB-month of an EBS volume (gp3), by the second"),
)
SHARDS = (1, 2, 4, 8, 16, 32, 64)
SHARD = durations.Task(vcpu=2, memory_gb=8, disk_gb=50)


@dataclass(frozen=True)
class Size:
    """What is to be backed up: repositories, GB of all, GB of the largest, organizations (installations of the App)."""

    repositories: int
    gigabytes: float
    largest: float
    organizations: int = 1

    @property
    def first_run(self) -> durations.Work:
        return durations.first_run(self.repositories, self.gigabytes, self.largest)

    @property
    def bad_day(self) -> durations.Work:
        return costs.bad_day(self.repositories, self.gigabytes, self.largest)

    @property
    def label(self) -> str:
        where = f" in {self.organizations} organizations" if self.organizations > 1 else ""
        return f"{self.repositories:,}{where}, {self.gigabytes:,} GB"


# Of the worked examples: many repositories, and one that is too large for the disk of a Fargate task.
LARGE, MONOREPO = Size(50_000, 20_000, 100, 10), Size(1, 300, 300)
SIZES = (
    *(Size(500, 40, 5), Size(10_000, 500, 20), Size(10_000, 2_000, 60), Size(500, 1_000, 140)),
    *(Size(20_000, 5_000, 60, 4), LARGE, Size(100_000, 10_000, 20, 20), Size(50, 500, 300), MONOREPO),
)


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
    shards, repositories = most_shards(given), work.cloned + work.unchanged
    parts = durations.parts(work, given.vcpu * shards)
    even = max(parts.cpu, parts.waiting_alone / at_once(given), network(work, given))
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
    """Return how many repositories are in flight in all shards together."""
    workers = durations.IN_FLIGHT * given.vcpu * most_shards(given)
    return float(min(workers, given.requests * given.installations))


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
    day, month = costs.a_day(given), given.runs_a_day * costs.DAYS_A_MONTH
    work = costs.usual_run(day, given)
    found, base = run(work, given), costs.costs(given)
    small = SMALL_VCPU * given.price_cpu + SMALL_MEMORY * given.price_memory + given.price_address
    volume = volume_gib(given.largest, given.disk) * given.price_volume / costs.HOURS_A_MONTH
    transitions = RUN_TRANSITIONS + SHARD_TRANSITIONS * most_shards(given)
    of_runs = (
        month * (found.listing + found.merging) / 3600 * small,
        month * found.all_shards / 3600 * costs.task_hour(given),
        month * found.longest / 3600 * volume,
        month * transitions * given.price_transition / 1000,
        month * plan_requests(work, given) / 1000,
    )
    return Costs(*of_runs, total=base.total - base.task + sum(of_runs))


def plan_requests(work: durations.Work, given: argparse.Namespace) -> float:
    """Return the dollars of 1,000 runs' requests for plan and progress: PUT in both buckets, GET in the primary."""
    puts = 2 + 2 * most_shards(given) + work.cloned
    gets = 3 + 6 * most_shards(given)
    replica_put = given.price_s3_put_cold if costs.is_cold(given) else given.price_s3_put
    return float(puts * (given.price_s3_put + replica_put) + gets * given.price_s3_head)


def rest_requests(repositories: int) -> int:
    """Return the requests to GitHub's REST API of a first run in which each repository has tags."""
    return ceil(repositories / PAGE) + repositories


# -- which size ----------------------------------------------------------------------------------


def enough_shards(size: Size) -> int:
    """Return the fewest shards whose first run takes a night, or as long as with the most shards."""
    lasts = {shards: run(size.first_run, given_for(size, shards)).seconds for shards in SHARDS}
    longest = max(costs.LONGEST_FIRST_RUN, min(lasts.values()) * 1.02)
    return next(shards for shards, seconds in lasts.items() if seconds <= longest)


def is_too_large(size: Size) -> bool:
    """Return whether the work is too much for one task: a clone for its disk, or a first run for a night."""
    alone = durations.TASK_START + size.largest * durations.LARGEST_GB
    lasts = durations.seconds(size.first_run, durations.VCPUS[-1])
    return volume_gib(size.largest, LARGEST_DISK) > 0 or lasts > max(costs.LONGEST_FIRST_RUN, alone)


def given_for(size: Size, shards: int, **more: object) -> argparse.Namespace:
    """Return the options for shards of the usual size."""
    about = {"repositories": size.repositories, "gigabytes": size.gigabytes, "largest": size.largest}
    of_shards = {"shards": shards, "installations": size.organizations}
    of_each = {"vcpu": SHARD.vcpu, "memory": SHARD.memory_gb, "disk": shard_disk(size.largest)}
    return parsed(**(about | of_shards | of_each | more))


def shard_disk(largest: float) -> int:
    """Return the smallest disk that holds the largest repository; the usual one where that needs a volume."""
    fits = (disk for disk in range(SHARD.disk_gb, LARGEST_DISK + 1, 10) if not volume_gib(largest, disk))
    return next(fits, SHARD.disk_gb)


# -- the command line ----------------------------------------------------------------------------


def options() -> argparse.ArgumentParser:
    """Return the command line: that of docs/costs.py, and what only several tasks have."""
    parser = costs.options()
    parser.description = "Estimate runs in several tasks: seconds, and monthly costs once the retention is reached."
    add = parser.add_argument
    add("--shards", type=int, default=DEFAULT_SHARDS, help="orchestration.shards; --vcpu, --memory, --disk: of each")
    add("--requests", type=int, default=INSTALLATION_REQUESTS, help="orchestration.requests_per_installation")
    add("--installations", type=int, default=1, help="installations of the App, of about the same size")
    add("--network", type=float, default=1.0, help="GB per second that GitHub sends to all tasks together")
    for name, price, meaning in PRICES:
        add(f"--price-{name}", type=float, default=price, help=f"assumed price of {meaning}")
    return parser


def parsed(**given: object) -> argparse.Namespace:
    """Return these options, the defaults for all others."""
    return options().parse_args([f"--{name.replace('_', '-')}={value}" for name, value in given.items()])


def printed(given: argparse.Namespace) -> str:
    """Return the estimate, a line for each part."""
    found = monthly(given)
    first = run(durations.first_run(given.repositories, given.gigabytes, given.largest), given)
    usual = run(costs.usual_run(costs.a_day(given), given), given)
    volume = volume_gib(given.largest, given.disk)
    rows = {
        "first run": costs.duration(first.seconds),
        "usual run": costs.duration(usual.seconds),
        "volume": f"{volume:,} GiB" if volume else "none",
        "list and merge": costs.dollars(found.list_and_merge),
        "shards": costs.dollars(found.shards),
        "volumes": costs.dollars(found.volume),
        "state transitions": costs.dollars(found.transitions),
        "plan and progress": costs.dollars(found.plan_requests),
        "storage and the rest": costs.dollars(found.total - found.of_runs),
        "per month": costs.dollars(found.total),
    }
    return "\n".join(f"{name:<24}{value:>12}" for name, value in rows.items())


# -- the tables of the page ----------------------------------------------------------------------


def sizes_table() -> str:
    """Return what each size needs: one task, or so many shards."""
    rows = [
        "| Repositories, size | Largest | Needs | Task, or each shard | Volume | First run | Daily run | Per month |",
        "|---|---:|---|---|---:|---:|---:|---:|",
    ]
    return "\n".join([*rows, *(in_shards_row(size) if is_too_large(size) else one_task_row(size) for size in SIZES)])


def one_task_row(size: Size) -> str:
    """Return the row of a size for which one task is enough."""
    task = durations.task_for(size.repositories, size.gigabytes, size.largest, costs.LONGEST_FIRST_RUN)
    about = {"repositories": size.repositories, "gigabytes": size.gigabytes, "largest": size.largest}
    found = costs.estimate(**about, vcpu=task.vcpu, memory=task.memory_gb, disk=task.disk_gb)
    lasts = [durations.seconds(work, task.vcpu) for work in (size.first_run, size.bad_day)]
    return row(size, "one task", task, 0, lasts, found.task)


def in_shards_row(size: Size) -> str:
    """Return the row of a size that needs shards."""
    shards = enough_shards(size)
    given = given_for(size, shards)
    lasts = [run(work, given).seconds for work in (size.first_run, size.bad_day)]
    task, volume = durations.Task(SHARD.vcpu, SHARD.memory_gb, int(given.disk)), volume_gib(size.largest, given.disk)
    return row(size, counted(shards), task, volume, lasts, monthly(given).of_runs)


def row(size: Size, needs: str, task: durations.Task, volume: int, lasts: list[float], dollars: float) -> str:
    """Return a row of the table of sizes."""
    each = f"{task.vcpu * 1024}, {task.memory_gb * 1024}, {task.disk_gb}"
    gib = f"{volume:,} GiB" if volume else "none"
    times = " | ".join(costs.duration(seconds) for seconds in lasts)
    return f"| {size.label} | {size.largest:g} GB | {needs} | {each} | {gib} | {times} | {costs.dollars(dollars)} |"


def counted(shards: int) -> str:
    return f"{shards} shards" if shards > 1 else "1 shard"


def costs_table() -> str:
    """Return what the runs cost per month, by what is paid for."""
    rows = [
        "| Repositories, size | Shards | List and merge | Shards' tasks | Volumes | State transitions "
        "| Plan and progress in S3 | Everything, with storage |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for size in filter(is_too_large, SIZES):
        shards = enough_shards(size)
        found = monthly(given_for(size, shards))
        parts = (found.list_and_merge, found.shards, found.volume, found.transitions, found.plan_requests, found.total)
        rows.append(f"| {size.label} | {shards} | {' | '.join(costs.dollars(part) for part in parts)} |")
    return "\n".join(rows)


def rest_table() -> str:
    """Return how long GitHub's limit of requests makes a first run last."""
    rows = [
        "| Repositories of one installation | Requests to the API | At 5,000 an hour | At 15,000 an hour |",
        "|---:|---:|---:|---:|",
    ]
    for repositories in (1_000, 10_000, 50_000):
        requests = rest_requests(repositories)
        hours = " | ".join(waited(requests, limit) for limit in (5_000, 15_000))
        rows.append(f"| {repositories:,} | {requests:,} | {hours} |")
    return "\n".join(rows)


def waited(requests: int, limit: int) -> str:
    """Return the time until the last request is allowed: a limit's worth at once, and more after each hour."""
    return "no wait" if requests <= limit else f"{ceil(requests / limit) - 1} h"


def large_table() -> str:
    """Return the worked example of many repositories with each number of shards."""
    rows = [
        "| Shards | vCPU of all | CPU time | Waiting | Network | Largest | First run | Usual run | Runs per month |",
        "|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    work = LARGE.first_run
    for shards in SHARDS:
        given = given_for(LARGE, shards)
        parts = durations.parts(work, given.vcpu * shards)
        usual = run(costs.usual_run(costs.a_day(given), given), given)
        seconds = [parts.cpu, parts.waiting_alone / at_once(given), network(work, given), parts.largest]
        times = " | ".join(costs.duration(each) for each in [*seconds, run(work, given).seconds, usual.seconds])
        rows.append(f"| {shards} | {given.vcpu * shards:g} | {times} | {costs.dollars(monthly(given).of_runs)} |")
    return "\n".join(rows)


def monorepo_table() -> str:
    """Return the worked example of one large repository that changes every day."""
    given, short = (
        given_for(MONOREPO, 1, changed_repositories=1, changed_gigabytes=1, retention=days) for days in (365, 30)
    )
    first, volume = run(MONOREPO.first_run, given), volume_gib(given.largest, given.disk)
    once = first.longest / 3600 * volume * given.price_volume / costs.HOURS_A_MONTH
    rows = {
        "temporary disk of the clone": f"{durations.DISK * given.largest:,.0f} GB",
        "volume that the plan asks for": f"{volume:,} GiB",
        "each run": costs.duration(first.seconds),
        "the volume of each run": costs.dollars(once),
        "all runs, per month": costs.dollars(monthly(given).of_runs),
        "everything, 30 days kept, per month": costs.dollars(monthly(short).total),
        "everything, 365 days kept, per month": costs.dollars(monthly(given).total),
    }
    return "\n".join(["| One repository of 300 GB | |", "|---|---:|", *(f"| {k} | {v} |" for k, v in rows.items())])


def price_table() -> str:
    """Return the assumed prices as a table."""
    rows = ["| Option | Assumed, in dollars | For |", "|---|---|---|"]
    return "\n".join([*rows, *(f"| `--price-{name}` | {price:g} | {meaning} |" for name, price, meaning in PRICES)])


def model_table() -> str:
    """Return the formula of a run in several tasks as a table."""
    rows = (
        ("list", f"{durations.TASK_START} s to start, and {LIST_REPOSITORY * 1000:g} s per 1,000 repositories"),
        ("CPU time", "as for one task; divided by the vCPUs of all shards"),
        (
            "waiting",
            f"as for one task; divided by {durations.IN_FLIGHT} repositories in flight per vCPU, "
            f"at most {INSTALLATION_REQUESTS} per installation",
        ),
        ("network", f"all GB cloned, at {durations.ALL_CLONES * 1000:g} MB/s per shard and 1 GB/s for all shards"),
        ("largest repository", "as for one task: shards do not divide a repository"),
        ("merge", f"{durations.TASK_START} s to start, and {MERGE_REPOSITORY * 1000:g} s per 1,000 repositories"),
    )
    return "\n".join(["| | Takes |", "|---|---|", *(f"| {name} | {what} |" for name, what in rows)])


if __name__ == "__main__":
    print(printed(options().parse_args()))
