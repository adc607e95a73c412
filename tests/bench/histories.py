"""A year of storage of real histories: what each day, or each hour, of a main branch stores.

    PYTHONPATH=container:docs:tests python -m bench.histories path/to/flask.git path/to/boto3.git

The year ends with the newest commit. Each pack is made by git, and has the size of the repository's refs added, which a
bundle lists. The program's rules decide when a full bundle is made.
"""

import sys
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import mean

from embedded.real_git import git
from github_s3_backup.backup.plan.last_backup import is_due
from github_s3_backup.backup.repository.changes import MOST_STORED
from github_s3_backup.configuration import DEFAULT_FULL_BACKUP_DAYS
from github_s3_backup.records.json_fields import utc

DAYS, MONTHS = 365, 12


@dataclass(frozen=True)
class Year:
    """What a year stored: numbers of bundles, and bytes; `full_size`: of one full bundle."""

    hours: int
    full_size: int
    full: int
    changes: list[int]

    @property
    def monthly(self) -> float:
        """What a month stores, in sizes of the repository."""
        return (self.full + sum(self.changes) / self.full_size) / MONTHS

    @property
    def monthly_in_full(self) -> float:
        """The same where each change stores a full bundle."""
        return (self.full + len(self.changes)) / MONTHS


def a_year(repository: Path, hours: int, full_backup_days: int = DEFAULT_FULL_BACKUP_DAYS) -> Year:
    """Live through the last year of the main branch, with a run every so many hours."""
    log = [line.split() for line in _lines(repository, "log", "--first-parent", "--reverse", "--format=%ct %H")]
    commits = [(datetime.fromtimestamp(int(when), UTC), oid) for when, oid in log]
    begin = commits[-1][0] - timedelta(days=DAYS)
    full_size, refs = _size(repository), sum(len(line) + 1 for line in _lines(repository, "show-ref"))
    tip = base = next((oid for when, oid in reversed(commits) if when < begin), commits[0][1])
    made, full, changes, latest = begin, 1, list[int](), 0
    waiting = [commit for commit in commits if commit[0] >= begin]
    for run in range(1, DAYS * 24 // hours + 1):
        now, known = begin + timedelta(hours=run * hours), tip
        while waiting and waiting[0][0] <= now:
            tip = waiting.pop(0)[1]
        many = tip != known and latest > MOST_STORED * full_size
        if many or is_due(utc(made), 0, now.date(), full_backup_days):
            base, made, full, latest = tip, now, full + 1, 0
        elif tip != known:
            latest = _pack(repository, base, tip) + refs
            changes.append(latest)
    return Year(hours, full_size, full, changes)


def _lines(repository: Path, *command: str) -> list[str]:
    return git("-C", repository, *command).decode().splitlines()


def _size(repository: Path) -> int:
    return sum(pack.stat().st_size for pack in repository.glob("objects/pack/*.pack"))


def _pack(repository: Path, base: str, tip: str) -> int:
    """Return the bytes of a pack of what one commit has more than another, not thin."""
    wanted = f"{tip}\n^{base}\n".encode()
    return len(git("-C", repository, "pack-objects", "--revs", "--stdout", "--quiet", stdin=wanted))


def main() -> None:
    """Print the year of each repository as rows of a Markdown table."""
    for path in map(Path, sys.argv[1:]):
        for hours in (24, 1):
            year = a_year(path, hours)
            share = [size / year.full_size for size in year.changes]
            print(
                f"| {path.stem} | {year.full_size / 1e6:.0f} MB | {hours} h | {len(year.changes)} "
                f"| {mean(share):.1%} | {max(share):.1%} | {year.monthly:.2f} | {year.monthly_in_full:.1f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
