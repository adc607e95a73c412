"""The list of a full bundle's objects, stored next to it. A bundle of changes is proven against it.

The file is a header of lines, an empty line, and the ids of all objects:

    # objects of a git bundle, version 1
    bundle <SHA-256 of the bundle's bytes, in hex>
    object-format <sha1 or sha256>
    tip <object id> <kind>            for each object that a ref points at; the kind is commit, tag, tree, or blob

Of each object's id the list has the first 8 bytes, in order. With 5 million objects, the list seems to hold one that it
lacks with a probability below 10^-12.
"""

import mmap
import struct
import sys
from array import array
from bisect import bisect_left
from dataclasses import dataclass
from pathlib import Path

from github_s3_backup.git.bundle import only_pack
from github_s3_backup.git.mirror import Mirror
from github_s3_backup.git.objects import read_kinds
from github_s3_backup.git.process import Git

SIGNATURE = b"# objects of a git bundle, version 1"
DIGEST_SIZES = {"sha1": 20, "sha256": 32}
PREFIX_SIZE = 8
END_OF_HEADER = b"\n\n"
# An index begins with a signature, its version, and 256 counts, the last of which is that of all objects.
# https://git-scm.com/docs/gitformat-pack
INDEX_SIGNATURE, INDEX_HEADER_SIZE = b"\xfftOc\0\0\0\2", 8 + 1024


class ObjectListError(Exception):
    """The file is not the list of this bundle's objects."""


@dataclass(frozen=True)
class ObjectList:
    """The objects of one full bundle.

    `bundle_sha256`: which one. `tips`: what its refs point at, and the kind of each. `prefixes`: of all objects' ids.
    """

    bundle_sha256: str
    object_format: str
    tips: dict[bytes, bytes]
    prefixes: "array[int]"

    @property
    def digest_size(self) -> int:
        return DIGEST_SIZES[self.object_format]

    def holds(self, oid: bytes) -> bool:
        """Return whether the bundle has an object, by its id as bytes."""
        prefix = int.from_bytes(oid[:PREFIX_SIZE])
        position = bisect_left(self.prefixes, prefix)
        return position < len(self.prefixes) and self.prefixes[position] == prefix

    def to_bytes(self) -> bytes:
        """Return the list as it is stored."""
        tips = (b"tip %s %s" % (oid, kind) for oid, kind in sorted(self.tips.items()))
        header = (SIGNATURE, f"bundle {self.bundle_sha256}".encode(), f"object-format {self.object_format}".encode())
        return b"\n".join((*header, *tips, b"", _swapped(self.prefixes[:]).tobytes()))


def list_of_mirror(git: Git, mirror: Mirror, bundle_sha256: str) -> ObjectList | None:
    """Return the list of all objects of a clone, None where they are not all in one pack. Raises GitError."""
    pack = only_pack(mirror.path)
    if pack is None:
        return None
    tips = read_kinds(git, mirror.path, sorted(set(mirror.refs.values())))
    prefixes = _read_index(pack.with_suffix(".idx"), DIGEST_SIZES[mirror.object_format])
    return ObjectList(bundle_sha256, mirror.object_format, tips, prefixes)


def parse_object_list(body: bytes, bundle_sha256: str) -> ObjectList:
    """Return the list of the bundle with this SHA-256. Raises ObjectListError."""
    end = body.find(END_OF_HEADER)
    lines, prefixes = body[: max(0, end)].split(b"\n"), memoryview(body)[end + len(END_OF_HEADER) :]
    if lines[0] != SIGNATURE or len(prefixes) % PREFIX_SIZE:
        raise ObjectListError("the file is not a list of objects")
    try:
        (_, bundle), (_, object_format), *tips = (line.decode("ascii").split(" ", 1) for line in lines[1:])
        kinds = dict(tip.encode().split(b" ") for _, tip in tips)
        DIGEST_SIZES[object_format]
    except (ValueError, KeyError):
        raise ObjectListError("the header of the list of objects is damaged") from None
    if bundle != bundle_sha256:
        raise ObjectListError("the list of objects is that of another bundle")
    numbers = array("Q")
    numbers.frombytes(prefixes)
    return ObjectList(bundle, object_format, kinds, _swapped(numbers))


def _read_index(index: Path, digest_size: int) -> "array[int]":
    """Return the first bytes of all ids in a pack's index. Raises ObjectListError."""
    with index.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        if data[: len(INDEX_SIGNATURE)] != INDEX_SIGNATURE:
            raise ObjectListError("git wrote an index of an unknown version")
        (count,) = struct.unpack_from(">I", data, INDEX_HEADER_SIZE - 4)
        with memoryview(data)[INDEX_HEADER_SIZE : INDEX_HEADER_SIZE + count * digest_size] as ids:
            prefixes = (prefix for (prefix,) in struct.iter_unpack(f">Q{digest_size - PREFIX_SIZE}x", ids))
            return array("Q", prefixes)


def _swapped(prefixes: "array[int]") -> "array[int]":
    """Turn the bytes of each number from the machine's order to the stored one, or back, and return the array."""
    if sys.byteorder == "little":
        prefixes.byteswap()
    return prefixes
