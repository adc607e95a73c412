"""What a person sees: tables, ages, and a progress bar that log lines do not break."""

import contextlib
import json
import math
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NoReturn, TextIO

from structlog.typing import FilteringBoundLogger
from tqdm import tqdm

from github_s3_backup.runtime.redaction import printable
from github_s3_backup.runtime.units import format_bytes

# An unchanged repository keeps its bundle, so that this may be older than the backup.
TITLES = {"size_bytes": "size", "finished_at": "age", "backed_up_at": "bundle age", "default_branch": "default branch"}
AGES = ("finished_at", "backed_up_at")
BAR = "{desc}: {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt}B [{elapsed}, {rate_fmt}]"
# Seconds between two lines of progress in a log.
LOG_EVERY = 60.0
# So many times as long as the limits ask for: then something else takes the time.
SLOWER = 1.5


def show(rows: list[dict[str, Any]], as_json: bool, now: datetime) -> None:
    """Print rows as a table for a person, or as JSON."""
    if as_json:
        print(json.dumps(rows, indent=2), flush=True)  # so that a full disk is an error
    elif rows:
        head = [TITLES.get(name, name) for name in rows[0]]
        print(table(head, [[_cell(name, value, now) for name, value in row.items()] for row in rows]), flush=True)


def _cell(name: str, value: Any, now: datetime) -> Any:
    if name == "size_bytes":
        return format_bytes(value)
    if name in AGES:
        return age(datetime.fromisoformat(value), now)
    return ("yes" if value else "no") if isinstance(value, bool) else value


def table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Return rows as columns; numbers, with or without a unit, are aligned to the right."""
    lines = [[printable(str(cell)) for cell in row] for row in (head, *rows)]
    columns = range(len(head))
    widths = [max(len(line[column]) for line in lines) for column in columns]
    numeric = [all(line[column][:1].isdigit() or line[column] == "-" for line in lines[1:]) for column in columns]

    def aligned(line: list[str]) -> str:
        cells = zip(line, widths, numeric, strict=True)
        return "  ".join(cell.rjust(width) if right else cell.ljust(width) for cell, width, right in cells).rstrip()

    return "\n".join(aligned(line) for line in lines)


def age(then: datetime, now: datetime) -> str:
    """Return the time between two moments as a person says it: 3 h, 2 days 5 h."""
    passed = now - then
    if passed < timedelta(hours=1):
        return f"{max(0, passed // timedelta(minutes=1))} min"
    if passed < timedelta(days=2):
        return f"{passed // timedelta(hours=1)} h"
    hours = passed % timedelta(days=1) // timedelta(hours=1)
    return f"{passed.days} days {hours} h" if hours else f"{passed.days} days"


class BesideBar:
    """A stream for log lines that keeps the progress bar intact."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> None:
        tqdm.write(text, file=self._stream, end="")

    def flush(self) -> None:
        self._stream.flush()

    def isatty(self) -> bool:
        return self._stream.isatty()


@contextlib.contextmanager
def new_progress(title: str, amount: "Amount", log: FilteringBoundLogger) -> Iterator["Progress"]:
    """Show how far a command is, in a bar on a terminal."""
    quiet = not (amount.repositories and sys.stderr.isatty())
    look: dict[str, Any] = {"dynamic_ncols": True, "bar_format": BAR, "unit": "B", "unit_scale": True}
    with tqdm(total=amount.size_bytes, file=sys.stderr, disable=quiet, **look) as bar:
        yield Progress(title, amount, bar, log)


def no_limit(_: float) -> float:
    return 0.0


@dataclass(frozen=True)
class Amount:
    """What a command is to do. `least`: the seconds that a share of it, 0 to 1, takes at least by GitHub's limits."""

    repositories: int
    size_bytes: int
    least: Callable[[float], float] = no_limit


class Progress:
    """Counts bytes and repositories, from any thread. Without a terminal a line in the log tells how far it is."""

    def __init__(self, title: str, amount: Amount, bar: "tqdm[NoReturn]", log: FilteringBoundLogger) -> None:
        self._title, self._amount, self._bar, self._log = title, amount, bar, log
        self._done = self._bytes = 0
        self._started = self._logged = time.monotonic()
        self._lock = threading.Lock()
        self._describe()

    def on_bytes(self, number: int) -> None:
        with self._lock:
            self._bytes += number
            self._bar.update(number)
            self._tell()

    def finished(self) -> None:
        """Count a repository that is done or has failed."""
        with self._lock:
            self._done += 1
            self._tell()

    def _tell(self) -> None:
        self._describe()
        now = time.monotonic()
        if self._bar.disable and now - self._logged >= LOG_EVERY and self._done < self._amount.repositories:
            self._logged = now
            counts = {"repositories": f"{self._done} of {self._amount.repositories}", "size_bytes": self._bytes}
            self._log.info("in progress", **counts, **self._left(now))

    def _describe(self) -> None:
        left = self._left(time.monotonic()).get("minutes_left")
        words = f", {left} min left" if left is not None else ""
        self._bar.set_description_str(f"{self._title} {self._done}/{self._amount.repositories}{words}", refresh=False)

    def _left(self, now: float) -> dict[str, int]:
        """Return the minutes that are left, where a repository is done."""
        seconds = seconds_left(self._amount, self._done, self._bytes, now - self._started)
        return {} if seconds is None else {"minutes_left": math.ceil(seconds / 60)}


def seconds_left(amount: Amount, done: int, size_bytes: int, passed: float) -> float | None:
    """Return the seconds that are left, None where nothing is done yet.

    Repositories and bytes tell it where they are what takes the time, and not the limits.
    """
    if not done:
        return None
    limited = amount.least(done / amount.repositories)
    parts = ((done, amount.repositories), (size_bytes, amount.size_bytes))
    paces = [passed * max(0, total - so_far) / so_far for so_far, total in parts if so_far]
    pace = max(paces) if passed > SLOWER * limited else 0.0
    return max(pace, amount.least(1.0) - max(passed, limited), 0.0)
