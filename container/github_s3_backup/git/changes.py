"""Bundles of changes: what a repository has more than a full bundle that is not on this machine.

What the server sends is proven before it counts. git hashes every object of the pack, and everything that the objects
and the refs name is in the pack or in the list of the full bundle's objects.
"""

import contextlib
import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from github_s3_backup.git.bundle import Bundle, write_header
from github_s3_backup.git.object_list import ObjectList
from github_s3_backup.git.process import BLOCK_SIZE, Git
from github_s3_backup.git.proof import prove
from github_s3_backup.git.refs import Refs
from github_s3_backup.git.wire import ChangesNotPossibleError, fetch_request


@dataclass(frozen=True)
class Changes:
    """What a bundle of changes is made of.

    `prerequisites`: the commits of the full bundle that it stands on. `pack`: all objects that are new.
    """

    refs: Refs
    object_format: str
    prerequisites: tuple[bytes, ...]
    pack: Path

    @property
    def repository(self) -> Path:
        """The repository that has the new objects, and nothing else."""
        return self.pack.parents[2]


def new_tips(refs: Refs, base: ObjectList) -> list[bytes]:
    """Return what the server is to be asked for: the objects that refs point at, and no ref of the full bundle did.

    Raises ChangesNotPossibleError where the repository has another object format now.
    """
    if any(len(oid) != 2 * base.digest_size for oid in refs.values()):
        raise ChangesNotPossibleError("the repository has another object format than its full bundle")
    return sorted(set(refs.values()) - base.tips.keys())


def old_tips(refs: Refs, base: ObjectList) -> list[bytes]:
    """Return what the full bundle has; first what the server still serves, in case it reads only so far."""
    served = set(refs.values())
    return sorted(base.tips, key=lambda oid: (oid not in served, oid))


def empty_pack(object_format: str) -> bytes:
    """Return the pack of a repository that has nothing new."""
    head = b"PACK\0\0\0\2\0\0\0\0"
    return head + hashlib.new(object_format, head, usedforsecurity=False).digest()


def fetch_changes(
    git: Git, refs: Refs, base: ObjectList, folder: Path, fetch: Callable[[bytes], Iterable[bytes]]
) -> Changes:
    """Return what a repository with these refs has more than the full bundle, proven, in the new folder.

    `fetch` sends a request of git's protocol 2, and returns the pack in the answer. Raises ChangesNotPossibleError,
    GitError, OSError, and what `fetch` raises.
    """
    wants, object_format = new_tips(refs, base), base.object_format
    blocks: Iterable[bytes] = [empty_pack(object_format)]
    if wants:
        blocks = fetch(fetch_request(wants, old_tips(refs, base), object_format))
    pack = _receive(git, blocks, folder, object_format)
    return Changes(refs, object_format, prove(git, folder, refs, base), pack)


def _receive(git: Git, blocks: Iterable[bytes], folder: Path, object_format: str) -> Path:
    """Write a pack into the new bare repository `folder`, let git hash all its objects, and return the pack.

    git refuses a pack that has deltas against objects outside.
    """
    git.run("init", "--bare", "--quiet", "--template=", f"--object-format={object_format}", "--", str(folder))
    pack = folder / "objects" / "pack" / "pack-changes.pack"
    with pack.open("wb") as file:
        file.writelines(blocks)
    git.run(f"--git-dir={folder}", "index-pack", str(pack))
    return pack


@contextlib.contextmanager
def open_changes(changes: Changes) -> Iterator[Bundle]:
    """Yield the bundle of changes, which is hashed, and its pack compared with its checksum, while it is read."""
    header = write_header(changes.refs, changes.object_format, changes.prerequisites)
    with changes.pack.open("rb") as file:
        blocks = iter(lambda: file.read(BLOCK_SIZE), b"")
        yield Bundle(header, blocks, changes.object_format, len(header) + changes.pack.stat().st_size)
