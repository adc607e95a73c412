"""The proof of a bundle of changes: all that its objects and refs name is in it, or in the full bundle's list."""

import re
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from github_s3_backup.git.object_list import ObjectList
from github_s3_backup.git.objects import list_objects, read_objects
from github_s3_backup.git.process import Git
from github_s3_backup.git.refs import Refs
from github_s3_backup.git.wire import ChangesNotPossibleError

# Bytes of a commit, a tree or a tag: those of real repositories are far smaller.
MAX_OBJECT = 64 * 1024**2
COMMIT = re.compile(rb"tree ([0-9a-f]{40,64})\n((?:parent [0-9a-f]{40,64}\n)*)(?!parent )")
PARENT = re.compile(rb"parent ([0-9a-f]+)\n")
TAG = re.compile(rb"object ([0-9a-f]{40,64})\ntype (?:commit|tree|blob|tag)\n")
# Mode, name, and the id as bytes. https://git-scm.com/book/en/v2/Git-Internals-Git-Objects
TREE_ENTRY = {size: re.compile(rb"([0-7]{5,6}) [^\0/]+\0(.{%d})" % size, re.DOTALL) for size in (20, 32)}
# The mode of a submodule: its commit is in another repository.
GITLINK = b"160000"


@dataclass(frozen=True)
class Links:
    """The ids (as bytes) that an object names; `parents` are known to be commits."""

    parents: tuple[bytes, ...]
    others: tuple[bytes, ...]


def prove(git: Git, repository: Path, refs: Refs, base: ObjectList) -> tuple[bytes, ...]:
    """Return the prerequisites of a bundle with these refs and the repository's objects, once it is proven.

    Raises ChangesNotPossibleError where something is neither in the pack nor in the full bundle, and GitError.
    """
    parents: set[bytes] = set()
    with tempfile.TemporaryFile(dir=repository) as linking:
        proof = _Proof(_received(git, repository, linking), base)
        proof.require(bytes.fromhex(oid.decode()) for oid in refs.values())
        linking.seek(0)
        for header, content in read_objects(git, repository, linking):
            links = links_of(header.kind, content, base.digest_size)
            proof.require(links.others)
            parents.update(proof.require(links.parents))
    return _prerequisites(parents, base)


@dataclass(frozen=True)
class _Proof:
    """The objects that were received, and those of the full bundle."""

    received: set[bytes]
    base: ObjectList

    def require(self, oids: Iterable[bytes]) -> list[bytes]:
        """Return which of these objects are in the full bundle only. Raises ChangesNotPossibleError."""
        outside = [oid for oid in oids if oid not in self.received]
        missing = [oid.hex() for oid in outside if not self.base.holds(oid)]
        if missing:
            raise ChangesNotPossibleError(f"object {missing[0]} is neither in the pack nor in the full bundle")
        return outside


def _received(git: Git, repository: Path, linking: IO[bytes]) -> set[bytes]:
    """Return the ids of all objects, and write those of all but files into `linking`, a line each."""
    received = set()
    for header in list_objects(git, repository):
        received.add(bytes.fromhex(header.oid.decode()))
        if header.kind != b"blob":
            if header.size > MAX_OBJECT:
                raise ChangesNotPossibleError(f"{header.kind.decode()} {header.oid.decode()} is too large")
            linking.write(header.oid + b"\n")
    return received


def _prerequisites(parents: set[bytes], base: ObjectList) -> tuple[bytes, ...]:
    """Return the commits that the pack builds on; if there are none, one of the full bundle.

    With none at all the bundle would look as if it stood alone. git 2.39 and older refuse others than commits.
    """
    commits = (oid for oid, kind in sorted(base.tips.items()) if kind == b"commit")
    needs = tuple(sorted(oid.hex().encode() for oid in parents)) or tuple(commits)[:1]
    if not needs:
        raise ChangesNotPossibleError("the full bundle has no commit that the changes could stand on")
    return needs


def links_of(kind: bytes, content: bytes, digest_size: int) -> Links:
    """Return what a commit, a tree or a tag names, submodules left out. Raises ChangesNotPossibleError."""
    if kind == b"tree":
        return Links((), tuple(_tree_links(content, digest_size)))
    match = (COMMIT if kind == b"commit" else TAG).match(content)
    if not match:
        raise ChangesNotPossibleError(f"a {kind.decode()} has an unknown form")
    named = bytes.fromhex(match[1].decode())
    parents = PARENT.findall(match[2]) if kind == b"commit" else []
    return Links(tuple(bytes.fromhex(oid.decode()) for oid in parents), (named,))


def _tree_links(content: bytes, digest_size: int) -> Iterator[bytes]:
    position = 0
    for entry in TREE_ENTRY[digest_size].finditer(content):
        if entry.start() != position:
            break
        position = entry.end()
        if entry[1] != GITLINK:
            yield entry[2]
    if position != len(content):
        raise ChangesNotPossibleError("a tree has an unknown form")
