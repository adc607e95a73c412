#!/usr/bin/env python3
"""Estimate what the backup costs per month. Every assumption is an option.

python3 docs/costs.py --repositories 500 --gigabytes 40
python3 docs/costs.py --help

Every price is an assumption: the defaults are round numbers near the list prices of us-east-1. The script looks none of
them up. Replace those that differ in your region.
"""

import argparse
from dataclasses import dataclass
from math import ceil

import durations

DAYS_A_MONTH, HOURS_A_MONTH = 30, 730
PART_MB = 64  # an upload's parts
LOG_BYTES = 900  # lines of one repository in one run
EXAMPLES = ((50, 2.0), (500, 40.0), (10_000, 500.0))
# Of the sizing table: repositories, GB of all, GB of the largest.
SIZES = ((50, 2, 0.5), (500, 40, 5), (2_000, 200, 15), (10_000, 500, 20), (10_000, 2_000, 60), (500, 1_000, 140))
LONGEST_FIRST_RUN = 6 * 3600  # seconds: a night

# Name, default, what it is: prices in US dollars.
PRICES = (
    ("s3-standard", 0.023, "a GB-month in S3 Standard"),
    ("s3-cold", 0.004, "a GB-month in the storage class of --cold-after (S3 Glacier Instant Retrieval)"),
    ("s3-put", 0.005, "1,000 PUT requests, in either bucket"),
    ("s3-transition", 0.02, "1,000 objects moved to the storage class of --cold-after"),
    ("transfer", 0.02, "a GB replicated to the second region"),
    ("nat", 0.045, "a GB through the NAT gateway"),
    ("cpu", 0.0324, "a vCPU-hour of Fargate on ARM64"),
    ("memory", 0.00356, "a GB-hour of memory of Fargate on ARM64"),
    ("disk", 0.000111, "a GB-hour of temporary disk of Fargate, above 20 GB"),
    ("logs", 0.50, "a GB of logs"),
    (
        "fixed",
        9.0,
        "everything fixed, per month: the secret, two keys for the topics, 7 alarms, about 10 metrics, the dashboard",
    ),
)


@dataclass(frozen=True)
class Costs:
    """Dollars per month once the retention is reached, by what they are for."""

    held_gb: float
    run_hours: float
    storage: float
    requests: float
    transfer: float
    network: float
    task: float
    logs: float
    fixed: float

    @property
    def total(self) -> float:
        parts = (self.storage, self.requests, self.transfer, self.network, self.task, self.logs, self.fixed)
        return sum(parts)


def costs(given: argparse.Namespace) -> Costs:
    """Return the costs of what was given."""
    runs = given.runs_a_day * DAYS_A_MONTH
    stored_gb = given.gigabytes * runs
    # An expired bundle can be brought back for up to 30 more days.
    days = given.retention + min(given.retention, 30)
    held_gb = given.gigabytes * given.runs_a_day * days
    warm_days = min(given.cold_after or days, days)
    storage = held_gb * (warm_days * given.price_s3_standard + (days - warm_days) * given.price_s3_cold) / days
    puts = runs * (given.repositories + ceil(given.gigabytes * 1000 / PART_MB))
    moved = runs * given.repositories if warm_days < days else 0
    work = durations.daily_run(given.repositories, given.gigabytes, given.largest, given.changed)
    run_hours = durations.seconds(work, given.vcpu) / 3600
    hour = given.vcpu * given.price_cpu + given.memory * given.price_memory + max(0, given.disk - 20) * given.price_disk
    return Costs(
        held_gb=held_gb,
        run_hours=run_hours,
        storage=2 * storage,
        requests=2 * (puts * given.price_s3_put + moved * given.price_s3_transition) / 1000,
        transfer=stored_gb * given.price_transfer,
        network=given.nat * given.changed * stored_gb * given.price_nat,
        task=runs * run_hours * hour,
        logs=runs * given.repositories * LOG_BYTES / 1e9 * given.price_logs,
        fixed=given.price_fixed,
    )


