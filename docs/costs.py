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
# Of the lifecycle rule: the most that full_backup_days may be, a margin, and the days for which S3 keeps what expired
# or was replaced.
MAX_FULL_BACKUP_DAYS, MARGIN_DAYS, UNDO_DAYS = 90, 1, 7
# LFS objects and release files: the most days by which one is older than a manifest that names it, and the days after
# which one that is still in use is written again, which is noticed on the day of the full backup.
MAX_CONTENT_DAYS, WRITTEN_AGAIN_DAYS = 365, 275
PART_MB = 16.8  # an upload's parts
ENTRY_BYTES = 970  # of one repository in a manifest
LOG_BYTES = 900  # lines of one repository in one run
REFS_BYTES = 20_000  # what GitHub answers for one repository that did not change
COLD_MIN_DAYS = 90  # S3 Glacier Instant Retrieval bills at least so many days
WORKING_HOURS = 8  # in which the pushes of a day fall
# Metrics are billed by the hour in which they are sent: the run's own, and Container Insights'.
METRICS = 8 + 24
EXAMPLES = ((50, 2.0), (500, 40.0), (10_000, 500.0))
# Of the sizing table: repositories, GB of all, GB of the largest.
SIZES = ((50, 2, 0.5), (500, 40, 5), (2_000, 200, 15), (10_000, 500, 20), (10_000, 2_000, 60), (500, 1_000, 140))
LONGEST_FIRST_RUN = 6 * 3600  # seconds: a night
# Of the table of recovery points: the time between two runs, and the runs of a day.
SCHEDULES = (("24 h", 1), ("6 h", 4), ("1 h", 24), ("15 min", 96))

# Name, default, what it is: prices in US dollars.
PRICES = (
    ("s3-standard", 0.023, "a GB-month in S3 Standard"),
    ("s3-cold", 0.004, "a GB-month in S3 Glacier Instant Retrieval"),
    ("s3-put", 0.005, "1,000 PUT requests in S3 Standard"),
    ("s3-put-cold", 0.02, "1,000 PUT requests or transitions to S3 Glacier Instant Retrieval"),
    ("s3-head", 0.0004, "1,000 HEAD requests in S3 Standard"),
    ("transfer", 0.02, "a GB replicated to the second region"),
    ("cpu", 0.0324, "a vCPU-hour of Fargate on ARM64"),
    ("memory", 0.00356, "a GB-hour of memory of Fargate on ARM64"),
    ("disk", 0.000111, "a GB-hour of temporary disk of Fargate, above 20 GB"),
    ("address", 0.005, "an hour of the task's public address"),
    ("logs", 0.86, "a GB of logs, taken in and kept for a year"),
    ("metric", 0.3, "a metric per month, by the hours in which it is sent: 8 of the run, 24 of Container Insights"),
    (
        "fixed",
        6.5,
        "what is fixed, per month: the secret, a KMS key, 9 alarms, the dashboard, 4 replication metrics",
    ),
    ("nat-hour", 0.045, "an hour of a NAT gateway"),
    ("nat", 0.045, "a GB through the NAT gateway"),
)


@dataclass(frozen=True)
class Day:
    """What the runs of one day do, all together; GB and numbers."""

    runs: float
    clones: float
    bundles: float
    manifests: float


@dataclass(frozen=True)
class Costs:
    """Dollars per month once the retention is reached, by what they are for. `nat` is not in the total."""

    written_gb: float
    held_gb: float
    manifests_gb: float
    run_hours: float
    storage: float
    content: float
    manifests: float
    requests: float
    transfer: float
    task: float
    logs: float
    monitoring: float
    nat: float

    @property
    def total(self) -> float:
        stored = self.storage + self.content + self.manifests
        return stored + self.requests + self.transfer + self.task + self.logs + self.monitoring


