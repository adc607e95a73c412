"""The archive: what lands in the S3 bucket, under which key, and how it gets there whole."""

import base64
import hashlib
import threading
from datetime import datetime
from typing import IO, TYPE_CHECKING, cast

from botocore.exceptions import BotoCoreError, ClientError
from s3transfer.utils import ReadFileChunk
from structlog.typing import FilteringBoundLogger

from bundle import PART_SIZE, Bundle
from manifest import Manifest
from repository import Repository
from stop import Stop

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import CompletedPartTypeDef

ERRORS = (ClientError, BotoCoreError)


class ArchiveError(Exception):
    """S3 refused, or answered with something else than was sent; the text holds S3's own words."""


class Archive:
    """One day's folder in the bucket."""

    def __init__(
        self,
        client: "S3Client",
        bucket: str,
        prefix: str,
        started_at: datetime,
        stop: Stop,
        log: FilteringBoundLogger,
    ) -> None:
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

    def put_bundle(self, repository: Repository, bundle: Bundle) -> str | None:
        """Upload a proven bundle and return its version id (None where the bucket keeps none).

        S3 itself compares what arrives with the SHA-256 taken when the bundle was proven.
        Raises ArchiveError with S3's own words.
        """
        key = self.key(repository)
        try:
            if len(bundle.parts) == 1:
                return self._put_whole(key, bundle)
            return self._put_parts(key, bundle)
        except (*ERRORS, OSError) as error:
            raise ArchiveError(f"{self.url(key)}: {error}") from None

    def _chunk(self, bundle: Bundle, number: int) -> IO[bytes]:
        """Return one part of the bundle as a file that stops being read when the run is stopped."""

        def on_read(bytes_transferred: int) -> None:  # noqa: ARG001  (s3transfer passes it by name)
            self._stop.check()

        chunk = ReadFileChunk.from_filename(str(bundle.path), number * PART_SIZE, PART_SIZE, callbacks=[on_read])
        return cast("IO[bytes]", chunk)

    def _put_whole(self, key: str, bundle: Bundle) -> str | None:
        with self._chunk(bundle, 0) as body:
            answer = self._client.put_object(
                Bucket=self._bucket,
                Key=key,
                Body=body,
                ContentLength=bundle.size,
                ChecksumSHA256=_base64(bundle.sha256),
            )
        return answer.get("VersionId")

    def _put_parts(self, key: str, bundle: Bundle) -> str | None:
        upload_id = self._begin(key)
        try:
            parts = [self._put_part(key, upload_id, bundle, number) for number in range(len(bundle.parts))]
            answer = self._client.complete_multipart_upload(
                Bucket=self._bucket, Key=key, UploadId=upload_id, MultipartUpload={"Parts": parts}
            )
        except BaseException:
            self._abort(key, upload_id)
            raise
        with self._lock:
            del self._open_uploads[upload_id]
        self._compare(key, bundle, answer.get("ChecksumSHA256"))
        return answer.get("VersionId")

    def _put_part(self, key: str, upload_id: str, bundle: Bundle, number: int) -> "CompletedPartTypeDef":
        checksum = _base64(bundle.parts[number])
        with self._chunk(bundle, number) as body:
            answer = self._client.upload_part(
                Bucket=self._bucket,
                Key=key,
                UploadId=upload_id,
                PartNumber=number + 1,
                Body=body,
                ChecksumSHA256=checksum,
            )
        return {"PartNumber": number + 1, "ETag": answer["ETag"], "ChecksumSHA256": checksum}

    def _compare(self, key: str, bundle: Bundle, checksum: str | None) -> None:
        """A multipart object's checksum is that of its parts' checksums, with their number behind it."""
        expected = f"{_base64(hashlib.sha256(b''.join(bundle.parts)).digest())}-{len(bundle.parts)}"
        if checksum and checksum.partition("-")[0] != expected.partition("-")[0]:
            raise ArchiveError(f"{self.url(key)}: S3 put together other parts than were sent ({checksum})")

    def put_manifest(self, manifest: Manifest) -> None:
        """Write the manifest, which speaks of objects that are there, and read it back. Raises ArchiveError.

        A bucket that can be written and not read, for want of a key's permission, is no backup.
        """
        body = manifest.to_json()
        try:
            self._client.put_object(
                Bucket=self._bucket,
                Key=self.manifest_key,
                Body=body,
                ContentType="application/json",
                ChecksumSHA256=_base64(hashlib.sha256(body).digest()),
            )
            answer = self._client.get_object(Bucket=self._bucket, Key=self.manifest_key)
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
