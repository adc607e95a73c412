"""Uploads: an object sent as it is read, in parts, hashed on the way, and never over another one."""

import base64
import contextlib
import hashlib
import io
import threading
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Protocol

from structlog.typing import FilteringBoundLogger

from github_s3_backup.records.stored_object import StoredObject
from github_s3_backup.runtime.capacity import Capacity, Reservation
from github_s3_backup.runtime.stop import Stop
from github_s3_backup.s3.errors import ABSENT, FORBIDDEN, KEY_TAKEN, S3_ERRORS, S3Error, error_code, explain
from github_s3_backup.s3.keys import url_of
from github_s3_backup.s3.objects import BLOCK_SIZE, Objects, to_base64

if TYPE_CHECKING:
    from mypy_boto3_s3.type_defs import CompletedPartTypeDef

# Parts are held in memory. S3 takes 10,000 of them; some are kept for what an estimate may fall short of.
PART_SIZE, MAX_PARTS = 16 * 1024**2, 9_000
# Parts of one upload that are in memory at once: those that are being sent, and the one that is being read.
PARTS_AT_ONCE = 4
# S3 answers these about an upload that is no longer open.
NO_LONGER_OPEN = ("NoSuchUpload", "404")
# S3 answers these to a complete request whose first answer was lost.
ALREADY_COMPLETE = (*KEY_TAKEN, *NO_LONGER_OPEN)


class UploadError(S3Error):
    """S3 refused, or answered with something else than was sent; the text holds S3's own words."""


class KeyTakenError(UploadError):
    """Another object is there under this key. It was left as it is."""


class Source(Protocol):
    """What is uploaded: blocks to be read once. `size` and `sha256` (hex) are known afterwards."""

    estimate: int
    size: int

    @property
    def sha256(self) -> str: ...

    def __iter__(self) -> Iterator[bytes]: ...


class BytesSource:
    """Something small that is in memory already."""

    def __init__(self, body: bytes) -> None:
        self._body, self.size = body, len(body)
        self.estimate = self.size

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self._body).hexdigest()

    def __iter__(self) -> Iterator[bytes]:
        yield self._body


