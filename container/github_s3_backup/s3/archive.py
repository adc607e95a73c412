"""The archive: what lands in the S3 bucket, under which key, and how it gets there whole."""

import base64
import contextlib
import hashlib
import io
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import chain
from typing import TYPE_CHECKING, TypedDict

from botocore.exceptions import BotoCoreError, ClientError
from structlog.typing import FilteringBoundLogger

from github_s3_backup.manifest import Entry, Manifest
from github_s3_backup.repository import Repository
from github_s3_backup.stop import Stop

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import CompletedPartTypeDef, CopySourceTypeDef


class Part(io.BytesIO):
    """One part of an upload, in memory; it stops being read when the run is stopped."""

    def __init__(self, number: int, stop: Stop) -> None:
        super().__init__()
        self.number, self.size, self._stop = number, 0, stop

    def sha256(self) -> bytes:
        """Hash the part, in the thread that sends it, while the next one is read."""
        return hashlib.sha256(self.getbuffer()).digest()

    def fill(self, data: memoryview, most: int) -> memoryview:
        """Take in so much of the data that the part has at most so many bytes, and return the rest."""
        taken = data[: most - self.size]
        self.write(taken)
        self.size += len(taken)
        return data[len(taken) :]

    def body(self) -> "Part":
        self.seek(0)
        return self

    def read(self, size: int | None = -1, /) -> bytes:
        self._stop.check()
        return super().read(size)


def memory_for(estimate: int) -> int:
    """Return the bytes that an upload of about so many bytes holds in memory at most."""
    return min(estimate, (PARTS_AT_ONCE + 1) * part_size(estimate))