def a_day(given: argparse.Namespace) -> Day:
    """Return what a day writes: each repository in each run before which it changed, and when it is due."""
    slots = max(1.0, given.runs_a_day * WORKING_HOURS / 24)  # runs that find the pushes of a day
    times = slots * (1 - (1 - 1 / slots) ** given.pushes)
    clones = given.changed_repositories * times + (1 - given.changed_repositories) / given.full_backup_days
    bundles = given.changed_gigabytes * times + (1 - given.changed_gigabytes) / given.full_backup_days
    manifests = 2 * given.runs_a_day * given.repositories * ENTRY_BYTES / 1e9
    return Day(given.runs_a_day, given.repositories * clones, given.gigabytes * bundles, manifests)


def costs(given: argparse.Namespace) -> Costs:
    """Return the costs of what was given."""
    day, days = a_day(given), given.retention + MAX_FULL_BACKUP_DAYS + MARGIN_DAYS + UNDO_DAYS
    run_hours = durations.seconds(usual_run(day, given), given.vcpu) / 3600
    month = day.runs * DAYS_A_MONTH
    nat_gb = DAYS_A_MONTH * day.bundles + month * given.repositories * REFS_BYTES / 1e9
    # Of a run's two copies of its manifest, one is replaced by the next run of the day.
    replaced = day.manifests / 2 * max(0.0, 1 - 1 / day.runs)
    kept = day.manifests - replaced
    content, content_days = content_per_day(given), given.retention + MAX_CONTENT_DAYS + MARGIN_DAYS + UNDO_DAYS
    return Costs(
        written_gb=day.bundles,
        held_gb=day.bundles * days,
        manifests_gb=kept * days + replaced * UNDO_DAYS,
        run_hours=run_hours,
        storage=day.bundles * both_buckets(days, given),
        content=content * both_buckets(content_days, given),
        manifests=kept * both_buckets(days, given) + replaced * both_buckets(UNDO_DAYS, given),
        requests=DAYS_A_MONTH * requests(day, given),
        transfer=DAYS_A_MONTH * (day.bundles + day.manifests + content) * given.price_transfer,
        task=month * run_hours * task_hour(given),
        logs=month * given.repositories * LOG_BYTES / 1e9 * given.price_logs,
        monitoring=given.price_fixed + METRICS * given.price_metric * min(1.0, day.runs * ceil(run_hours) / 24),
        nat=HOURS_A_MONTH * given.price_nat_hour + nat_gb * given.price_nat,
    )


def content_per_day(given: argparse.Namespace) -> float:
    """Return the GB of LFS objects and release files that a day writes: new ones, and old ones still in use."""
    again = given.content_gigabytes / (WRITTEN_AGAIN_DAYS + given.full_backup_days / 2)
    return float(given.content_gigabytes * given.content_growth / DAYS_A_MONTH + again)


def both_buckets(days: float, given: argparse.Namespace) -> float:
    """Return the dollars per month that a GB a day costs if it is kept for so many days, in both buckets."""
    moved = given.price_s3_standard * days
    if given.cold_after and days > given.cold_after:
        moved = given.price_s3_standard * given.cold_after + given.price_s3_cold * (days - given.cold_after)
    return float(moved + (given.price_s3_cold * max(days, COLD_MIN_DAYS) if is_cold(given) else moved))


def is_cold(given: argparse.Namespace) -> bool:
    """Return whether the replica bucket has no other storage class than the cold one."""
    return bool(given.replica == "GLACIER_IR")


def requests(day: Day, given: argparse.Namespace) -> float:
    """Return the dollars of a day's requests to both buckets, transitions included."""
    objects = day.clones + 2 * day.runs
    puts = objects + day.bundles * 1000 / PART_MB + 10 * day.runs  # what starts a run, and lists
    heads = day.runs * given.repositories + day.clones
    replica_put = given.price_s3_put_cold if is_cold(given) else given.price_s3_put
    moved = objects * bool(given.cold_after) * (1 if is_cold(given) else 2)
    dollars_per_1000 = puts * (given.price_s3_put + replica_put) + heads * given.price_s3_head
    return float(dollars_per_1000 + moved * given.price_s3_put_cold) / 1000


