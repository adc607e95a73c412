"""What is in a folder into which backups were fetched: it is not downloaded again."""

import contextlib
import functools
import os
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from github_s3_backup.git.bundle import BundleError, Header, read_header
from github_s3_backup.git.process import BLOCK_SIZE
from github_s3_backup.git.refs import refs_sha256
from github_s3_backup.records.entry import Base, Entry
from github_s3_backup.s3.download import Body, BucketReader, DownloadError, OnBytes, Stored, sha256_of, verified

Answer = TypeVar("Answer")


class FetchedReader(BucketReader):
    """What a folder holds, in whatever form, and else a bucket.

    A file stands for an object that has its size and SHA-256, whatever its name. Nothing else is believed of it.
    `from_folder`, `from_bucket`: the bytes that were taken from each.
    """

    def __init__(self, folder: Path, bucket: BucketReader) -> None:
        self._rest, self._files = bucket, _files_by_size(folder)
        self._sha256 = functools.cache(sha256_of)
        self._lock = threading.Lock()
        self.from_folder = self.from_bucket = 0

    def download(self, stored: Stored, path: Path, on_bytes: OnBytes) -> bool:
        """Make `path` a link to the file, or download the object. Raises as BucketReader."""

        def link(file: Path) -> bool:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.unlink(missing_ok=True)
            path.symlink_to(file)
            on_bytes(stored.size_bytes)
            return True

        return self._either(stored, link, lambda: self._rest.download(stored, path, on_bytes))

    def read(self, stored: Stored) -> bytes:
        return self._either(stored, lambda file: b"".join(_proven(stored, file)), lambda: self._rest.read(stored))

    def prove(self, stored: Stored, on_bytes: OnBytes) -> None:
        self._rest.prove(stored, on_bytes)

    def send(self, stored: Stored, send: Callable[[Body], Answer]) -> Answer:
        def send_file(file: Path) -> Answer:
            return send(Body(stored.size_bytes, lambda: _proven(stored, file)))

        return self._either(stored, send_file, lambda: self._rest.send(stored, send))

    def header(self, entry: Entry) -> Header:
        if file := self._file(entry):
            with contextlib.suppress(BundleError, OSError), file.open("rb") as opened:
                header = read_header(opened, stands_alone=entry.base is None)
                if refs_sha256(header.refs) == entry.refs_sha256:
                    return header
        return self._rest.header(entry)

    def full_header(self, base: Base) -> Header:
        return self._rest.full_header(base)

    def _either(self, stored: Stored, take: Callable[[Path], Answer], ask: Callable[[], Answer]) -> Answer:
        """Return what is made of the file that is this object, or else what the bucket gives."""
        file = self._file(stored)
        with self._lock:
            if file:
                self.from_folder += stored.size_bytes
            else:
                self.from_bucket += stored.size_bytes
        return take(file) if file else ask()

    def _file(self, stored: Stored) -> Path | None:
        # LFS objects are named by their SHA-256: those of the same size need not be read.
        for file in sorted(self._files.get(stored.size_bytes, ()), key=lambda file: file.name != stored.sha256):
            with contextlib.suppress(OSError):
                if self._sha256(file) == stored.sha256:
                    return file
        return None


def _files_by_size(folder: Path) -> dict[int, list[Path]]:
    found: dict[int, list[Path]] = {}
    for place, _, names in os.walk(folder):
        for name in names:
            file = Path(place, name)
            with contextlib.suppress(OSError):
                about = file.stat()
                if stat.S_ISREG(about.st_mode):
                    found.setdefault(about.st_size, []).append(file)
    return found


def _proven(stored: Stored, file: Path) -> Iterator[bytes]:
    """Yield a file's bytes. Raises DownloadError where it was changed or removed meanwhile."""
    try:
        with file.open("rb") as opened:
            yield from verified(stored, iter(lambda: opened.read(BLOCK_SIZE), b""), str(file))
    except OSError as error:
        raise DownloadError("download", f"{file} can't be read: {error}") from None