def part_size(estimate: int) -> int:
    """Return the bytes of a part with which an upload of about so many bytes has not more than 10,000 of them."""
    return max(PART_SIZE, -(-estimate // MOST_PARTS))


class _Version(TypedDict, total=False):
    VersionId: str


ERRORS = (ClientError, BotoCoreError)
# Parts are held in memory. S3 takes 10,000 of them; some are left for what an estimate may be short of.
PART_SIZE, MOST_PARTS = 16 * 1024**2, 9_000
# Of one upload, besides the one that is being read.
PARTS_AT_ONCE = 3
# What S3 copies in one request. https://docs.aws.amazon.com/AmazonS3/latest/API/API_CopyObject.html
LARGEST_COPY = 5 * 1000**3


class ArchiveError(Exception):
    """S3 refused, or answered with something else than was sent; the text holds S3's own words."""


@dataclass(frozen=True)
class StoredObject:
    """A bundle that S3 holds. `checksum`: its SHA-256 in base64; in parts that of theirs, a dash, their number."""

    key: str
    version_id: str | None
    checksum: str


class Archive:
    """One day's folder in the bucket. Objects of more bytes than `largest_copy` are copied in parts."""

    def __init__(
        self,
        client: "S3Client",
        bucket: str,
        prefix: str,
        started_at: datetime,
        stop: Stop,
        log: FilteringBoundLogger,
        largest_copy: int = LARGEST_COPY,
    ) -> None:
        self._largest_copy = largest_copy
        self._client, self._bucket, self._stop, self._log = client, bucket, stop, log
        self._folder = f"{prefix}/{started_at:%Y-%m-%d}"
        self._lock = threading.Lock()
        self._open_uploads: dict[str, str] = {}

    @property
    def manifest_key(self) -> str:
        return f"{self._folder}/manifest.json"

    def key(self, repository: Repository) -> str:
        return f"{self._folder}/{repository.owner}/{repository.name}.bundle"

    def url(self, key: str) -> str:
        return f"s3://{self._bucket}/{key}"

    def probe(self) -> None:
        """Raise ArchiveError unless the bucket exists and takes objects under the prefix.

        The permission is proven by an upload that is begun and aborted: it leaves nothing behind.
        """
        try:
            self._client.head_bucket(Bucket=self._bucket)
        except ClientError as error:
            # Without s3:ListBucket the answer is 403, which says nothing of putting.
            if error.response["ResponseMetadata"]["HTTPStatusCode"] != 403:
                raise ArchiveError(f"the bucket {self._bucket} can't be used: {error}") from None
        except BotoCoreError as error:
            raise ArchiveError(f"the bucket {self._bucket} can't be reached: {error}") from None
        try:
            upload_id = self._begin(self.manifest_key)
        except ERRORS as error:
            raise ArchiveError(f"{self.url(self._folder)} takes no objects: {error}") from None
        self._abort(self.manifest_key, upload_id)

    def put_bundle(self, repository: Repository, blocks: Iterable[bytes], part_size: int) -> StoredObject:
        """Upload a bundle as it is read and return what S3 holds (without a version id where the bucket keeps none).

        S3 itself compares what arrives with the SHA-256 taken on the way. Nothing counts before the last block was
        read: what goes wrong until then, in here or in `blocks`, leaves no object. Raises ArchiveError with S3's
        own words.
        """
        key = self.key(repository)
        parts = self._parts(blocks, part_size)
        try:
            first = next(parts)
            if first.size < part_size:
                return self._put_whole(key, first)
            with self._upload(key) as upload_id:
                return self._complete(key, upload_id, self._put_parts(key, upload_id, chain([first], parts)))
        except ERRORS as error:
            raise ArchiveError(f"{self.url(key)}: {error}") from None

    def _parts(self, blocks: Iterable[bytes], part_size: int) -> Iterator["Part"]:
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

    def _put_whole(self, key: str, part: "Part") -> StoredObject:
        checksum = _base64(part.sha256())
        answer = self._client.put_object(
            Bucket=self._bucket, Key=key, Body=part.body(), ContentLength=part.size, ChecksumSHA256=checksum
        )
        return StoredObject(key, answer.get("VersionId"), checksum)

    def _put_parts(self, key: str, upload_id: str, parts: Iterable["Part"]) -> "list[CompletedPartTypeDef]":
        """Send parts while the next is read, a few at once, and return them in order. Raises what S3 refused."""
        slots = threading.Semaphore(PARTS_AT_ONCE)
        done: list[CompletedPartTypeDef] = []
        errors: list[BaseException] = []

        def send(part: "Part") -> None:
            try:
                with part:  # whoever still knows of it afterwards holds none of its bytes
                    done.append(self._put_part(key, upload_id, part))
            except BaseException as error:
                errors.append(error)
            finally:
                slots.release()

        try:
            for part in parts:
                if errors:
                    break
                self._wait_for(slots)
                # A daemon: one that hangs on a server without an answer does not keep a stopped run from ending.
                try:
                    threading.Thread(target=send, args=(part,), daemon=True).start()
                except RuntimeError:  # this machine allows no more threads
                    slots.release()
                    raise
        finally:
            for _ in range(PARTS_AT_ONCE):  # what is on its way when an upload is aborted would stay in the bucket
                self._wait_for(slots)
        if errors:
            raise errors[0]
        return sorted(done, key=lambda one: one["PartNumber"])

    def _wait_for(self, slots: threading.Semaphore) -> None:
        while not slots.acquire(timeout=0.2):
            self._stop.check()

    def _put_part(self, key: str, upload_id: str, part: "Part") -> "CompletedPartTypeDef":
        checksum = _base64(part.sha256())
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
    def _upload(self, key: str) -> Iterator[str]:
        """Yield the id of an upload in parts, which is aborted if this block does not come to its end."""
        upload_id = self._begin(key)
        try:
            yield upload_id
        except BaseException:
            self._abort(key, upload_id)
            raise
        with self._lock:
            self._open_uploads.pop(upload_id, None)  # a stopped run may have aborted it in the last moment

    def _complete(self, key: str, upload_id: str, parts: "list[CompletedPartTypeDef]") -> StoredObject:
        """Have S3 put the parts together, and compare what it says of the whole."""
        expected = _composite(parts)
        answer = self._client.complete_multipart_upload(
            Bucket=self._bucket, Key=key, UploadId=upload_id, MultipartUpload={"Parts": parts}
        )
        checksum = answer.get("ChecksumSHA256")
        if checksum and checksum.partition("-")[0] != expected.partition("-")[0]:
            raise ArchiveError(f"{self.url(key)}: S3 put together other parts than were sent ({checksum})")
        return StoredObject(key, answer.get("VersionId"), expected)

    # -- carrying over ---------------------------------------------------------------------------

    def copy_bundle(self, repository: Repository, known: Entry) -> StoredObject:
        """Copy the bundle of an earlier backup to today's key, or find that it is there; return what S3 holds.

        The object must be what the manifest says by version, size and SHA-256, and so must the copy, whose
        checksum S3 takes anew. Raises ArchiveError with what differs or S3's own words.
        """
        key, source = self.key(repository), str(known.s3_key)
        try:
            if key == source:
                return self._proven(key, known, None)
            found = self._proven(source, known, known.version_id)
            if known.size_bytes > self._largest_copy:
                return self._copy_parts(found, key, known)
            return self._copy_whole(found, key, known)
        except ERRORS as error:
            raise ArchiveError(f"{self.url(source)}: {error}") from None

    def _proven(self, key: str, known: Entry, version_id: str | None) -> StoredObject:
        """Return the given version, or the current one, if it is what the manifest says. Raises ArchiveError."""
        answer = self._client.head_object(Bucket=self._bucket, Key=key, ChecksumMode="ENABLED", **_version(version_id))
        found = StoredObject(key, answer.get("VersionId"), answer.get("ChecksumSHA256", "none"))
        if (answer["ContentLength"], found.version_id) != (known.size_bytes, known.version_id):
            about = f"{answer['ContentLength']} bytes in version {found.version_id}"
            wanted = f"{known.size_bytes} bytes in version {known.version_id}"
            raise ArchiveError(f"{self.url(key)}: it is {about}, and the manifest says {wanted}")
        self._compare(found, known)
        return found

    def _compare(self, found: StoredObject, known: Entry) -> None:
        """Raise ArchiveError unless S3's checksum is the manifest's: of the whole, or of the parts' checksums."""
        in_parts = "-" in found.checksum
        wanted = known.s3_checksum_sha256 if in_parts else _base64(bytes.fromhex(str(known.sha256)))
        if found.checksum != wanted:
            what = f"its SHA-256 is {found.checksum}, and the manifest says {wanted}"
            raise ArchiveError(f"{self.url(found.key)}: {what}")

    def _copy_whole(self, source: StoredObject, key: str, known: Entry) -> StoredObject:
        answer = self._client.copy_object(
            Bucket=self._bucket,
            Key=key,
            CopySource=self._copy_source(source),
            ChecksumAlgorithm="SHA256",
            # Without this S3 would want the permission to read tags, and there are none.
            TaggingDirective="REPLACE",
        )
        checksum, version_id = answer["CopyObjectResult"].get("ChecksumSHA256"), answer.get("VersionId")
        if checksum is None:  # not every server says it at once
            return self._proven(key, replace(known, version_id=version_id), version_id)
        copied = StoredObject(key, version_id, checksum)
        self._compare(copied, known)
        return copied

    def _copy_parts(self, source: StoredObject, key: str, known: Entry) -> StoredObject:
        """Copy in the parts in which it was uploaded, as the checksum depends on where they end."""
        first = self._client.head_object(
            Bucket=self._bucket, Key=source.key, PartNumber=1, **_version(source.version_id)
        )
        starts = range(0, known.size_bytes, first["ContentLength"])
        with self._upload(key) as upload_id:
            parts = []
            for number, start in enumerate(starts, 1):
                self._stop.check()
                end = min(start + starts.step, known.size_bytes) - 1
                parts.append(self._copy_part(source, key, upload_id, number, f"bytes={start}-{end}"))
            self._compare(StoredObject(key, None, _composite(parts)), known)
            return self._complete(key, upload_id, parts)

    def _copy_part(
        self, source: StoredObject, key: str, upload_id: str, number: int, part: str
    ) -> "CompletedPartTypeDef":
        answer = self._client.upload_part_copy(
            Bucket=self._bucket,
            Key=key,
            UploadId=upload_id,
            PartNumber=number,
            CopySource=self._copy_source(source),
            CopySourceRange=part,
        )["CopyPartResult"]
        # Without a checksum in the answer that of the whole will not be the manifest's.
        return {
            "PartNumber": number,
            "ETag": answer.get("ETag", ""),
            "ChecksumSHA256": answer.get("ChecksumSHA256", ""),
        }

    def _copy_source(self, source: StoredObject) -> "CopySourceTypeDef":
        return {"Bucket": self._bucket, "Key": source.key, **_version(source.version_id)}

    # -- the manifest ----------------------------------------------------------------------------

    def put_manifest(self, manifest: Manifest) -> None:
        """Write the manifest, which speaks of objects that are there, and read it back. Raises ArchiveError.

        A bucket that can be written and not read, for want of a key's permission, is no backup.
        """
        body = manifest.to_json()
        try:
            written = self._client.put_object(
                Bucket=self._bucket,
                Key=self.manifest_key,
                Body=body,
                ContentType="application/json",
                ChecksumSHA256=_base64(hashlib.sha256(body).digest()),
            )
            # By its version: a run beside this one may have written its own meanwhile.
            version = _version(written.get("VersionId"))
            answer = self._client.get_object(Bucket=self._bucket, Key=self.manifest_key, **version)
            if answer["Body"].read() != body:
                raise ArchiveError(f"{self.url(self.manifest_key)}: what S3 gives back is not what was written")
        except ERRORS as error:
            raise ArchiveError(f"{self.url(self.manifest_key)}: {error}") from None

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
        # The bucket's lifecycle rule is the second net for an upload that can't be aborted.
        try:
            self._client.abort_multipart_upload(Bucket=self._bucket, Key=key, UploadId=upload_id)
        except ERRORS as error:
            self._log.warning("upload not aborted", key=key, error=str(error))
        with self._lock:
            self._open_uploads.pop(upload_id, None)


def _base64(digest: bytes) -> str:
    return base64.b64encode(digest).decode()


def _composite(parts: "list[CompletedPartTypeDef]") -> str:
    """Return the checksum of an upload in parts: that of its parts' checksums, with their number behind it."""
    digests = b"".join(base64.b64decode(part["ChecksumSHA256"]) for part in parts)
    return f"{_base64(hashlib.sha256(digests).digest())}-{len(parts)}"


def _version(version_id: str | None) -> "_Version":
    return {"VersionId": version_id} if version_id else {}
