"""The LFS objects of one repository of the embedded GitHub."""

import hashlib
import re
import shutil
import tempfile
import weakref
from collections.abc import Iterable
from pathlib import Path

OID = re.compile(r"[0-9a-f]{64}")
# The ending of an object that was uploaded and not yet verified: nobody can have it.
UNVERIFIED = ".unverified"


class LfsStore:
    """Objects as files by their SHA-256, in a folder of its own unless one is given."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        # What GitHub says of an object instead of where it is: code and message, by oid.
        self.errors: dict[str, tuple[int, str]] = {}

    @property
    def folder(self) -> Path:
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="lfs-"))
            weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
        self._folder.mkdir(parents=True, exist_ok=True)
        return self._folder

    def add(self, content: bytes) -> str:
        """Add an object and return its oid."""
        file, oid = self._write([content])
        file.rename(self.path(oid))
        return oid

    def add_sparse(self, size: int) -> str:
        """Add a large object of zeros, which takes no space, and return its oid."""
        file, _ = self._write([])
        with file.open("rb+") as opened:
            opened.truncate(size)
            oid = hashlib.file_digest(opened, "sha256").hexdigest()
        file.rename(self.path(oid))
        return oid

    def remove(self, oid: str) -> None:
        self.path(oid).unlink()

    def oids(self) -> set[str]:
        """Return which objects there are."""
        return {path.name for path in self.folder.iterdir() if OID.fullmatch(path.name)}

    def path(self, oid: str) -> Path:
        """Return where an object is, or would be."""
        return self.folder / oid

    def size(self, oid: str) -> int | None:
        """Return an object's size in bytes, None where there is no such object."""
        path = self.path(oid)
        return path.stat().st_size if OID.fullmatch(oid) and path.exists() else None

    def pointer(self, oid: str) -> bytes:
        """Return the file that git holds in place of an object."""
        return pointer(oid, self.path(oid).stat().st_size)

    def take(self, oid: str, blocks: Iterable[bytes]) -> bool:
        """Take an upload, unless its content is not that object's."""
        file, found = self._write(blocks)
        if found == oid:
            file.rename(self.path(oid + UNVERIFIED))
        else:
            file.unlink()
        return found == oid

    def verify(self, oid: str, size: int) -> bool:
        """Make an uploaded object one that can be had; say whether there is one of that size."""
        uploaded = self.path(oid + UNVERIFIED)
        if OID.fullmatch(oid) and uploaded.exists() and uploaded.stat().st_size == size:
            uploaded.rename(self.path(oid))
        return self.size(oid) == size

    def _write(self, blocks: Iterable[bytes]) -> tuple[Path, str]:
        """Write a file under a name of its own and return it with its SHA-256."""
        digest = hashlib.sha256()
        with tempfile.NamedTemporaryFile(dir=self.folder, delete=False) as file:
            for block in blocks:
                digest.update(block)
                file.write(block)
        return Path(file.name), digest.hexdigest()


def pointer(oid: str, size: int) -> bytes:
    """Return the file that git holds in place of an object."""
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize {size}\n".encode()
