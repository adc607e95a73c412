"""What a backup costs per month, with one task for each run."""

import argparse
from dataclasses import dataclass
from math import ceil

from calculator import durations
from calculator.options import parsed

DAYS_A_MONTH, HOURS_A_MONTH = 30, 730
# Of the lifecycle rule: the most that full_backup_days may be, a margin, and the days for which S3 keeps what expired
# or was replaced.
MAX_FULL_BACKUP_DAYS, MARGIN_DAYS, UNDO_DAYS = 90, 1, 7
# LFS objects and release files: the most days by which one is older than a manifest that names it, and the days after
# which one that is still in use is written again, which is noticed on the day of the full backup.
MAX_CONTENT_DAYS, WRITTEN_AGAIN_DAYS = 365, 275
PART_MB = 16.8  # an upload's parts
# Of a full bundle's size: the list of its objects, which is stored beside it (8 bytes an object).
LIST_SHARE = 0.02
ENTRY_BYTES = 1_350  # of one repository in a manifest
LOG_BYTES = 900  # lines of one repository in one run
REFS_BYTES = 20_000  # what GitHub answers for one repository that did not change
COLD_MIN_DAYS = 90  # S3 Glacier Instant Retrieval bills at least so many days
WORKING_HOURS = 8  # in which the pushes of a day fall
# Metrics are billed by the hour in which they are sent: the run's own, and Container Insights'.
METRICS = 13 + 24


@dataclass(frozen=True)
class Day:
    """What the runs of one day do, all together; GB and numbers.

    `clones` and `cloned`: full bundles, and their GB. `changes`: bundles of changes. `bundles`: the GB of all.
    """

    runs: float
    clones: float
    changes: float
    cloned: float
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
    """Return what a day writes: each repository in full when it is due, and in each run before which it changed."""
    slots = max(1.0, given.runs_a_day * WORKING_HOURS / 24)  # runs that find the pushes of a day
    times = slots * (1 - (1 - 1 / slots) ** given.pushes)
    due = 1 / given.full_backup_days
    changes, changed = (share * (times - due) for share in (given.changed_repositories, given.changed_gigabytes))
    manifests = 2 * given.runs_a_day * given.repositories * ENTRY_BYTES / 1e9
    if not is_differential(given):
        cloned = given.gigabytes * (due + changed)
        return Day(given.runs_a_day, given.repositories * (due + changes), 0.0, cloned, cloned, manifests)
    cloned = given.gigabytes * due
    bundles = cloned * (1 + LIST_SHARE) + given.gigabytes * changed * given.changes
    return Day(given.runs_a_day, given.repositories * due, given.repositories * changes, cloned, bundles, manifests)


def is_differential(given: argparse.Namespace) -> bool:
    """Return whether a changed repository stores what changed."""
    return bool(given.changes < 1 and given.full_backup_days > 1)


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


def estimate(**given: object) -> Costs:
    """Return the costs with these options, the defaults for all others."""
    return costs(parsed(**given))


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
    differential = is_differential(given)
    objects = day.clones * (1 + differential) + day.changes + 2 * day.runs
    puts = objects + day.bundles * 1000 / PART_MB + 10 * day.runs  # what starts a run, and lists
    heads = day.runs * given.repositories * (1 + differential) + day.clones + 2 * day.changes
    replica_put = given.price_s3_put_cold if is_cold(given) else given.price_s3_put
    moved = objects * bool(given.cold_after) * (1 if is_cold(given) else 2)
    dollars_per_1000 = puts * (given.price_s3_put + replica_put) + heads * given.price_s3_head
    return float(dollars_per_1000 + moved * given.price_s3_put_cold) / 1000


def usual_run(day: Day, given: argparse.Namespace) -> durations.Work:
    """Return the work of one run of the day, which clones the largest repository if it clones that much."""
    cloned, changed = ceil(day.clones / day.runs), ceil(day.changes / day.runs)
    unchanged = max(0, given.repositories - cloned - changed)
    return durations.Work(cloned, unchanged, day.bundles / day.runs, min(given.largest, day.cloned / day.runs), changed)


def bad_day(repositories: int, gigabytes: float, largest: float) -> durations.Work:
    """Return the work of a day on which the largest repository is cloned besides the usual ones."""
    day = a_day(parsed(repositories=repositories, gigabytes=gigabytes))
    cloned, changed = ceil(day.clones), ceil(day.changes)
    unchanged = max(0, repositories - cloned - changed)
    return durations.Work(cloned, unchanged, max(largest, day.bundles), largest, changed)


def first_year_gb(repositories: int, gigabytes: float, days: int = 365) -> float:
    """Return the GB of bundles that a first day and the days after it leave in a bucket."""
    given = parsed(repositories=repositories, gigabytes=gigabytes)
    return gigabytes + a_day(given).bundles * (days - 1)


def task_hour(given: argparse.Namespace) -> float:
    """Return the dollars of an hour of the task."""
    disk = max(0, given.disk - 20) * given.price_disk
    return float(given.vcpu * given.price_cpu + given.memory * given.price_memory + disk + given.price_address)
