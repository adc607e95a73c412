"""What a person sees at a terminal: tables, ages, and a progress bar that log lines do not tear."""

import sys
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, NoReturn, TextIO

from tqdm import tqdm

from github_s3_backup.redaction import printable


def table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Return rows as columns; numbers and what has a unit stand at the right."""
    lines = [[printable(str(cell)) for cell in row] for row in (head, *rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    right = [
        all(line[column][:1].isdigit() or line[column] == "-" for line in lines[1:]) for column in range(len(head))
    ]

    def shown(line: list[str]) -> str:
        cells = zip(line, widths, right, strict=True)
        return "  ".join(
            cell.rjust(width) if at_right else cell.ljust(width) for cell, width, at_right in cells
        ).rstrip()

    return "\n".join(shown(line) for line in lines)


def age(then: datetime, now: datetime) -> str:
    """Return how long ago something was, as a person says it: 3 h, 2 days."""
    passed = now - then
    if passed < timedelta(hours=1):
        return f"{max(0, passed // timedelta(minutes=1))} min"
    if passed < timedelta(days=2):
        return f"{passed // timedelta(hours=1)} h"
    return f"{passed.days} days"


class BesideBar:
    """A stream for log lines that leaves the progress bar whole."""

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
