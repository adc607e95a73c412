"""Download bundles and other content from the bucket, and compare each with the SHA-256 in the manifest."""

import contextlib
import errno
import hashlib
import io
import shutil
import threading
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar

from botocore.exceptions import BotoCoreError, ClientError
from structlog.typing import FilteringBoundLogger

from github_s3_backup.git.bundle import MAX_HEADER, SIGNATURES, BundleError, Header, read_header
from github_s3_backup.git.process import BLOCK_SIZE
from github_s3_backup.git.refs import refs_sha256
from github_s3_backup.records.entry import Base, Entry
from github_s3_backup.runtime.retry import RetryableError, retrying
from github_s3_backup.runtime.stop import Stop
from github_s3_backup.runtime.units import format_bytes
from github_s3_backup.s3.errors import ABSENT, error_code, explain
from github_s3_backup.s3.keys import url_of

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

ATTEMPTS = 5
# Bytes of a bundle that are read first to get its header.
FIRST_HEADER_SIZE = 64 * 1024
# Bytes of what is held in memory whole: a list of half a million LFS objects. A forged one would take all memory.
LARGEST_LIST = 128 * 1024**2
# What S3 answers to a version id that it never issued: a replica filled by hand has other ids.
UNKNOWN_VERSION = (*ABSENT, "InvalidArgument", "400")

OnBytes = Callable[[int], None]
DISK_FULL = (errno.ENOSPC, errno.EDQUOT)

Answer = TypeVar("Answer")


class DownloadError(Exception):
    """The object can't be downloaded, or is not what was stored."""

    def __init__(self, stage: Literal["download", "checksum"], message: str) -> None:
        super().__init__(message)
        self.stage = stage


class _InterruptedError(RetryableError):
    """The connection broke during the download."""


class Stored(Protocol):
    """An object in the bucket as a manifest or a list names it. `sha256`: of its bytes, in hex."""

    @property
    def s3_key(self) -> str | None: ...
    @property
    def version_id(self) -> str | None: ...
    @property
    def size_bytes(self) -> int: ...
    @property
    def sha256(self) -> str | None: ...


class Body:
    """An object's bytes, read from S3 as they are sent on. The last block comes only if the SHA-256 is right."""

    def __init__(self, size: int, open_blocks: Callable[[], Iterator[bytes]]) -> None:
        self._size, self._open_blocks = size, open_blocks

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[bytes]:
        """Yield the bytes from the first on, each time. Raises DownloadError."""
        return self._open_blocks()


