"""A repository as one file: writing a git bundle, and proving it before it counts.

Format: https://git-scm.com/docs/gitformat-bundle and https://git-scm.com/docs/gitformat-pack
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from git import Git, Mirror, Refs, count, fingerprint, parse_refs

# Upload parts are of this size, so they are hashed in it. 10,000 of them make 640 GB, and no task has
# more than 200 GiB of disk.
PART_SIZE = 64 * 1024**2
BLOCK_SIZE = 1024**2
BLOCKS_A_PART = PART_SIZE // BLOCK_SIZE
SIGNATURES = (b"# v2 git bundle\n", b"# v3 git bundle\n")


class BundleError(Exception):
    """The bundle can't be trusted to restore the repository."""


@dataclass(frozen=True)
class Bundle:
    """A proven bundle on disk. `parts`: the SHA-256 of each PART_SIZE bytes, in order."""

    path: Path
    refs: Refs
    size: int
    sha256: bytes
    parts: tuple[bytes, ...]

    @property
    def ref_count(self) -> int:
        return count(self.refs)

    @property
    def refs_sha256(self) -> str:
        return fingerprint(self.refs)


@dataclass(frozen=True)
class Header:
    """What a bundle says before its pack: `size` bytes."""

    object_format: str
    refs: Refs
    size: int


def write_bundle(git: Git, mirror: Mirror, path: Path) -> None:
    """Write the mirror's bundle to `path`, every ref in it.

    `git bundle create` leaves out each ref whose name git finds ambiguous, HEAD itself as soon as
    there is a branch of that name, and says so at best in a warning. Then the bundle is put together
    from its two parts: a header with all refs and one pack. Raises GitError and BundleError.
    """
    if (mirror.path / "shallow").exists():
        raise BundleError(
            "the server serves this repository shallow: its history is cut off, and so would be the backup"
        )
    git.bundle(mirror, path)
    with path.open("rb") as file:
        complete = read_header(file).refs == mirror.refs
    if not complete:
        _assemble(git, mirror, path)


def _assemble(git: Git, mirror: Mirror, path: Path) -> None:
    with path.open("wb") as file:
        version3 = mirror.object_format != "sha1"
        file.write(b"# v3 git bundle\n@object-format=sha256\n" if version3 else b"# v2 git bundle\n")
        file.writelines(oid + b" " + name + b"\n" for name, oid in mirror.refs.items())
        file.write(b"\n")
        file.flush()
        git.pack(mirror, file)


def prove_bundle(path: Path, mirror: Mirror) -> Bundle:
    """Read the whole file back and return it as a Bundle, or raise BundleError.

    Proven: the refs are the mirror's; the file needs no object from elsewhere; the pack's bytes hash
    to the checksum at its end. `git bundle verify` proves the second of these only.
    """
    with path.open("rb") as file:
        header = read_header(file)
        if header.refs != mirror.refs:
            raise BundleError(_difference(header.refs, mirror.refs))
        if header.object_format != mirror.object_format:
            raise BundleError(f"object format {header.object_format} instead of {mirror.object_format}")
        file.seek(0)
        sha256, parts = _hash_all(file, header)
    return Bundle(path, header.refs, path.stat().st_size, sha256, parts)


def _difference(written: Refs, wanted: Refs) -> str:
    wrong = sorted(name for name in written.keys() | wanted.keys() if written.get(name) != wanted.get(name))
    names = ", ".join(name.decode(errors="replace") for name in wrong[:5])
    return f"{len(wrong)} refs of the bundle are not those of the repository: {names}"


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


def _hash_all(file: IO[bytes], header: Header) -> tuple[bytes, tuple[bytes, ...]]:
    """Return the SHA-256 of the file and of its parts, having checked the pack's own checksum."""
    whole, parts = hashlib.sha256(), []
    pack, tail = hashlib.new(header.object_format, usedforsecurity=False), b""
    skip = header.size
    for number, block in enumerate(_blocks(file)):
        if number % BLOCKS_A_PART == 0:
            parts.append(hashlib.sha256())
        parts[-1].update(block)
        whole.update(block)
        tail += block[skip:]
        skip = max(0, skip - len(block))
        pack.update(tail[: -pack.digest_size])
        tail = tail[-pack.digest_size :]
    if tail != pack.digest():
        raise BundleError("the pack in the bundle does not match its own checksum")
    return whole.digest(), tuple(part.digest() for part in parts)


def _blocks(file: IO[bytes]) -> Iterator[bytes]:
    return iter(lambda: file.read(BLOCK_SIZE), b"")
