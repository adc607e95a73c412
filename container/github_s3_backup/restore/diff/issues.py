"""What changed in a repository's issues from one backup to another."""

import hashlib
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from github_s3_backup.records.content import ListError
from github_s3_backup.records.entry import Entry
from github_s3_backup.records.issue_list import read_lines
from github_s3_backup.s3.download import BucketReader


class _Texts(msgspec.Struct, frozen=True):
    """What people see of an issue first."""

    number: int
    title: str
    body: str = ""
    state: str = ""
    closed: bool = False


TEXTS = msgspec.json.Decoder(_Texts)


@dataclass(frozen=True)
class IssueChanges:
    """The numbers of the issues, pull requests and discussions that changed."""

    deleted: tuple[int, ...]
    opened: tuple[int, ...]
    closed: tuple[int, ...]
    edited: tuple[int, ...]

    def __str__(self) -> str:
        parts = {"opened": self.opened, "closed": self.closed, "edited": self.edited}
        return ", ".join(f"{len(numbers)} {what}" for what, numbers in parts.items() if numbers)


def issue_changes(old: Entry, new: Entry, reader: BucketReader, scratch: Path) -> IssueChanges:
    """Compare the lists of two backups. Raises DownloadError and ListError.

    One that was not read wholly lacks what nobody deleted: nothing counts as deleted then.
    """
    before, after = _issues(old, reader, scratch), _issues(new, reader, scratch)
    is_whole = new.issues is not None and new.issues.waiting == 0
    both = sorted(before.keys() & after.keys())
    return IssueChanges(
        deleted=tuple(sorted(before.keys() - after.keys())) if is_whole else (),
        opened=tuple(sorted(after.keys() - before.keys())),
        closed=tuple(number for number in both if after[number][0] and not before[number][0]),
        edited=tuple(number for number in both if after[number][1] != before[number][1]),
    )


def _issues(entry: Entry, reader: BucketReader, scratch: Path) -> dict[int, tuple[bool, bytes]]:
    """Return of each issue whether it is closed, and a digest of its title and text."""
    if entry.issues is None or entry.issues.list is None:
        return {}
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        path = Path(folder) / "issues.gz"
        reader.download(entry.issues.list, path, lambda _: None)
        return dict(_digests(path))


def _texts(line: bytes) -> _Texts:
    try:
        return TEXTS.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ListError(f"it is not a list of issues: {error}") from None


def _digests(path: Path) -> Iterator[tuple[int, tuple[bool, bytes]]]:
    for line in read_lines(path):
        texts = _texts(line)
        digest = hashlib.sha256(f"{texts.title}\0{texts.body}".encode(errors="backslashreplace")).digest()
        yield texts.number, (texts.closed or texts.state not in ("", "OPEN"), digest)