class BucketReader:
    """What is in a bucket, primary or replica."""

    def __init__(self, client: "S3Client", bucket: str, stop: Stop, log: FilteringBoundLogger) -> None:
        self._client, self._bucket, self._stop, self._log = client, bucket, stop, log
        self._whole = threading.Lock()

    def download(self, stored: Stored, path: Path, on_bytes: OnBytes) -> bool:
        """Write the object to `path`; return False if it is already there, complete.

        An interrupted download is continued. `on_bytes` gets the number of bytes as they arrive. Raises DownloadError,
        and OSError where the disk is full.
        """
        if is_copy_of(stored, path):
            on_bytes(stored.size_bytes)
            return False
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f"{path.name}.part")
        self._from_any_version(stored, lambda version_id: self._complete(stored, version_id, part, on_bytes))
        part.replace(path)
        return True

    def read(self, stored: Stored) -> bytes:
        """Return the bytes of a list. Raises DownloadError, before it is read if it is larger than any list."""
        if stored.size_bytes > LARGEST_LIST:
            size = format_bytes(stored.size_bytes)
            raise DownloadError("checksum", f"{self._url(stored)}: {size} is too large for a list")
        with self._whole:
            return self._from_any_version(stored, lambda version_id: b"".join(self._verified(stored, version_id)))

    def prove(self, stored: Stored, on_bytes: OnBytes) -> None:
        """Read the whole object, and keep nothing of it. Raises DownloadError unless its SHA-256 is right."""

        def read(version_id: str | None) -> None:
            for block in self._verified(stored, version_id):
                on_bytes(len(block))

        self._from_any_version(stored, read)

    def send(self, stored: Stored, send: Callable[[Body], Answer]) -> Answer:
        """Return what `send` makes of the object's bytes. Raises DownloadError, and what `send` raises."""

        def send_version(version_id: str | None) -> Answer:
            return send(Body(stored.size_bytes, lambda: self._verified(stored, version_id)))

        return self._from_any_version(stored, send_version)

    def header(self, entry: Entry) -> Header:
        """Return the header of the entry's bundle, which has all refs, read without the rest. Raises DownloadError."""

        def read(version_id: str | None) -> Header:
            header = self._header(entry, version_id, stands_alone=entry.base is None)
            if refs_sha256(header.refs) != entry.refs_sha256:
                raise DownloadError("checksum", f"{self._url(entry)}: its refs do not match the manifest")
            return header

        return self._from_any_version(entry, read)

    def full_header(self, base: Base) -> Header:
        """Return the header of the full bundle that a bundle of changes stands on. Raises DownloadError."""
        return self._from_any_version(base, lambda version_id: self._header(base, version_id, stands_alone=True))

    # -- versions --------------------------------------------------------------------------------

    def _from_any_version(self, stored: Stored, get: Callable[[str | None], Answer]) -> Answer:
        """Return the result for the first version that matches the manifest. Raises DownloadError."""
        errors = []
        for version_id in self._versions(stored):
            try:
                return get(version_id)
            except DownloadError as error:
                errors.append(error)
        raise errors[0]

    def _versions(self, stored: Stored) -> Iterator[str | None]:
        """Yield the manifest's version; then, in case it is gone or corrupt, all others of the same size."""
        yield stored.version_id
        key = str(stored.s3_key)
        paginator = self._client.get_paginator("list_object_versions")
        try:
            pages = list(paginator.paginate(Bucket=self._bucket, Prefix=key))
        except (ClientError, BotoCoreError):  # listing versions may be forbidden where reading is not
            return
        for page in pages:
            for item in page.get("Versions", []):
                if item["Key"] == key and item["Size"] == stored.size_bytes and item["VersionId"] != stored.version_id:
                    self._log.warning("trying another version of the object", version_id=item["VersionId"])
                    yield item["VersionId"]

    # -- a single version ------------------------------------------------------------------------

    def _header(self, stored: Stored, version_id: str | None, stands_alone: bool) -> Header:
        """Return the header of one version. One at a time is held in memory: it may be large."""
        try:
            with self._whole:
                return read_header(io.BytesIO(self._begin(stored, version_id)), stands_alone)
        except BundleError as error:
            raise DownloadError("checksum", f"{self._url(stored)}: {error}") from None
        except (ClientError, BotoCoreError) as error:
            raise DownloadError("download", explain(error, self._url(stored))) from None

    def _begin(self, stored: Stored, version_id: str | None) -> bytes:
        """Return the beginning of the bundle: its whole header, or as much as shows that it has none."""
        data, size = b"", FIRST_HEADER_SIZE
        limit = min(stored.size_bytes, MAX_HEADER)
        while True:
            size = min(size, limit)
            body: bytes = self._get(stored, version_id, f"bytes={len(data)}-{size - 1}")["Body"].read()
            data += body
            if size == limit or b"\n\n" in data or not data.startswith(SIGNATURES):
                return data
            size *= 4

    def _complete(self, stored: Stored, version_id: str | None, part: Path, on_bytes: OnBytes) -> None:
        """Complete `part` and compare it; start over once if what an earlier download left does not fit."""
        continued = part.exists()
        if self._fill(stored, version_id, part, on_bytes) == stored.sha256:
            return
        part.unlink()
        if continued and self._fill(stored, version_id, part, lambda _: None) == stored.sha256:
            return
        part.unlink(missing_ok=True)
        raise _wrong_checksum(self._url(stored))

    def _fill(self, stored: Stored, version_id: str | None, part: Path, on_bytes: OnBytes) -> str:
        """Append what `part` lacks, and return the SHA-256 of the whole."""
        if part.exists() and part.stat().st_size > stored.size_bytes:
            part.unlink()
        start = part.stat().st_size if part.exists() else 0
        on_bytes(start)
        _check_space(stored.size_bytes - start, part.parent)
        blocks = self._stream(stored, version_id, start)
        first = next(blocks, b"")  # before the file is made: S3 may refuse
        with part.open("ab") as file:
            for block in chain([first], blocks):
                file.write(block)
                on_bytes(len(block))
        return sha256_of(part)

    def _verified(self, stored: Stored, version_id: str | None) -> Iterator[bytes]:
        """Yield the object's bytes in blocks; raise DownloadError in place of the last one if the SHA-256 is wrong."""
        return verified(stored, self._stream(stored, version_id, 0), self._url(stored))

    def _stream(self, stored: Stored, version_id: str | None, start: int) -> Iterator[bytes]:
        """Yield the object's bytes from `start` on, across interruptions. Raises DownloadError."""
        position = start
        try:
            for attempt in retrying(ATTEMPTS, self._stop, self._log):
                with attempt:
                    for block in self._stream_once(stored, version_id, position):
                        position += len(block)
                        yield block
        except _InterruptedError as error:
            raise DownloadError("download", str(error)) from None

    def _stream_once(self, stored: Stored, version_id: str | None, start: int) -> Iterator[bytes]:
        if start == stored.size_bytes:
            return
        try:
            body = self._get(stored, version_id, f"bytes={start}-{stored.size_bytes - 1}")["Body"]
            with contextlib.closing(body):
                for block in iter(lambda: body.read(BLOCK_SIZE), b""):
                    self._stop.check()
                    yield block
        except ClientError as error:
            raise DownloadError("download", explain(error, self._url(stored))) from None
        except BotoCoreError as error:
            raise _InterruptedError(explain(error, self._url(stored))) from None

    def _get(self, stored: Stored, version_id: str | None, byte_range: str) -> Any:
        request: dict[str, Any] = {"Bucket": self._bucket, "Key": str(stored.s3_key), "Range": byte_range}
        try:
            return self._client.get_object(**request | ({"VersionId": version_id} if version_id else {}))
        except ClientError as error:
            if not version_id or error_code(error) not in UNKNOWN_VERSION:
                raise
        # A copy in another bucket may have another version id; the SHA-256 shows whether it is the same.
        return self._client.get_object(**request)

    def _url(self, stored: Stored) -> str:
        return url_of(self._bucket, str(stored.s3_key))


def is_copy_of(stored: Stored, path: Path) -> bool:
    """Return whether the file exists and is this object, by size and SHA-256."""
    return path.is_file() and path.stat().st_size == stored.size_bytes and sha256_of(path) == stored.sha256


def _check_space(size: int, folder: Path) -> None:
    """Raise OSError if the folder's disk has not so many bytes left: better than filling it up first."""
    free = shutil.disk_usage(folder).free
    if size > free:
        problem = f"No space left on device: {format_bytes(size)} needed, {format_bytes(free)} free"
        raise OSError(errno.ENOSPC, problem, str(folder))


def verified(stored: Stored, blocks: Iterator[bytes], where: str) -> Iterator[bytes]:
    """Yield the blocks of an object; raise DownloadError in place of the last one if the SHA-256 is wrong."""
    digest, held_back = hashlib.sha256(), b""
    for block in blocks:
        if held_back:
            yield held_back
        digest.update(block)
        held_back = block
    if digest.hexdigest() != stored.sha256:
        raise _wrong_checksum(where)
    yield held_back


def _wrong_checksum(where: str) -> DownloadError:
    return DownloadError("checksum", f"{where}: its SHA-256 does not match the manifest")


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file, in hex. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
