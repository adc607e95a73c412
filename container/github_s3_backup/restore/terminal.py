"""What a person sees: tables, ages, and a progress bar that log lines do not break."""

import json
import sys
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, NoReturn, TextIO

from tqdm import tqdm

from github_s3_backup.runtime.redaction import printable
from github_s3_backup.runtime.units import format_bytes

# An unchanged repository keeps its bundle, so that this may be older than the backup.
TITLES = {"size_bytes": "size", "finished_at": "age", "backed_up_at": "bundle age", "default_branch": "default branch"}
AGES = ("finished_at", "backed_up_at")


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


def new_bar(title: str, total: int) -> "tqdm[NoReturn]":
    """Return a bar that counts bytes on a terminal, and shows nothing elsewhere."""
    quiet = not (total and sys.stderr.isatty())
    return tqdm(total=total, desc=title, unit="B", unit_scale=True, file=sys.stderr, disable=quiet, dynamic_ncols=True)