def usual_run(day: Day, given: argparse.Namespace) -> durations.Work:
    """Return the work of one run of the day, which clones the largest repository if it clones that much."""
    gigabytes, cloned = day.bundles / day.runs, ceil(day.clones / day.runs)
    return durations.Work(cloned, max(0, given.repositories - cloned), gigabytes, min(given.largest, gigabytes))


def task_hour(given: argparse.Namespace) -> float:
    """Return the dollars of an hour of the task."""
    disk = max(0, given.disk - 20) * given.price_disk
    return float(given.vcpu * given.price_cpu + given.memory * given.price_memory + disk + given.price_address)


def options() -> argparse.ArgumentParser:
    """Return the command line."""
    parser = argparse.ArgumentParser(
        description="Estimate the monthly costs, once the retention is reached.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--repositories", type=int, default=500, help="how many")
    add("--gigabytes", type=float, default=40.0, help="all repositories, as bundles")
    add("--largest", type=float, default=5.0, help="GB in the largest bundle")
    add("--changed-repositories", type=float, default=0.05, help="share of the repositories that change on a day")
    add("--changed-gigabytes", type=float, default=0.1, help="share of the GB that are in these repositories")
    add("--pushes", type=float, default=6.0, help="pushes a day to a repository that changes, within 8 hours")
    add("--content-gigabytes", type=float, default=0.0, help="LFS objects and release files")
    add("--content-growth", type=float, default=0.02, help="share of them that is added in a month")
    add("--retention", type=int, default=365, help="backup_retention_days")
    add("--full-backup-days", type=int, default=28, help="full_backup_days")
    add("--cold-after", type=int, default=30, help="days until storage_transitions moves objects; 0: never")
    add("--replica", choices=("GLACIER_IR", "STANDARD"), default="STANDARD", help="replica_storage_class")
    add("--runs-a-day", type=float, default=1.0, help="from schedule_expression")
    add("--vcpu", type=float, default=1.0, help="task_cpu / 1024")
    add("--memory", type=float, default=4.0, help="task_memory in GB")
    add("--disk", type=float, default=50.0, help="task_ephemeral_storage_gb")
    for name, price, meaning in PRICES:
        add(f"--price-{name}", type=float, default=price, metavar="DOLLARS", help=f"assumed price of {meaning}")
    return parser


def estimate(**given: object) -> Costs:
    """Return the costs with these options, the defaults for all others."""
    words = [f"--{name.replace('_', '-')}={value}" for name, value in given.items()]
    return costs(options().parse_args(words))


def dollars(amount: float) -> str:
    """Return an amount as a person reads it."""
    return f"${amount:,.2f}" if amount < 10 else f"${amount:,.0f}"


def duration(seconds: float) -> str:
    """Return a duration as a person reads it."""
    return f"{seconds / 60:.0f} min" if seconds < 90 * 60 else f"{seconds / 3600:.1f} h"


def printed(given: argparse.Namespace) -> str:
    """Return the estimate, a line for each part."""
    found = costs(given)
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


# -- the tables of the pages ---------------------------------------------------------------------


def summary() -> str:
    """Return what a user pays, in two sentences."""
    small, large = (
        f"{repositories:,} repositories with {gigabytes:,.0f} GB in all cost about "
        f"**{dollars(estimate(repositories=repositories, gigabytes=gigabytes).total)} per month**"
        for repositories, gigabytes in EXAMPLES[1:]
    )
    included = "That includes everything but a NAT gateway: two copies in two regions, kept for a year."
    return f"{small}, and {large}.\n{included}"


