"""Git LFS pointers: small files in git, each of which stands for an object on an LFS server.

https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md
"""

import re
import tempfile
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import IO

from github_s3_backup.git.objects import list_objects, read_objects
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


# The LFS objects that files point at: the sizes in bytes that are given for each, by OID. One of them is right.
Pointers = Mapping[str, tuple[int, ...]]


def find_pointers(git: Git, mirror: Path) -> Pointers:
    """Return the LFS objects that the history of all refs points at. Raises GitError."""
    with tempfile.TemporaryFile(dir=mirror) as candidates:
        if not _write_candidates(git, mirror, candidates):
            return {}
        candidates.seek(0)
        contents = (content for _, content in read_objects(git, mirror, candidates))
        sizes: dict[str, set[int]] = defaultdict(set)
        for oid, size in filter(None, map(read_pointer, contents)):
            sizes[oid].add(size)
        return {oid: tuple(sorted(given)) for oid, given in sizes.items()}


def read_pointer(content: bytes) -> tuple[str, int] | None:
    """Return the OID and the size in a pointer, None where the content is none."""
    match = POINTER.fullmatch(content)
    return (match[1].decode(), int(match[2])) if match else None


def _write_candidates(git: Git, mirror: Path, candidates: IO[bytes]) -> int:
    """Write the ids of all files that have a pointer's size, a line each, and return their number."""
    count = 0
    for header in list_objects(git, mirror):
        if header.kind == b"blob" and SMALLEST <= header.size < TOO_LARGE:
            candidates.write(header.oid + b"\n")
            count += 1
    return count
