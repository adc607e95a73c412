#!/usr/bin/env python3
"""Estimate what the backup costs per month, and how long its runs take. Every assumption is an option.

python3 docs/costs.py --repositories 500 --gigabytes 40
python3 docs/costs.py --repositories 50000 --gigabytes 20000 --largest 100 --shards 32 --vcpu 2 --memory 8
python3 docs/costs.py --help

Every price is an assumption: the defaults are round numbers near the list prices of us-east-1. The script looks none of
them up. Replace those that differ in your region.
"""

import argparse

from calculator import durations, one_task, shards
from calculator.options import options
from calculator.text import dollars, duration


def of_one_task(given: argparse.Namespace) -> str:
    """Return the estimate of runs in one task, a line for each part."""
    found = one_task.costs(given)
    rows = {
        "bundles, both buckets": found.storage,
        "LFS and releases": found.content,
        "manifests, both buckets": found.manifests,
        "requests": found.requests,
        "replication": found.transfer,
        "Fargate": found.task,
        "logs": found.logs,
        "monitoring and keys": found.monitoring,
        "per month": found.total,
        "with a NAT gateway": found.total + found.nat,
    }
    lines = [f"{name:<24}{dollars(amount):>12}" for name, amount in rows.items()]
    lines.append(
        f"\n{found.written_gb:,.1f} GB written per day, {found.held_gb:,.0f} GB in each bucket, "
        f"{duration(found.run_hours * 3600)} per run, under these assumptions"
    )
    return "\n".join(lines)


def of_shards(given: argparse.Namespace) -> str:
    """Return the estimate of runs in several tasks, a line for each part."""
    found = shards.monthly(given)
    first = shards.run(durations.first_run(given.repositories, given.gigabytes, given.largest), given)
    usual = shards.run(one_task.usual_run(one_task.a_day(given), given), given)
    volume = shards.volume_gib(given.largest, given.disk)
    rows = {
        "first run": duration(first.seconds),
        "usual run": duration(usual.seconds),
        "volume": f"{volume:,} GiB" if volume else "none",
        "list and merge": dollars(found.list_and_merge),
        "shards": dollars(found.shards),
        "volumes": dollars(found.volume),
        "state transitions": dollars(found.transitions),
        "plan and progress": dollars(found.plan_requests),
        "storage and the rest": dollars(found.total - found.of_runs),
        "per month": dollars(found.total),
    }
    return "\n".join(f"{name:<24}{value:>12}" for name, value in rows.items())


if __name__ == "__main__":
    found = options().parse_args()
    print(of_shards(found) if found.shards else of_one_task(found))
