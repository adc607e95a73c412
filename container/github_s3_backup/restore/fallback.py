"""Two buckets that hold the same backups: what one can't give comes from the other, object by object."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from structlog.typing import FilteringBoundLogger

from github_s3_backup.git.bundle import Header
from github_s3_backup.records.entry import Base, Entry
from github_s3_backup.s3.catalogue import Catalogue
from github_s3_backup.s3.download import Body, BucketReader, DownloadError, OnBytes, Stored
from github_s3_backup.s3.errors import S3Error

T = TypeVar("T")


class FallbackReader(BucketReader):
    """What is in a bucket; what is missing or damaged there is read from a second one."""

    def __init__(self, first: BucketReader, second: BucketReader, log: FilteringBoundLogger) -> None:
        self._readers, self._warnings = (first, second), log

    def download(self, stored: Stored, path: Path, on_bytes: OnBytes) -> bool:
        return self._from_either(lambda reader: reader.download(stored, path, on_bytes))

    def read(self, stored: Stored) -> bytes:
        return self._from_either(lambda reader: reader.read(stored))

    def prove(self, stored: Stored, on_bytes: OnBytes) -> None:
        self._from_either(lambda reader: reader.prove(stored, on_bytes))

    def send(self, stored: Stored, send: Callable[[Body], T]) -> T:
        return self._from_either(lambda reader: reader.send(stored, send))

    def header(self, entry: Entry) -> Header:
        return self._from_either(lambda reader: reader.header(entry))

    def full_header(self, base: Base) -> Header:
        return self._from_either(lambda reader: reader.full_header(base))

    def _from_either(self, get: Callable[[BucketReader], T]) -> T:
        """Return what the first bucket gives, or else the second. Raises the first one's DownloadError."""
        first, second = self._readers
        try:
            return get(first)
        except DownloadError as error:
            try:
                found = get(second)
            except DownloadError:
                raise error from None
            self._warnings.warning("taken from the fallback bucket", error=str(error))
            return found


def readable_catalogue(first: Catalogue, second: Catalogue, log: FilteringBoundLogger) -> Catalogue:
    """Return the first catalogue, or the second where the first can't be read or holds no backup."""
    try:
        if first.dates():
            return first
        problem = first.no_backup()
    except S3Error as error:
        problem = str(error)
    log.warning("reading manifests from the fallback bucket", error=problem)
    return second
