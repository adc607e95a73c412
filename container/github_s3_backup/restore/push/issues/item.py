"""What a list of issues says of one, as far as it is written to GitHub again."""

from collections.abc import Iterator
from pathlib import Path

import msgspec

from github_s3_backup.records.content import ListError
from github_s3_backup.records.issue_list import LineKind, read_lines


class _Record(msgspec.Struct, frozen=True, rename="camel"):
    """A part of a line, with GitHub's names."""


class Person(_Record, frozen=True):
    login: str = "ghost"


class Comment(_Record, frozen=True):
    """A comment, a review, or a comment of a thread."""

    id: str
    body: str | None = None
    author: Person | None = None
    created_at: str = ""
    submitted_at: str | None = None
    state: str = ""
    diff_hunk: str | None = None
    replies: tuple["Comment", ...] = ()


class Thread(_Record, frozen=True):
    id: str
    path: str = ""
    line: int | None = None
    is_resolved: bool = False
    comments: tuple[Comment, ...] = ()


class Label(_Record, frozen=True):
    name: str
    color: str = ""
    description: str | None = None


class Commit(_Record, frozen=True):
    oid: str


class Named(_Record, frozen=True):
    """A milestone, or the category of a discussion."""

    title: str = ""
    name: str = ""


class Item(_Record, frozen=True):
    """An issue, a pull request, or a discussion."""

    kind: LineKind
    number: int
    title: str
    id: str = ""
    body: str | None = None
    author: Person | None = None
    created_at: str = ""
    state: str = ""
    state_reason: str | None = None
    closed: bool = False
    locked: bool = False
    milestone: Named | None = None
    category: Named | None = None
    labels: tuple[Label, ...] = ()
    assignees: tuple[Person, ...] = ()
    comments: tuple[Comment, ...] = ()
    reviews: tuple[Comment, ...] = ()
    review_threads: tuple[Thread, ...] = ()
    head_ref_name: str = ""
    head_ref_oid: str = ""
    base_ref_name: str = ""
    base_ref_oid: str = ""
    merge_commit: Commit | None = None
    is_draft: bool = False
    is_cross_repository: bool = False

    @property
    def is_closed(self) -> bool:
        return self.closed or self.state in ("CLOSED", "MERGED")


# Made before there are threads, as all decoders are.
DECODER = msgspec.json.Decoder(Item)


def read_items(path: Path) -> Iterator[Item]:
    """Yield what is in a list on the disk, by number. Raises ListError."""
    for line in read_lines(path):
        try:
            yield DECODER.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise ListError(f"it is not a list of issues: {error}") from None
