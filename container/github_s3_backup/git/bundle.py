"""A repository as one file: a git bundle that is made, hashed and proven on its way into S3.

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

from github_s3_backup.git.process import BLOCK_SIZE, Git, Mirror, Refs, parse_refs

SIGNATURES = (b"# v2 git bundle\n", b"# v3 git bundle\n")
# What marks a clone that lacks objects on purpose. https://git-scm.com/docs/partial-clone
PARTIAL = re.compile(r"partialclone|promisor", re.IGNORECASE)


class BundleError(Exception):
    """The bundle can't be trusted to restore the repository."""


class Bundle:
    """A bundle on its way: a header and a pack's bytes, to be read once.

    `estimate`: about how many bytes it will have. `size` and `sha256` are those of all that was read.
    """

    def __init__(self, header: bytes, pack: Iterable[bytes], object_format: str, estimate: int) -> None:
        self.estimate, self.size = estimate, 0
        self._header, self._pack, self._format = header, pack, object_format
        self._whole = hashlib.sha256()

    @property
    def sha256(self) -> bytes:
        return self._whole.digest()

    def __iter__(self) -> Iterator[bytes]:
        """Yield the bundle's bytes in blocks. After the last one, raise BundleError where the pack is not whole."""
        pack, tail = hashlib.new(self._format, usedforsecurity=False), b""
        yield self._counted(self._header)
        for block in self._pack:
            yield self._counted(block)
            # The pack's checksum is its last bytes and not of itself: they are held back until more come.
            cut = min(len(tail), max(0, len(tail) + len(block) - pack.digest_size))
            pack.update(tail[:cut])
            pack.update(memoryview(block)[: -pack.digest_size])
            tail = tail[cut:] + block[-pack.digest_size :]
        if tail != pack.digest():
            raise BundleError("the pack in the bundle does not match its own checksum")

    def _counted(self, block: bytes) -> bytes:
        self.size += len(block)
        self._whole.update(block)
        return block


@dataclass(frozen=True)
class Header:
    """What a bundle says before its pack: `size` bytes."""

    object_format: str
    refs: Refs
    size: int


@contextlib.contextmanager
def open_bundle(git: Git, mirror: Mirror) -> Iterator[Bundle]:
    """Yield the mirror's bundle, every ref in it. Raises BundleError, and GitError while it is read.

    A mirror as `git clone` leaves it is one pack, which with a header before it is the bundle. Of any other git
    makes one.
    """
    if (mirror.path / "shallow").exists():
        raise BundleError(
            "the server serves this repository shallow: its history is cut off, and so would be the backup"
        )
    pack = only_pack(mirror.path)
    if pack is None:
        with _made_by_git(git, mirror) as bundle:
            yield bundle
    else:
        header = write_header(mirror)
        with pack.open("rb") as file:
            blocks = iter(lambda: file.read(BLOCK_SIZE), b"")
            yield Bundle(header, blocks, mirror.object_format, len(header) + pack.stat().st_size)


def only_pack(repository: Path) -> Path | None:
    """Return the pack that holds all objects of the repository, None where there is no such pack."""
    objects = repository / "objects"
    packs = list(objects.glob("pack/*.pack"))
    if len(packs) != 1 or not packs[0].with_suffix(".idx").exists():
        return None
    loose_or_elsewhere = (*objects.glob("[0-9a-f][0-9a-f]/*"), *objects.glob("info/alternates"))
    partial = any(objects.glob("pack/*.promisor")) or PARTIAL.search((repository / "config").read_text())
    return None if loose_or_elsewhere or partial else packs[0]


def write_header(mirror: Mirror) -> bytes:
    """Return the header of a bundle with all refs of the mirror."""
    version3 = mirror.object_format != "sha1"
    signature = b"# v3 git bundle\n@object-format=sha256\n" if version3 else b"# v2 git bundle\n"
    return signature + b"".join(oid + b" " + name + b"\n" for name, oid in mirror.refs.items()) + b"\n"


@contextlib.contextmanager
def _made_by_git(git: Git, mirror: Mirror) -> Iterator[Bundle]:
    """Yield the bundle that git makes of the mirror, with a header of our own where git's has not all refs.

    `git bundle create` leaves out each ref whose name it finds ambiguous, HEAD itself as soon as there is a
    branch of that name, and says so at best in a warning.
    """
    estimate = sum(one.stat().st_size for one in mirror.path.glob("objects/**/*") if one.is_file())
    with contextlib.closing(git.bundle(mirror)) as blocks:
        header, pack = _cut_header(blocks)
        if read_header(io.BytesIO(header)).refs == mirror.refs:
            yield Bundle(header, pack, mirror.object_format, estimate)
            return
    with contextlib.closing(git.pack(mirror)) as blocks:
        yield Bundle(write_header(mirror), blocks, mirror.object_format, estimate)


def _cut_header(blocks: Iterator[bytes]) -> tuple[bytes, Iterator[bytes]]:
    """Return a bundle's header, which an empty line ends, and the blocks of its pack."""
    begun = b""
    for block in blocks:
        begun += block
        header, end, pack = begun.partition(b"\n\n")
        if end:
            return header + end, chain([pack], blocks)
    raise BundleError("the bundle ends inside its header")


def read_header(file: IO[bytes]) -> Header:
    """Return the header of the bundle that the file begins with. Raises BundleError."""
    if file.readline() not in SIGNATURES:
        raise BundleError("the file does not start like a git bundle")
    object_format, lines = "sha1", []
    for line in iter(file.readline, b"\n"):
        if not line:
            raise BundleError("the file ends inside the header")
        if line.startswith(b"-"):
            raise BundleError("the bundle needs objects that are not in it")
        if line.startswith(b"@object-format="):
            object_format = line.decode(errors="replace").strip().removeprefix("@object-format=")
        elif not line.startswith(b"@"):
            lines.append(line)
    try:
        return Header(object_format, parse_refs(b"".join(lines)), file.tell())
    except ValueError:
        raise BundleError("a line of the header is no ref") from None
