"""Reads the objects of a repository on this disk, many at once, through `git cat-file`."""

from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from github_s3_backup.git.process import Git

EVERY_OBJECT = ("cat-file", "--batch-all-objects", "--unordered", "--buffer")


@dataclass(frozen=True)
class ObjectHeader:
    """What git says of an object before its content. `size` in bytes."""

    oid: bytes
    kind: bytes
    size: int


def list_objects(git: Git, repository: Path) -> Iterator[ObjectHeader]:
    """Yield all objects of the repository, in any order. Raises GitError."""
    check = "--batch-check=%(objectname) %(objecttype) %(objectsize)"
    for line in _lines(git.stream(f"--git-dir={repository}", *EVERY_OBJECT, check)):
        yield _header(line)


def read_kinds(git: Git, repository: Path, oids: Iterable[bytes]) -> dict[bytes, bytes]:
    """Return the kind (such as b"commit") of each of these objects of the repository. Raises GitError."""
    wanted = b"".join(oid + b"\n" for oid in oids)
    output = git.run(f"--git-dir={repository}", "cat-file", "--batch-check", "--buffer", stdin=wanted)
    return {header.oid: header.kind for header in map(_header, output.splitlines())}


def read_objects(git: Git, repository: Path, oids: IO[bytes]) -> Iterator[tuple[ObjectHeader, bytes]]:
    """Yield the objects whose ids the file holds, a line each, with their contents. Raises GitError."""
    return _contents(git.stream(f"--git-dir={repository}", "cat-file", "--batch", "--buffer", stdin=oids))


def _header(line: bytes) -> ObjectHeader:
    oid, kind, size = line.split(b" ")
    return ObjectHeader(oid, kind, int(size))


def _lines(blocks: Iterable[bytes]) -> Iterator[bytes]:
    rest = b""
    for block in blocks:
        *lines, rest = (rest + block).split(b"\n")
        yield from lines


def _contents(blocks: Generator[bytes, None, None]) -> Iterator[tuple[ObjectHeader, bytes]]:
    """Yield what git's output holds: of each object a line `<oid> <type> <size>`, its bytes, and a newline."""
    rest = b""
    for block in blocks:
        data, start = rest + block, 0
        while (end := data.find(b"\n", start)) >= 0:
            header = _header(data[start:end])
            if len(data) < end + header.size + 2:
                break
            yield header, data[end + 1 : end + 1 + header.size]
            start = end + header.size + 2
        rest = data[start:]