def options() -> argparse.ArgumentParser:
    """Return the command line."""
    parser = argparse.ArgumentParser(
        description="Estimate the monthly costs, once the retention is reached.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--repositories", type=int, default=500, help="how many")
    add("--gigabytes", type=float, default=40.0, help="all bundles of one day")
    add("--largest", type=float, default=5.0, help="GB in the largest bundle")
    add("--retention", type=int, default=365, help="backup_retention_days")
    add("--cold-after", type=int, default=0, help="days until storage_transitions moves bundles; 0: never")
    add("--runs-a-day", type=float, default=1.0, help="from schedule_expression")
    add("--changed", type=float, default=0.17, help="share of the data that a run clones, changed or due")
    add(
        "--nat",
        type=float,
        default=1.0,
        help="times that each GB passes NAT: 1 with an S3 endpoint, 2 without, 0 without NAT",
    )
    add("--vcpu", type=float, default=1.0, help="task_cpu / 1024")
    add("--memory", type=float, default=4.0, help="task_memory in GB")
    add("--disk", type=float, default=50.0, help="task_ephemeral_storage_gb")
    for name, price, meaning in PRICES:
        add(f"--price-{name}", type=float, default=price, metavar="DOLLARS", help=f"assumed price of {meaning}")
    add("--table", action="store_true", help="print the examples of docs/costs.md")
    return parser


def dollars(amount: float) -> str:
    """Return an amount as a person reads it."""
    return f"${amount:,.2f}" if amount < 10 else f"${amount:,.0f}"


def printed(given: argparse.Namespace) -> str:
    """Return the estimate, a line for each part."""
    found = costs(given)
    rows = {
        "storage, both buckets": found.storage,
        "requests": found.requests,
        "replication": found.transfer,
        "NAT": found.network,
        "Fargate": found.task,
        "logs": found.logs,
        "fixed": found.fixed,
        "per month": found.total,
    }
    lines = [f"{name:<24}{dollars(amount):>12}" for name, amount in rows.items()]
    lines.append(
        f"\n{found.held_gb:,.0f} GB in each bucket, {duration(found.run_hours * 3600)} per run, under these assumptions"
    )
    return "\n".join(lines)


def table() -> str:
    """Return the examples as a table: the defaults, then with each of the two inputs that matter most."""
    rows = [
        "| Repositories, size | Held per bucket | Storage | Other | Per month | 30 days kept | Cold after 30 days |",
        "|---|---|---|---|---|---|---|",
    ]
    for repositories, gigabytes in EXAMPLES:
        size = ["--repositories", str(repositories), "--gigabytes", str(gigabytes)]
        found, short, cold = (
            costs(options().parse_args([*size, *more])) for more in ([], ["--retention", "30"], ["--cold-after", "30"])
        )
        rest = dollars(found.total - found.storage)
        rows.append(
            f"| {repositories:,}, {gigabytes:,.0f} GB | {found.held_gb:,.0f} GB | {dollars(found.storage)} | {rest} "
            f"| **{dollars(found.total)}** | {dollars(short.total)} | {dollars(cold.total)} |"
        )
    return "\n".join(rows)


def sizing_table() -> str:
    """Return the task that each size needs, how long its runs take, and what they cost per month."""
    rows = [
        "| Repositories, size | Largest | Task | First run | Daily run | Task per month | Per month | 30 days kept |",
        "|---|---:|---|---:|---:|---:|---:|---:|",
    ]
    for repositories, gigabytes, largest in SIZES:
        task = durations.task_for(repositories, gigabytes, largest, LONGEST_FIRST_RUN)
        first = durations.seconds(durations.first_run(repositories, gigabytes, largest), task.vcpu)
        given = {"repositories": repositories, "gigabytes": gigabytes, "largest": largest}
        given |= {"vcpu": task.vcpu, "memory": task.memory_gb, "disk": task.disk_gb}
        size = [f"--{name}={value}" for name, value in given.items()]
        found, short = (costs(options().parse_args([*size, *more])) for more in ([], ["--retention", "30"]))
        inputs = f"{task.vcpu * 1024}, {task.memory_gb * 1024}, {task.disk_gb}"
        rows.append(
            f"| {repositories:,}, {gigabytes:,} GB | {largest:g} GB | {inputs} "
            f"| {duration(first)} | {duration(found.run_hours * 3600)} "
            f"| {dollars(found.task)} | {dollars(found.total)} | {dollars(short.total)} |"
        )
    return "\n".join(rows)


def duration(seconds: float) -> str:
    """Return a duration as a person reads it."""
    return f"{seconds / 60:.0f} min" if seconds < 90 * 60 else f"{seconds / 3600:.1f} h"


def price_table() -> str:
    """Return the assumed prices as a table."""
    rows = ["| Option | Assumed, in dollars | For |", "|---|---|---|"]
    rows += [f"| `--price-{name}` | {price:g} | {meaning} |" for name, price, meaning in PRICES]
    return "\n".join(rows)


if __name__ == "__main__":
    arguments = options().parse_args()
    print(table() if arguments.table else printed(arguments))