def table() -> str:
    """Return the examples as a table."""
    rows = [
        "| Repositories, size | Written per day | Held per bucket | Storage | Other | Per month | Twice the changes "
        "| NAT gateway |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for repositories, gigabytes in EXAMPLES:
        size = {"repositories": repositories, "gigabytes": gigabytes}
        found, busy = estimate(**size), estimate(**size, changed_repositories=0.1, changed_gigabytes=0.2)
        storage = found.storage + found.manifests
        rows.append(
            f"| {repositories:,}, {gigabytes:,.0f} GB | {found.written_gb:,.1f} GB | {found.held_gb:,.0f} GB "
            f"| {dollars(storage)} | {dollars(found.total - storage)} | **{dollars(found.total)}** "
            f"| {dollars(busy.total)} | + {dollars(found.nat)} |"
        )
    return "\n".join(rows)


def year_table() -> str:
    """Return what the first year leaves in each bucket, beside a full copy on each day."""
    rows = ["| Repositories, size | A full copy every day | Written once |", "|---|---:|---:|"]
    for repositories, gigabytes in EXAMPLES:
        written = first_year_gb(repositories, gigabytes)
        rows.append(f"| {repositories:,}, {gigabytes:,.0f} GB | {365 * gigabytes:,.0f} GB | {written:,.0f} GB |")
    return "\n".join(rows)


def first_year_gb(repositories: int, gigabytes: float, days: int = 365) -> float:
    """Return the GB of bundles that a first day and the days after it leave in a bucket."""
    given = options().parse_args([f"--repositories={repositories}", f"--gigabytes={gigabytes}"])
    return gigabytes + a_day(given).bundles * (days - 1)


def content_table() -> str:
    """Return what LFS objects and release files add per month."""
    rows = ["| LFS objects and release files | 30 days kept | 365 days kept |", "|---|---:|---:|"]
    for gigabytes in (10, 100, 1000):
        added = [
            estimate(content_gigabytes=gigabytes, retention=days).total - estimate(retention=days).total
            for days in (30, 365)
        ]
        rows.append(f"| {gigabytes:,} GB | {dollars(added[0])} | **{dollars(added[1])}** |")
    return "\n".join(rows)


def recovery_table() -> str:
    """Return what a shorter recovery point costs."""
    rows = [
        "| Repositories, size | Recovery point | A run | Fargate per day | Bundles per day | Manifests held "
        "| Requests | Fargate | Manifests | Bundles | Per month |",
        "|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for repositories, gigabytes in EXAMPLES[1:]:
        for point, runs in SCHEDULES:
            found = estimate(repositories=repositories, gigabytes=gigabytes, runs_a_day=runs)
            minutes = runs * found.run_hours * 60
            rows.append(
                f"| {repositories:,}, {gigabytes:,.0f} GB | {point} | {duration(found.run_hours * 3600)} "
                f"| {minutes:,.0f} min | {found.written_gb:,.1f} GB | {found.manifests_gb:,.1f} GB "
                f"| {dollars(found.requests)} | {dollars(found.task)} | {dollars(found.manifests)} "
                f"| {dollars(found.storage + found.transfer)} | **{dollars(found.total)}** |"
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
        size = {"repositories": repositories, "gigabytes": gigabytes, "largest": largest}
        size |= {"vcpu": task.vcpu, "memory": task.memory_gb, "disk": task.disk_gb}
        found, short = estimate(**size), estimate(**size, retention=30)
        daily = durations.seconds(bad_day(repositories, gigabytes, largest), task.vcpu)
        rows.append(
            f"| {repositories:,}, {gigabytes:,} GB | {largest:g} GB "
            f"| {task.vcpu * 1024}, {task.memory_gb * 1024}, {task.disk_gb} "
            f"| {duration(first)} | {duration(daily)} "
            f"| {dollars(found.task)} | {dollars(found.total)} | {dollars(short.total)} |"
        )
    return "\n".join(rows)


def bad_day(repositories: int, gigabytes: float, largest: float) -> durations.Work:
    """Return the work of a day on which the largest repository is cloned besides the usual ones."""
    day = a_day(options().parse_args([f"--repositories={repositories}", f"--gigabytes={gigabytes}"]))
    cloned = ceil(day.clones)
    return durations.Work(cloned, repositories - cloned, max(largest, day.bundles), largest)


def price_table() -> str:
    """Return the assumed prices as a table."""
    rows = ["| Option | Assumed, in dollars | For |", "|---|---|---|"]
    rows += [f"| `--price-{name}` | {price:g} | {meaning} |" for name, price, meaning in PRICES]
    return "\n".join(rows)


if __name__ == "__main__":
    print(printed(options().parse_args()))