class FileSource:
    """A file on the disk."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file, self._hash = file, hashlib.sha256()
        self.estimate, self.size = size, 0

    @classmethod
    @contextlib.contextmanager
    def of(cls, path: Path) -> Iterator["FileSource"]:
        """Open a file."""
        with path.open("rb") as file:
            yield cls(file, path.stat().st_size)

    @property
    def sha256(self) -> str:
        return self._hash.hexdigest()

    def __iter__(self) -> Iterator[bytes]:
        while block := self._file.read(BLOCK_SIZE):
            self._hash.update(block)
            self.size += len(block)
            yield block


class Part(io.BytesIO):
    """One part of an upload, in memory. Reading it raises Stopped when the run is stopped."""

    def __init__(self, number: int, stop: Stop) -> None:
        super().__init__()
        self.number, self.size, self._stop = number, 0, stop

    def checksum(self) -> str:
        """Hash the part, in the thread that sends it, while the next one is read."""
        with self.getbuffer() as view:  # released here, as a part can't be closed while somebody has a view of it
            return to_base64(hashlib.sha256(view).digest())

    def fill(self, data: memoryview, part_size: int) -> memoryview:
        """Take in data until the part is full, and return the rest."""
        taken = data[: part_size - self.size]
        self.write(taken)
        self.size += len(taken)
        return data[len(taken) :]

    def body(self) -> "Part":
        self.seek(0)
        return self

    def read(self, size: int | None = -1, /) -> bytes:
        self._stop.check()
        return super().read(size)


class Uploader:
    """Puts objects into one bucket. All its uploads together hold no more memory than `buffers`."""

    def __init__(
        self,
        objects: Objects,
        buffers: Capacity,
        stop: Stop,
        log: FilteringBoundLogger,
        part_size: int = PART_SIZE,
    ) -> None:
        self._client, self._bucket, self._buffers = objects.client, objects.bucket, buffers
        self._stop, self._log, self._min_part_size = stop, log, part_size
        self._lock = threading.Lock()
        self._open_uploads: dict[str, str] = {}
        # What was uploaded by this run.
        self.bytes_uploaded = 0

    def put(self, key: str, source: Source) -> StoredObject:
        """Upload an object as it is read, unless there is one under this key.

        S3 itself compares what arrives with the SHA-256 taken on the way. Nothing counts before the last block was
        read: an error until then, here or in `source`, leaves no object. Raises KeyTakenError, UploadError, and what
        reading the source raises.
        """
        stored = self._put(key, source)
        with self._lock:
            self.bytes_uploaded += stored.size_bytes
        return stored

    def _put(self, key: str, source: Source) -> StoredObject:
        part_size = self.part_size(source.estimate)
        at_once = self.parts_at_once(part_size)
        needs = Reservation(0, min(source.estimate, at_once * part_size, self._buffers.total.memory))
        with self._buffers.reserve(needs), self._explained(key):
            parts = self._read_parts(source, part_size)
            first = next(parts)
            if first.size < part_size:
                return self._put_whole(key, first, source)
            with self._multipart(key) as upload_id:
                sent = self._send_parts(key, upload_id, chain([first], parts), at_once)
                return self._complete(key, upload_id, sent, source)

    def part_size(self, estimate: int) -> int:
        """Return a part's bytes, with which an upload of about `estimate` bytes needs no more parts than S3 takes."""
        return max(self._min_part_size, -(-estimate // MAX_PARTS))

    def parts_at_once(self, part_size: int) -> int:
        """Return how many parts of one upload may be in memory: one at least, as S3 takes no smaller ones."""
        return max(1, min(PARTS_AT_ONCE, self._buffers.total.memory // part_size))

    @contextlib.contextmanager
    def _explained(self, key: str) -> Iterator[None]:
        try:
            yield
        except S3_ERRORS as error:
            raise UploadError(explain(error, self.url(key)), error_code(error)) from None

    def url(self, key: str) -> str:
        return url_of(self._bucket, key)

    # -- reading ---------------------------------------------------------------------------------

    def _read_parts(self, blocks: Iterable[bytes], part_size: int) -> Iterator[Part]:
        """Yield what is read in parts; only the last may be smaller, and empty."""
        part = Part(1, self._stop)
        for block in blocks:
            rest = memoryview(block)
            while rest:
                rest = part.fill(rest, part_size)
                if part.size == part_size:
                    yield part
                    part = Part(part.number + 1, self._stop)
        if part.size or part.number == 1:
            yield part

    # -- in one piece ----------------------------------------------------------------------------

    def _put_whole(self, key: str, part: Part, source: Source) -> StoredObject:
        checksum = part.checksum()
        try:
            answer = self._client.put_object(
                Bucket=self._bucket,
                Key=key,
                Body=part.body(),
                ContentLength=part.size,
                ChecksumSHA256=checksum,
                IfNoneMatch="*",
            )
        except S3_ERRORS as error:
            if error_code(error) not in KEY_TAKEN:
                raise
            return self._own_object(key, source, checksum)
        return _stored(key, answer.get("VersionId"), source, checksum)

    # -- in parts --------------------------------------------------------------------------------

    def _send_parts(
        self, key: str, upload_id: str, parts: Iterable[Part], at_once: int
    ) -> "list[CompletedPartTypeDef]":
        """Send parts while the next is read, and return them in order. Raises what S3 refused.

        No more than `at_once` are in memory, the first of which has been read.
        """
        room = threading.Semaphore(at_once - 1)
        sent: list[CompletedPartTypeDef] = []
        errors: list[BaseException] = []
        threads: list[threading.Thread] = []

        def send(part: Part) -> None:
            try:
                with part:  # closed afterwards, so that whoever still refers to it holds none of its bytes
                    sent.append(self._send_part(key, upload_id, part))
            except BaseException as error:
                errors.append(error)
            finally:
                room.release()

        try:
            for part in parts:
                # A daemon thread: one that hangs on a silent server does not keep a stopped run from ending.
                thread = threading.Thread(target=send, args=(part,), daemon=True)
                thread.start()
                threads.append(thread)
                self._acquire(room)
                if errors:
                    break
        finally:
            self._join(threads)  # a part that arrives after the upload is aborted stays in the bucket
        if errors:
            raise errors[0]
        return sorted(sent, key=lambda part: part["PartNumber"])

    def _join(self, threads: Iterable[threading.Thread]) -> None:
        for thread in threads:
            while thread.is_alive():
                thread.join(0.2)
                self._stop.check()

    def _acquire(self, slots: threading.Semaphore) -> None:
        while not slots.acquire(timeout=0.2):
            self._stop.check()

    def _send_part(self, key: str, upload_id: str, part: Part) -> "CompletedPartTypeDef":
        checksum = part.checksum()
        answer = self._client.upload_part(
            Bucket=self._bucket,
            Key=key,
            UploadId=upload_id,
            PartNumber=part.number,
            Body=part.body(),
            ContentLength=part.size,
            ChecksumSHA256=checksum,
        )
        return {"PartNumber": part.number, "ETag": answer["ETag"], "ChecksumSHA256": checksum}

    @contextlib.contextmanager
    def _multipart(self, key: str) -> Iterator[str]:
        """Yield the id of an upload in parts, which is aborted if this block fails."""
        upload_id = self._begin(key)
        try:
            yield upload_id
        except BaseException:
            self._abort(key, upload_id)
            raise
        with self._lock:
            self._open_uploads.pop(upload_id, None)  # a stopped run may have aborted it in the last moment

    def _complete(self, key: str, upload_id: str, parts: "list[CompletedPartTypeDef]", source: Source) -> StoredObject:
        """Complete the upload, and compare S3's checksum of the whole object."""
        expected = _composite_checksum(parts)
        try:
            answer = self._client.complete_multipart_upload(
                Bucket=self._bucket, Key=key, UploadId=upload_id, MultipartUpload={"Parts": parts}, IfNoneMatch="*"
            )
        except S3_ERRORS as error:
            if error_code(error) not in ALREADY_COMPLETE:
                raise
            stored = self._own_object(key, source, expected)
            self._abort(key, upload_id)  # still open where another run has stored the same bytes
            return stored
        checksum = answer.get("ChecksumSHA256")
        if checksum and checksum.partition("-")[0] != expected.partition("-")[0]:
            raise UploadError(f"{self.url(key)}: S3 assembled other parts than the ones sent ({checksum})")
        return _stored(key, answer.get("VersionId"), source, expected)

    def _own_object(self, key: str, source: Source, checksum: str) -> StoredObject:
        """Return the object under the key if it is what was sent: S3's answer was lost. Raises KeyTakenError."""
        try:
            answer = self._client.head_object(Bucket=self._bucket, Key=key, ChecksumMode="ENABLED")
        except S3_ERRORS as error:
            if error_code(error) not in ABSENT:
                raise
            raise KeyTakenError(f"{self.url(key)}: another write to it is in progress") from None
        found = str(answer.get("ChecksumSHA256", ""))
        if (answer["ContentLength"], found.partition("-")[0]) != (source.size, checksum.partition("-")[0]):
            raise KeyTakenError(f"{self.url(key)}: another object already exists")
        self._log.info("already stored", key=key)
        return _stored(key, answer.get("VersionId"), source, checksum)

    # -- opening and aborting --------------------------------------------------------------------

    def probe(self, key: str) -> None:
        """Prove that objects may be put there, by an upload that is begun and aborted. Raises UploadError."""
        with self._explained(key):
            self._abort(key, self._begin(key))

    def is_taken(self, key: str) -> bool:
        """Return whether S3 shows an object under the key. What it does not show is never overwritten either."""
        try:
            self._client.head_object(Bucket=self._bucket, Key=key)
        except S3_ERRORS as error:
            if error_code(error) in (*ABSENT, *FORBIDDEN):  # forbidden: without s3:ListBucket
                return False
            raise UploadError(explain(error, self.url(key)), error_code(error)) from None
        return True

    def abort_open_uploads(self) -> None:
        """Abort what threads that no longer answer have left open."""
        with self._lock:
            uploads = list(self._open_uploads.items())
        for upload_id, key in uploads:
            self._abort(key, upload_id)

    def _begin(self, key: str) -> str:
        answer = self._client.create_multipart_upload(Bucket=self._bucket, Key=key, ChecksumAlgorithm="SHA256")
        with self._lock:
            self._open_uploads[answer["UploadId"]] = key
        return answer["UploadId"]

    def _abort(self, key: str, upload_id: str) -> None:
        # The bucket's lifecycle rule removes an upload that can't be aborted.
        try:
            self._client.abort_multipart_upload(Bucket=self._bucket, Key=key, UploadId=upload_id)
        except S3_ERRORS as error:
            if error_code(error) not in NO_LONGER_OPEN:
                self._log.warning("upload not aborted", key=key, error=str(error))
        with self._lock:
            self._open_uploads.pop(upload_id, None)


def _stored(key: str, version_id: str | None, source: Source, checksum: str) -> StoredObject:
    return StoredObject(key=key, version_id=version_id, size_bytes=source.size, sha256=source.sha256, checksum=checksum)


def _composite_checksum(parts: "list[CompletedPartTypeDef]") -> str:
    """Return S3's checksum of an upload in parts: that of its parts' checksums, with their number behind it."""
    digests = b"".join(base64.b64decode(part["ChecksumSHA256"]) for part in parts)
    return f"{to_base64(hashlib.sha256(digests).digest())}-{len(parts)}"
