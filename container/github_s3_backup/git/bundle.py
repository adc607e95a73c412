"""Bundles: a repository as one file, made and verified while it is read.

Format: https://git-scm.com/docs/gitformat-bundle and https://git-scm.com/docs/gitformat-pack
"""

import contextlib
import hashlib
import io
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import IO

from github_s3_backup.git.mirror import Mirror
from github_s3_backup.git.process import BLOCK_SIZE, Git
from github_s3_backup.git.refs import Refs, parse_refs

SIGNATURES = (b"# v2 git bundle\n", b"# v3 git bundle\n")
# Bytes of a line of the header, a hundred times as long as a ref can be. A damaged file may be one line.
MAX_LINE = 64 * 1024
# Bytes of a header: a million refs. A forged file may be nothing else.
MAX_HEADER = 64 * 1024**2
OBJECT_FORMATS = ("sha1", "sha256")
# Marks a clone that lacks objects on purpose. https://git-scm.com/docs/partial-clone
PARTIAL_CLONE = re.compile(r"partialclone|promisor", re.IGNORECASE)


class BundleError(Exception):
    """The bundle can't be trusted to restore the repository."""


class ShallowCloneError(BundleError):
    """The server cut off the history."""


class Bundle:
    """A bundle to be read once: a header, then a pack.

    `estimate`: about how many bytes it will have. `size` and `sha256` are those of all that was read.
    """

    def __init__(self, header: bytes, pack: Iterable[bytes], object_format: str, estimate: int) -> None:
        self.estimate, self.size = estimate, 0
        self._header, self._pack, self._object_format = header, pack, object_format
        self._hash = hashlib.sha256()

    @property
    def sha256(self) -> str:
        return self._hash.hexdigest()

    def __iter__(self) -> Iterator[bytes]:
        """Yield the bundle's bytes in blocks. After the last one, raise BundleError if the pack is damaged."""
        checksum, tail = hashlib.new(self._object_format, usedforsecurity=False), b""
        yield self._count(self._header)
        for block in self._pack:
            yield self._count(block)
            # The pack ends with its checksum, which does not cover itself: hold back as many bytes.
            cut = min(len(tail), max(0, len(tail) + len(block) - checksum.digest_size))
            checksum.update(tail[:cut])
            checksum.update(memoryview(block)[: -checksum.digest_size])
            tail = tail[cut:] + block[-checksum.digest_size :]
        if tail != checksum.digest():
            raise BundleError("the pack in the bundle does not match its own checksum")

    def _count(self, block: bytes) -> bytes:
        self.size += len(block)
        self._hash.update(block)
        return block


@dataclass(frozen=True)
class Header:
    """What a bundle says before its pack: `size` bytes."""

    object_format: str
    refs: Refs
    size: int


@contextlib.contextmanager
def open_bundle(git: Git, mirror: Mirror) -> Iterator[Bundle]:
    """Yield the mirror's bundle, with every ref in it. Raises BundleError, and GitError while it is read.

    `git clone` leaves a single pack, and a header before it makes it a bundle. For any other mirror git makes one.
    """
    if (mirror.path / "shallow").exists():
        raise ShallowCloneError("the server serves this repository shallow: the backup would lack its older history")
    pack = only_pack(mirror.path)
    if pack is None:
        with _made_by_git(git, mirror) as bundle:
            yield bundle
    else:
        header = write_header(mirror.refs, mirror.object_format)
        with pack.open("rb") as file:
            blocks = iter(lambda: file.read(BLOCK_SIZE), b"")
            yield Bundle(header, blocks, mirror.object_format, len(header) + pack.stat().st_size)


def only_pack(repository: Path) -> Path | None:
    """Return the pack that holds all objects of the repository, None if there is no such pack."""
    objects = repository / "objects"
    packs = list(objects.glob("pack/*.pack"))
    if len(packs) != 1 or not packs[0].with_suffix(".idx").exists():
        return None
    loose_or_elsewhere = (*objects.glob("[0-9a-f][0-9a-f]/*"), *objects.glob("info/alternates"))
    partial = any(objects.glob("pack/*.promisor")) or PARTIAL_CLONE.search((repository / "config").read_text())
    return None if loose_or_elsewhere or partial else packs[0]


def write_header(refs: Refs, object_format: str, prerequisites: Iterable[bytes] = ()) -> bytes:
    """Return the header of a bundle with these refs. `prerequisites`: the commits that it stands on."""
    version3 = object_format != "sha1"
    signature = b"# v3 git bundle\n@object-format=sha256\n" if version3 else b"# v2 git bundle\n"
    lines = [b"-" + oid for oid in prerequisites] + [oid + b" " + name for name, oid in refs.items()]
    return signature + b"".join(line + b"\n" for line in lines) + b"\n"


@contextlib.contextmanager
def _made_by_git(git: Git, mirror: Mirror) -> Iterator[Bundle]:
    """Yield the bundle that git makes of the mirror, with a header of our own where git leaves out refs.

    `git bundle create` leaves out each ref whose name it finds ambiguous, and HEAD where a branch has that name, with
    a warning at best.
    """
    estimate = sum(file.stat().st_size for file in mirror.path.glob("objects/**/*") if file.is_file())
    git_dir = f"--git-dir={mirror.path}"
    with contextlib.closing(git.stream(git_dir, "bundle", "create", "--quiet", "-", "--all")) as blocks:
        header, pack = _split_header(blocks)
        if read_header(io.BytesIO(header)).refs == mirror.refs:
            yield Bundle(header, pack, mirror.object_format, estimate)
            return
    pack_all = ("pack-objects", "--quiet", "--all", "--delta-base-offset", "--stdout")
    with contextlib.closing(git.stream(git_dir, *pack_all)) as blocks:
        yield Bundle(write_header(mirror.refs, mirror.object_format), blocks, mirror.object_format, estimate)


def _split_header(blocks: Iterator[bytes]) -> tuple[bytes, Iterator[bytes]]:
    """Return a bundle's header, which ends with an empty line, and the blocks of its pack."""
    start = b""
    for block in blocks:
        start += block
        header, end, pack = start.partition(b"\n\n")
        if end:
            return header + end, chain([pack], blocks)
    raise BundleError("the bundle ends inside its header")


def read_header(file: IO[bytes], stands_alone: bool = True) -> Header:
    """Return the header of the bundle that the file begins with. Raises BundleError.

    `stands_alone`: it is to be a full bundle, otherwise one of changes.
    """
    if file.readline(len(SIGNATURES[0])) not in SIGNATURES:
        raise BundleError("the file does not start like a git bundle")
    object_format, lines, prerequisites = "sha1", [], 0
    for line in iter(lambda: file.readline(MAX_LINE), b"\n"):
        if not line.endswith(b"\n"):
            raise BundleError("the file ends inside the header, or a line of the header is too long")
        if file.tell() > MAX_HEADER:
            raise BundleError("the header is too long")
        if line.startswith(b"-"):
            prerequisites += 1
        elif line.startswith(b"@object-format="):
            object_format = line.decode(errors="replace").strip().removeprefix("@object-format=")
            if object_format not in OBJECT_FORMATS:
                raise BundleError(f"git has no object format {object_format!r}")
        elif not line.startswith(b"@"):
            lines.append(line)
    if stands_alone and prerequisites:
        raise BundleError("the bundle needs objects that are not in it")
    if not stands_alone and not prerequisites:
        raise BundleError("the bundle is not one of changes: it stands on no other")
    try:
        return Header(object_format, parse_refs(b"".join(lines)), file.tell())
    except ValueError:
        raise BundleError("a line of the header is not a ref") from None
