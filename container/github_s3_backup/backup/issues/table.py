"""Today's list of a repository's issues while it is made: on the disk, because one may have 20,000 of them."""

import contextlib
import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from github_s3_backup.records.content import IssueKind
from github_s3_backup.records.issue_list import LINE_KINDS, line_of, parse_line, write_lines

# Nothing here outlives the run: no journal, no waiting for the disk.
SETUP = """
PRAGMA journal_mode = OFF;
PRAGMA synchronous = OFF;
CREATE TABLE lines (number INTEGER PRIMARY KEY, kind TEXT NOT NULL, updated_at TEXT NOT NULL, line BLOB NOT NULL);
"""
PUT = "INSERT OR REPLACE INTO lines VALUES (?, ?, ?, ?)"


class IssueTable:
    """The lines of one list, by number. Used by one thread. `changed`: whether it differs from what was loaded."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection, self.changed = connection, False

    def load(self, lines: Iterable[bytes]) -> None:
        """Take over the lines of the last list. Raises ListError."""
        for line in lines:
            known = parse_line(line)
            self._connection.execute(PUT, (known.number, known.kind, known.updatedAt, line))

    def put(self, kind: IssueKind, node: dict[str, Any]) -> None:
        """Take in what GitHub says of one."""
        row = (int(node["number"]), LINE_KINDS[kind], str(node["updatedAt"]), line_of(kind, node))
        known = self._connection.execute("SELECT line FROM lines WHERE number = ?", row[:1]).fetchone()
        if known is None or known[0] != row[3]:
            self.changed = True
            self._connection.execute(PUT, row)

    def updates(self, kind: IssueKind) -> dict[int, str]:
        """Return when each of a kind has changed, by number."""
        query = "SELECT number, updated_at FROM lines WHERE kind = ?"
        return dict(self._connection.execute(query, (LINE_KINDS[kind],)))

    def remove(self, numbers: Iterable[int]) -> None:
        """Leave out what GitHub no longer has."""
        for number in numbers:
            self.changed = True
            self._connection.execute("DELETE FROM lines WHERE number = ?", (number,))

    def clear(self) -> None:
        """Leave out everything."""
        self._connection.execute("DELETE FROM lines")

    def write(self, path: Path) -> None:
        """Write the list."""
        with path.open("wb") as target:
            rows = self._connection.execute("SELECT line FROM lines ORDER BY number")
            write_lines((line for (line,) in rows), target)


@contextlib.contextmanager
def new_table(folder: Path) -> Iterator[IssueTable]:
    """Yield an empty table in a folder that is removed afterwards."""
    with contextlib.closing(sqlite3.connect(folder / "issues.sqlite", isolation_level=None)) as connection:
        connection.executescript(SETUP)
        yield IssueTable(connection)
