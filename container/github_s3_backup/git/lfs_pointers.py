"""Git LFS pointers: small files in git, each of which stands for an object on an LFS server.

https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md
"""

import re
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO

from github_s3_backup.git.process import Git

# The size of a pointer in bytes: git-lfs reads no larger ones, and none can be smaller.
SMALLEST, TOO_LARGE = 100, 1024
VERSIONS = b"https://git-lfs.github.com/spec/v1", b"https://hawser.github.com/spec/v1", b"http://git-media.io/v/2"
# git-lfs overlooks blank lines, and blanks before and behind.
END = rb"\r?\n(?:\r?\n)*"
POINTER = re.compile(
    rb"\s*version (?:" + b"|".join(map(re.escape, VERSIONS)) + rb")" + END + rb"(?:ext-[^\n]*" + END + rb")*"
    rb"oid sha256:([0-9a-f]{64})" + END + rb"size ([0-9]{1,18})\s*"
)
EVERY_OBJECT = ("cat-file", "--batch-all-objects", "--unordered", "--buffer")


def find_pointers(git: Git, mirror: Path) -> dict[str, int]:
    """Return the LFS objects that the history of all refs points at: their sizes in bytes, by OID. Raises GitError."""
    with tempfile.TemporaryFile(dir=mirror) as candidates:
        if not _write_candidates(git, mirror, candidates):
            return {}
        candidates.seek(0)
        blocks = git.stream(f"--git-dir={mirror}", "cat-file", "--batch", "--buffer", stdin=candidates)
        pointers = (read_pointer(content) for content in _contents(blocks))
        return dict(pointer for pointer in pointers if pointer)


def read_pointer(content: bytes) -> tuple[str, int] | None:
    """Return the OID and the size in a pointer, None where the content is none."""
    match = POINTER.fullmatch(content)
    return (match[1].decode(), int(match[2])) if match else None


def _write_candidates(git: Git, mirror: Path, candidates: IO[bytes]) -> int:
    """Write the ids of all files that have a pointer's size, a line each, and return their number."""
    count = 0
    check = "--batch-check=%(objecttype) %(objectsize) %(objectname)"
    for line in _lines(git.stream(f"--git-dir={mirror}", *EVERY_OBJECT, check)):
        kind, size, oid = line.split(b" ")
        if kind == b"blob" and SMALLEST <= int(size) < TOO_LARGE:
            candidates.write(oid + b"\n")
            count += 1
    return count


def _lines(blocks: Iterable[bytes]) -> Iterator[bytes]:
    rest = b""
    for block in blocks:
        *lines, rest = (rest + block).split(b"\n")
        yield from lines


def _contents(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the contents in git's output: of each object a line `<oid> <type> <size>`, its bytes, and a newline."""
    rest = b""
    for block in blocks:
        data, start = rest + block, 0
        while (end := data.find(b"\n", start)) >= 0:
            size = int(data[start:end].rpartition(b" ")[2])
            if len(data) < end + size + 2:
                break
            yield data[end + 1 : end + 1 + size]
            start = end + size + 2
        rest = data[start:]
