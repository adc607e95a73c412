"""A year of daily backups in seconds: what is stored, and what a full copy every day would be.

    PYTHONPATH=container:docs:tests python -m bench.year

The program itself decides which repository is due. Which ones change is drawn by lot, with the shares of docs/costs.py;
large repositories change more often.
"""

import random
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import msgspec

from calculator.one_task import LIST_SHARE, is_differential
from calculator.options import parsed
from calculator.sizes import EXAMPLES
from github_s3_backup.backup.plan.last_backup import is_due
from github_s3_backup.configuration import DEFAULT_FULL_BACKUP_DAYS
from github_s3_backup.records.entry import Entry, RefSummary, new_entry
from github_s3_backup.records.json_fields import utc
from github_s3_backup.records.stored_object import StoredObject
from github_s3_backup.repository import Repository

BEGINNING = datetime(2026, 1, 1, 3, tzinfo=UTC)
DAYS = 365
# Of the logarithm of a repository's size: few repositories hold most of the bytes.
SPREAD = 1.5
REFS = RefSummary(ref_count=1, refs_sha256="0" * 64, sha=None)


@dataclass(frozen=True)
class Year:
    """What is in the bucket at the end, with a full copy every day (`before`) and written once; GB and objects."""

    before_gb: float
    gigabytes: float
    objects: int


def a_year(
    repositories: int, gigabytes: float, days: int = DAYS, full_backup_days: int = DEFAULT_FULL_BACKUP_DAYS
) -> Year:
    """Live through so many days."""
    luck = random.Random(0)  # noqa: S311  (the same year each time)
    sizes = [luck.lognormvariate(0, SPREAD) for _ in range(repositories)]
    sizes = [size * gigabytes / sum(sizes) for size in sizes]
    rates, entries = change_rates(sizes), dict[int, Entry]()
    written, objects = 0.0, 0
    given = parsed(full_backup_days=full_backup_days)
    full = 1 + LIST_SHARE * is_differential(given)
    for day in range(days):
        moment = BEGINNING + timedelta(days=day)
        for number, size in enumerate(sizes):
            known, changed = entries.get(number), luck.random() < rates[number]
            if known is None or is_due(known.backed_up_at, number, moment.date(), full_backup_days):
                entries[number] = stored(number, moment)
                written, objects = written + size * full, objects + 1
            elif changed:
                written, objects = written + size * given.changes, objects + 1
    return Year(days * gigabytes, written, objects)


def change_rates(sizes: list[float]) -> list[float]:
    """Return how likely each repository changes on a day: its size adds to what all have."""
    given = parsed()
    mean = sum(sizes) / len(sizes)
    weight = sum(size**2 for size in sizes) / len(sizes) / mean**2
    slope = (given.changed_gigabytes - given.changed_repositories) / (weight - 1)
    return [given.changed_repositories - slope + slope * size / mean for size in sizes]


def stored(number: int, moment: datetime) -> Entry:
    """Return the entry of a bundle that was made at that moment."""
    repository = Repository(number, "acme", f"r{number}", True, False, False, "main", 1, 1)
    bundle = StoredObject(key="x", version_id="1", size_bytes=1, sha256="0" * 64, checksum=None)
    return msgspec.structs.replace(new_entry(repository, "stored", bundle, REFS, 0.0), backed_up_at=utc(moment))


def main() -> None:
    """Print the year of each example of the costs page."""
    for repositories, gigabytes in EXAMPLES:
        year = a_year(repositories, gigabytes)
        print(
            f"{repositories:,} repositories of {gigabytes:,.0f} GB: {year.before_gb:,.0f} GB with a full copy every "
            f"day, {year.gigabytes:,.0f} GB in {year.objects:,} objects written once "
            f"({year.before_gb / year.gigabytes:.1f} times less)"
        )


if __name__ == "__main__":
    main()
