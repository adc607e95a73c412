"""The tables of docs/scaling.md."""

from math import ceil

from calculator import durations, one_task
from calculator.options import INSTALLATION_REQUESTS
from calculator.shards import LIST_REPOSITORY, MERGE_REPOSITORY, monthly, network, run, volume_gib, waiting
from calculator.sizes import (
    LARGE,
    LONGEST_FIRST_RUN,
    MONOREPO,
    SCALING_SIZES,
    SHARD,
    SHARDS,
    Size,
    enough_shards,
    given_for,
    is_too_large,
)
from calculator.text import dollars, duration, task_size

# Repositories in a page of the listing, which is one request to GitHub's REST API.
PAGE = 100


def sizes_table() -> str:
    """Return what each size needs: one task, or so many shards."""
    rows = [
        "| What is backed up | Largest | Needs | Task, or each shard | Volume | First run | Daily run "
        "| Runs per month |",
        "|---|---:|---|---|---:|---:|---:|---:|",
    ]
    return "\n".join(
        [*rows, *(in_shards_row(size) if is_too_large(size) else one_task_row(size) for size in SCALING_SIZES)]
    )


def one_task_row(size: Size) -> str:
    """Return the row of a size for which one task is enough."""
    task = durations.task_for(size.repositories, size.gigabytes, size.largest, LONGEST_FIRST_RUN)
    about = {"repositories": size.repositories, "gigabytes": size.gigabytes, "largest": size.largest}
    found = one_task.estimate(**about, vcpu=task.vcpu, memory=task.memory_gb, disk=task.disk_gb)
    lasts = [durations.seconds(work, task.vcpu) for work in (size.first_run, size.bad_day)]
    return row(size, "one task", task, 0, lasts, found.task)


def in_shards_row(size: Size) -> str:
    """Return the row of a size that needs shards."""
    shards = enough_shards(size)
    given = given_for(size, shards)
    lasts = [run(work, given).seconds for work in (size.first_run, size.bad_day)]
    task, volume = durations.Task(SHARD.vcpu, SHARD.memory_gb, int(given.disk)), volume_gib(size.largest, given.disk)
    return row(size, counted(shards), task, volume, lasts, monthly(given).of_runs)


def row(size: Size, needs: str, task: durations.Task, volume: int, lasts: list[float], price: float) -> str:
    """Return a row of the table of sizes."""
    each = task_size(task)
    gib = f"{volume:,} GiB" if volume else "none"
    times = " | ".join(duration(seconds) for seconds in lasts)
    return f"| {size.label} | {size.largest:g} GB | {needs} | {each} | {gib} | {times} | {dollars(price)} |"


def counted(shards: int) -> str:
    return f"{shards} shards" if shards > 1 else "1 shard"


def costs_table() -> str:
    """Return what the runs cost per month, by what is paid for."""
    rows = [
        "| What is backed up | Shards | List and merge | Shards' tasks | Volumes | State transitions "
        "| Plan and progress in S3 | Everything, with storage |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for size in filter(is_too_large, SCALING_SIZES):
        shards = enough_shards(size)
        found = monthly(given_for(size, shards))
        parts = (found.list_and_merge, found.shards, found.volume, found.transitions, found.plan_requests, found.total)
        rows.append(f"| {size.label} | {shards} | {' | '.join(dollars(part) for part in parts)} |")
    return "\n".join(rows)


def rest_requests(repositories: int) -> int:
    """Return the requests to GitHub's REST API of a first run in which each repository has tags."""
    return ceil(repositories / PAGE) + repositories


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
        usual = run(one_task.usual_run(one_task.a_day(given), given), given)
        seconds = [parts.cpu, waiting(parts, given), network(work, given), parts.largest]
        times = " | ".join(duration(each) for each in [*seconds, run(work, given).seconds, usual.seconds])
        rows.append(f"| {shards} | {given.vcpu * shards:g} | {times} | {dollars(monthly(given).of_runs)} |")
    return "\n".join(rows)


def monorepo_table() -> str:
    """Return the worked example of one large repository that changes every day."""
    given, short = (
        given_for(MONOREPO, 1, changed_repositories=1, changed_gigabytes=1, retention=days) for days in (365, 30)
    )
    first, volume = run(MONOREPO.first_run, given), volume_gib(given.largest, given.disk)
    changes = MONOREPO.gigabytes * given.changes
    changed = run(durations.Work(0, 0, changes, changes, 1), given)
    once = first.longest / 3600 * volume * given.price_volume / one_task.HOURS_A_MONTH
    rows = {
        "temporary disk of the clone": f"{durations.DISK * given.largest:,.0f} GB",
        "volume that the plan asks for": f"{volume:,} GiB",
        "a run that clones it": duration(first.seconds),
        "the volume of such a run": dollars(once),
        "a run that stores what changed": duration(changed.seconds),
        "all runs, per month": dollars(monthly(given).of_runs),
        "everything, 30 days kept, per month": dollars(monthly(short).total),
        "everything, 365 days kept, per month": dollars(monthly(given).total),
    }
    return "\n".join(["| One repository of 300 GB | |", "|---|---:|", *(f"| {k} | {v} |" for k, v in rows.items())])


def model_table() -> str:
    """Return the formula of a run in several tasks as a table."""
    rows = (
        ("list", f"{durations.TASK_START} s to start, and {LIST_REPOSITORY * 1000:g} s per 1,000 repositories"),
        ("CPU time", "as for one task; divided by the vCPUs of all shards"),
        (
            "waiting",
            f"as for one task; {durations.IN_FLIGHT} repositories are stored at once per vCPU, "
            f"at most {INSTALLATION_REQUESTS} per installation",
        ),
        ("network", f"all GB received, at {durations.ALL_CLONES * 1000:g} MB/s per shard and 1 GB/s for all shards"),
        ("largest repository", "as for one task: shards do not divide a repository"),
        ("merge", f"{durations.TASK_START} s to start, and {MERGE_REPOSITORY * 1000:g} s per 1,000 repositories"),
    )
    return "\n".join(["| | Takes |", "|---|---|", *(f"| {name} | {what} |" for name, what in rows)])
