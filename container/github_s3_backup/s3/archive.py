"""The archive: what a run writes to the bucket, under which key.

An object is written once, and later runs refer to it. Only `manifest.json` is ever written twice.
"""

import contextlib
import hashlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from github_s3_backup.records.manifest import Manifest, ManifestError, parse_manifest
from github_s3_backup.records.stored_object import StoredObject
from github_s3_backup.s3.errors import ABSENT, KEY_TAKEN, S3_ERRORS, error_code, explain
from github_s3_backup.s3.keys import BUNDLE, day_manifest_key, repository_key, run_key
from github_s3_backup.s3.upload import (
    BytesSource,
    KeyTakenError,
    Source,
    Uploader,
    UploadError,
    to_base64,
    version_parameter,
)

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import HeadObjectOutputTypeDef

# S3 copies nearly every object within 15 minutes; what takes longer than this counts as behind.
REPLICATION_GRACE = timedelta(hours=1)


class ArchiveError(Exception):
    """S3 refused, or holds something else than the manifest says; the text holds S3's own words."""


class Archive:
    """The bucket as one run sees it, which writes to its day's folder.

    `task_started_at`: when this task of the run started; what it can't write to the day's key gets this time in it.
    """

    def __init__(
        self,
        client: "S3Client",
        bucket: str,
        prefix: str,
        started_at: datetime,
        task_started_at: datetime,
        uploader: Uploader,
    ) -> None:
        self._client, self._bucket, self._uploader = client, bucket, uploader
        self._prefix, self._date, self._time = prefix, f"{started_at:%Y-%m-%d}", f"{task_started_at:%H%M%S}Z"
        self._overdue: set[str] = set()

    def url(self, key: str) -> str:
        return f"s3://{self._bucket}/{key}"

    def manifest_url(self, run_id: str) -> str:
        """Return the URL of a run's manifest."""
        return self.url(run_key(self._prefix, self._date, run_id))

    def probe(self) -> None:
        """Raise ArchiveError unless the bucket exists and takes objects under the prefix. Leaves nothing behind."""
        try:
            self._client.head_bucket(Bucket=self._bucket)
        except S3_ERRORS as error:
            # Without s3:ListBucket the answer is 403, which says nothing about putting.
            if error_code(error) != "403":
                raise ArchiveError(f"the bucket {self._bucket} can't be used: {error}") from None
        try:
            self._uploader.probe(day_manifest_key(self._prefix, self._date))
        except UploadError as error:
            raise ArchiveError(f"{self.url(self._prefix)} accepts no objects: {error}") from None

    # -- bundles and lists -----------------------------------------------------------------------

    def put_bundle(self, full_name: str, open_source: Callable[[], AbstractContextManager[Source]]) -> StoredObject:
        """Upload a bundle. Raises UploadError with S3's own words, and what reading the source raises."""
        return self._put(full_name, BUNDLE, open_source)

    def put_list(self, full_name: str, suffix: str, body: bytes) -> StoredObject:
        """Upload a list that belongs to a bundle. Raises UploadError."""
        return self._put(full_name, suffix, lambda: contextlib.nullcontext(BytesSource(body)))

    def _put(
        self, full_name: str, suffix: str, open_source: Callable[[], AbstractContextManager[Source]]
    ) -> StoredObject:
        """Upload to the day's key of the repository, or where that is taken to one with the run's time."""
        key = repository_key(self._prefix, self._date, full_name, suffix)
        if not self._exists(key):
            try:
                with open_source() as source:
                    return self._uploader.put(key, source)
            except KeyTakenError:  # by a run beside this one
                pass
        key = repository_key(self._prefix, self._date, full_name, suffix, self._time)
        with open_source() as source:
            return self._uploader.put(key, source)

    def read(self, stored: StoredObject) -> bytes:
        """Return the bytes of an object that a manifest names. Raises ArchiveError."""
        try:
            parameters = version_parameter(stored.version_id)
            body = self._client.get_object(Bucket=self._bucket, Key=stored.key, **parameters)["Body"].read()
        except S3_ERRORS as error:
            raise ArchiveError(explain(error, self.url(stored.key))) from None
        if hashlib.sha256(body).hexdigest() != stored.sha256:
            raise ArchiveError(f"{self.url(stored.key)}: its SHA-256 does not match the manifest")
        return body

    def _exists(self, key: str) -> bool:
        try:
            self._client.head_object(Bucket=self._bucket, Key=key)
        except S3_ERRORS as error:
            if error_code(error) in ABSENT or error_code(error) == "403":  # 403: without s3:ListBucket
                return False
            raise UploadError(explain(error, self.url(key))) from None
        return True

    def check(self, stored: StoredObject) -> None:
        """Raise ArchiveError unless S3 holds the object with this version, size and SHA-256."""
        answer = self._head(stored.key, stored.version_id)
        size, version_id = answer["ContentLength"], answer.get("VersionId")
        if (size, version_id) != (stored.size_bytes, stored.version_id):
            found, wanted = f"{size} bytes in version {version_id}", f"{stored.size_bytes} in {stored.version_id}"
            raise ArchiveError(f"{self.url(stored.key)}: it has {found}, but the manifest says {wanted}")
        checksum = answer.get("ChecksumSHA256", "none")
        in_parts = "-" in checksum
        expected = stored.checksum if in_parts else to_base64(bytes.fromhex(stored.sha256))
        if checksum != expected:
            raise ArchiveError(f"{self.url(stored.key)}: its SHA-256 is {checksum}, but the manifest says {expected}")

    def _head(self, key: str, version_id: str | None = None) -> "HeadObjectOutputTypeDef":
        """Return what S3 says of an object, and note where its copy in the replica is overdue. Raises ArchiveError."""
        try:
            answer = self._client.head_object(
                Bucket=self._bucket, Key=key, ChecksumMode="ENABLED", **version_parameter(version_id)
            )
        except S3_ERRORS as error:
            raise ArchiveError(explain(error, self.url(key))) from None
        if _is_overdue(answer.get("ReplicationStatus"), answer["LastModified"]):
            self._overdue.add(key)
        return answer

    def check_copy_of(self, date: str, run_id: str) -> None:
        """Look whether a run's manifest was copied to the replica. Raises ArchiveError."""
        self._head(run_key(self._prefix, date, run_id))

    @property
    def overdue_copies(self) -> frozenset[str]:
        """The keys of objects, of those that were looked at, that the replica should have and has not."""
        return frozenset(self._overdue)

    # -- the manifest ----------------------------------------------------------------------------

    def put_manifest(self, manifest: Manifest) -> None:
        """Write the run's manifest, once, and the day's where this run is the one to show. Raises ArchiveError.

        The run's is read back: a bucket that can be written and not read, for want of a key's permission, is no backup.
        """
        body, key = manifest.to_json(), run_key(self._prefix, self._date, manifest.run_id)
        try:
            self._put_once(key, body)
            if self._get(key) != body:
                raise ArchiveError(f"{self.url(key)}: S3 returned something other than what was written")
            if self._is_for_the_day(manifest):
                self._put_json(day_manifest_key(self._prefix, self._date), body)
        except S3_ERRORS as error:
            raise ArchiveError(explain(error, self.url(key))) from None

    def _put_once(self, key: str, body: bytes) -> None:
        try:
            self._put_json(key, body, IfNoneMatch="*")
        except S3_ERRORS as error:
            if error_code(error) not in KEY_TAKEN:  # our own, if S3's first answer was lost: it is read back
                raise

    def _put_json(self, key: str, body: bytes, **condition: str) -> None:
        self._client.put_object(
            Bucket=self._bucket,
            Key=key,
            Body=body,
            ContentType="application/json",
            ChecksumSHA256=to_base64(hashlib.sha256(body).digest()),
            **condition,  # type: ignore[arg-type]
        )

    def _get(self, key: str) -> bytes:
        return self._client.get_object(Bucket=self._bucket, Key=key)["Body"].read()

    def _is_for_the_day(self, manifest: Manifest) -> bool:
        """Return whether `manifest.json` is to show this run: the newest complete one, else the newest."""
        try:
            shown = parse_manifest(self._get(day_manifest_key(self._prefix, self._date)))
        except S3_ERRORS as error:
            if error_code(error) in (*ABSENT, "403", "AccessDenied"):
                return True
            raise
        except ManifestError:
            return True
        return (manifest.complete, manifest.started_at) >= (shown.complete, shown.started_at)


def _is_overdue(status: str | None, written_at: datetime) -> bool:
    """Return whether S3 should have copied the object by now. https://docs.aws.amazon.com/AmazonS3/latest/userguide/replication-status.html

    Without a status the object is not replicated, or is the replica itself.
    """
    if status == "FAILED":
        return True
    return status == "PENDING" and datetime.now(UTC) - written_at > REPLICATION_GRACE
