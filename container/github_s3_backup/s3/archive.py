"""The archive: what a run writes to the bucket, under which key.

An object is written once, and later runs refer to it. Only `manifest.json` is ever written twice.
"""

import contextlib
import hashlib
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from github_s3_backup.records.manifest import Manifest, ManifestError, parse_manifest
from github_s3_backup.records.stored_object import StoredObject
from github_s3_backup.s3.errors import AbsentError, DamagedError, S3Error
from github_s3_backup.s3.keys import (
    BUNDLE,
    CHANGES,
    ISSUE_LIST,
    day_manifest_key,
    object_list_key,
    repository_key,
    run_key,
    signature_key,
)
from github_s3_backup.s3.objects import Objects, to_base64
from github_s3_backup.s3.upload import BytesSource, FileSource, KeyTakenError, Source, Uploader

if TYPE_CHECKING:
    from mypy_boto3_s3.type_defs import HeadObjectOutputTypeDef

# S3 copies nearly every object within 15 minutes; what takes longer than this counts as behind.
REPLICATION_GRACE = timedelta(hours=1)
# How many runs may start in the same second.
SAME_SECOND = 6

OpenSource = Callable[[], AbstractContextManager[Source]]


class Archive:
    """The bucket as one run sees it, which writes to its day's folder.

    `task_started_at`: when this task of the run started, later than `started_at` where a run has several tasks.
    """

    def __init__(
        self, objects: Objects, uploader: Uploader, prefix: str, started_at: datetime, task_started_at: datetime
    ) -> None:
        self._objects, self._uploader, self._prefix = objects, uploader, prefix
        self._date = f"{started_at:%Y-%m-%d}"
        # Of runs that start in the same second, one takes the next second that is free.
        moments = (started_at, *(task_started_at + timedelta(seconds=more) for more in range(SAME_SECOND)))
        self._times = dict.fromkeys(f"{moment:%H%M%S}Z" for moment in moments)
        self._overdue: set[str] = set()

    def manifest_url(self, run_id: str) -> str:
        """Return the URL of a run's manifest."""
        return self._objects.url(run_key(self._prefix, self._date, run_id))

    def probe(self) -> None:
        """Raise S3Error unless the bucket exists and takes objects under the prefix. Leaves nothing behind."""
        self._objects.check_bucket()
        try:
            self._uploader.probe(day_manifest_key(self._prefix, self._date))
        except S3Error as error:
            raise S3Error(f"{self._objects.url(self._prefix)} accepts no objects: {error}") from None

    # -- bundles and lists -----------------------------------------------------------------------

    def put_bundle(self, full_name: str, open_source: OpenSource) -> StoredObject:
        """Upload a bundle. Raises UploadError with S3's own words, and what reading the source raises."""
        return self._put(full_name, BUNDLE, open_source)

    def put_changes(self, full_name: str, open_source: OpenSource) -> StoredObject:
        """Upload a bundle of changes, under a key with the run's time. Raises as `put_bundle`."""
        return self._put_first(full_name, CHANGES, open_source, tuple(self._times))

    def put_object_list(self, bundle: StoredObject, body: bytes) -> StoredObject:
        """Upload the list of a full bundle's objects, next to it. Raises UploadError."""
        return self._uploader.put(object_list_key(bundle.key), BytesSource(body))

    def put_list(self, full_name: str, suffix: str, body: bytes) -> StoredObject:
        """Upload a list that belongs to a bundle. Raises UploadError."""
        return self._put(full_name, suffix, lambda: contextlib.nullcontext(BytesSource(body)))

    def put_issue_list(self, full_name: str, path: Path) -> StoredObject:
        """Upload the list of a repository's issues from the disk. Raises UploadError."""
        return self._put(full_name, ISSUE_LIST, lambda: FileSource.of(path))

    def _put(self, full_name: str, suffix: str, open_source: OpenSource) -> StoredObject:
        """Upload to the day's key of the repository; where that is taken, to one with the time of the run.

        That is taken too where a task of this run died after it had uploaded, and is started again.
        """
        return self._put_first(full_name, suffix, open_source, (None, *self._times))

    def _put_first(
        self, full_name: str, suffix: str, open_source: OpenSource, times: Iterable[str | None]
    ) -> StoredObject:
        """Upload to the first key that is not taken. Raises UploadError, and what reading the source raises."""
        error: KeyTakenError | None = None
        for time in times:
            key = repository_key(self._prefix, self._date, full_name, suffix, time)
            if self._uploader.is_taken(key):
                continue
            try:
                with open_source() as source:
                    return self._uploader.put(key, source)
            except KeyTakenError as taken:  # by another run
                error = taken
        raise error or KeyTakenError(f"{self._objects.url(key)}: another object already exists")

    def read(self, stored: StoredObject) -> bytes:
        """Return the bytes of an object that a manifest names. Raises S3Error."""
        return self._objects.read(stored)

    def download(self, stored: StoredObject, path: Path) -> None:
        """Write an object that a manifest names to the disk. Raises S3Error, also where its bytes are others."""
        digest = hashlib.sha256()
        with self._objects.blocks(stored.key, stored.version_id) as blocks, path.open("wb") as target:
            for block in blocks:
                digest.update(block)
                target.write(block)
        if digest.hexdigest() != stored.sha256:
            raise DamagedError(f"{self._objects.url(stored.key)}: its SHA-256 does not match the manifest")

    def flaw(self, stored: StoredObject) -> str | None:
        """Return why an object can't be referred to: it is absent, or another one. None where it is as it was stored.

        Raises S3Error where S3 does not tell.
        """
        try:
            answer = self._head(stored.key, stored.version_id)
        except AbsentError as error:
            return str(error)
        url = self._objects.url(stored.key)
        size, version_id = answer["ContentLength"], answer.get("VersionId")
        if (size, version_id) != (stored.size_bytes, stored.version_id):
            found, wanted = f"{size} bytes in version {version_id}", f"{stored.size_bytes} in {stored.version_id}"
            return f"{url}: it has {found}, but the manifest says {wanted}"
        checksum = answer.get("ChecksumSHA256", "none")
        expected = stored.checksum if "-" in checksum else to_base64(bytes.fromhex(stored.sha256))
        return None if checksum == expected else f"{url}: its SHA-256 is {checksum}, but the manifest says {expected}"

    def _head(self, key: str, version_id: str | None = None) -> "HeadObjectOutputTypeDef":
        """Return what S3 says of an object, and note where its copy in the replica is overdue."""
        answer = self._objects.head(key, version_id)
        if _is_overdue(answer.get("ReplicationStatus"), answer["LastModified"]):
            self._overdue.add(key)
        return answer

    def check_copy_of(self, date: str, run_id: str) -> None:
        """Look whether a run's manifest was copied to the replica. Raises S3Error."""
        self._head(run_key(self._prefix, date, run_id))

    @property
    def overdue_copies(self) -> frozenset[str]:
        """The keys of objects, of those that were looked at, that the replica should have and has not."""
        return frozenset(self._overdue)

    # -- the manifest ----------------------------------------------------------------------------

    def put_manifest(self, manifest: Manifest) -> bytes:
        """Write the run's manifest, once, and the day's where this run is the one to show; return its bytes.

        Raises S3Error.

        The run's is read back: a bucket that can be written and not read, for want of a key's permission, is no backup.
        """
        body, key = manifest.to_json(), run_key(self._prefix, self._date, manifest.run_id)
        self._objects.put_json(key, body, once=True)
        if self._objects.get(key) != body:
            raise DamagedError(f"{self._objects.url(key)}: S3 returned something other than what was written")
        self.put_day_manifest(manifest)
        return body

    def put_signature(self, run_id: str, signature: bytes) -> None:
        """Write the signature of a run's manifest next to it, unless there is one. Raises S3Error."""
        key = signature_key(self._prefix, self._date, run_id)
        self._objects.put(key, signature, "application/octet-stream", once=True)

    def put_day_manifest(self, manifest: Manifest) -> None:
        """Write the day's manifest where this run is the one to show. Raises S3Error."""
        if self._is_for_the_day(manifest):
            self._objects.put_json(day_manifest_key(self._prefix, self._date), manifest.to_json())

    def _is_for_the_day(self, manifest: Manifest) -> bool:
        """Return whether `manifest.json` is to show this run: the newest complete one, else the newest."""
        try:
            shown = parse_manifest(self._objects.get(day_manifest_key(self._prefix, self._date)))
        except (AbsentError, ManifestError):
            return True
        return (manifest.complete, manifest.started_at) >= (shown.complete, shown.started_at)


def _is_overdue(status: str | None, written_at: datetime) -> bool:
    """Return whether S3 should have copied the object by now. https://docs.aws.amazon.com/AmazonS3/latest/userguide/replication-status.html

    Without a status the object is not replicated, or is the replica itself.
    """
    if status == "FAILED":
        return True
    return status == "PENDING" and datetime.now(UTC) - written_at > REPLICATION_GRACE
