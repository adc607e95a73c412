"""A cheap proof that a repository on this disk is whole: each pack ends with the checksum of all that is before it."""

import hashlib
from pathlib import Path

from github_s3_backup.git.process import BLOCK_SIZE
from github_s3_backup.git.refs import Refs


def check_packs(git_dir: Path, refs: Refs) -> str | None:
    """Return what is wrong with the packs of a repository that has these refs, None if nothing is."""
    packs = list((git_dir / "objects" / "pack").glob("*.pack"))
    if refs and not packs:
        return "it has no pack"
    size = 32 if any(len(oid) == 64 for oid in refs.values()) else 20
    for pack in packs:
        index = pack.with_suffix(".idx")
        if not index.exists():
            return f"{index.name} is missing"
        trailers = [_trailer(path, size) for path in (pack, index)]
        # An index ends with the checksum of its pack, and then with its own.
        if None in trailers or _end(index, 2 * size)[:size] != trailers[0]:
            return f"{pack.name} or its index is not what was written"
    return None


def _end(path: Path, size: int) -> bytes:
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - size))
        return file.read()


def _trailer(path: Path, size: int) -> bytes | None:
    """Return the checksum at the end of a file, None if it is not that of the rest."""
    left = path.stat().st_size - size
    digest = hashlib.new("sha256" if size == 32 else "sha1", usedforsecurity=False)
    with path.open("rb") as file:
        while left > 0 and (block := file.read(min(BLOCK_SIZE, left))):
            digest.update(block)
            left -= len(block)
        trailer = file.read()
    return trailer if trailer == digest.digest() else None
