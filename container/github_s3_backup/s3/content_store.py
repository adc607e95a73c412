"""The content store: files that are stored once by their content, under their SHA-256.

S3 expires an object by its age, so what a list names must not be too old: a file that is needed for longer is written
again, under a key with the date. Nothing is overwritten. See docs/decisions/0007-content-is-stored-once.md.
"""

import contextlib
import hashlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from datetime import date, datetime
from typing import TYPE_CHECKING

from structlog.typing import FilteringBoundLogger

from github_s3_backup.records.content import StoredContent
from github_s3_backup.records.json_fields import utc
from github_s3_backup.s3.errors import ABSENT, S3_ERRORS, error_code, explain
from github_s3_backup.s3.keys import content_key
from github_s3_backup.s3.upload import KeyTakenError, Uploader, UploadError, to_base64, version_parameter

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

BLOCK_SIZE = 1024**2
# A manifest names content that is at most 365 days older than itself, and a list that is at most 90 days older. Both
# numbers are in modules/bucket too, whose lifecycle rule depends on them.
MAX_CONTENT_DAYS, MAX_LIST_DAYS = 365, 90
# Days after which content is written again before a new list names it.
MAX_AGE_IN_LIST = MAX_CONTENT_DAYS - MAX_LIST_DAYS
# What S3 answers about a key that it does not show: 403 without s3:ListBucket.
NOT_SHOWN = (*ABSENT, "403")

OpenBlocks = Callable[[], AbstractContextManager[Iterable[bytes]]]


class WrongContentError(Exception):
    """The bytes are not those of the SHA-256 that they were asked for by."""


class ContentSource:
    """A file's bytes, to be read once and compared with its size and SHA-256."""

    def __init__(self, blocks: Iterable[bytes], oid: str, size: int) -> None:
        self.estimate, self.size, self.sha256 = size, 0, oid
        self._blocks, self._expected = blocks, size
        self._hash = hashlib.sha256()

    def __iter__(self) -> Iterator[bytes]:
        """Yield the bytes in blocks. Raises WrongContentError, after the last one at the latest, if they are others."""
        for block in self._blocks:
            self.size += len(block)
            if self.size > self._expected:  # at once: it may have no end
                raise WrongContentError(f"more than {self._expected} bytes arrived")
            self._hash.update(block)
            yield block
        if self.size != self._expected:
            raise WrongContentError(f"{self.size} bytes arrived instead of {self._expected}")
        if self._hash.hexdigest() != self.sha256:
            raise WrongContentError(f"the SHA-256 of what arrived is {self._hash.hexdigest()}")


class ContentStore:
    """The files of one kind below `root`, a folder for each owner, as one run sees them."""

    def __init__(
        self,
        client: "S3Client",
        bucket: str,
        root: str,
        started_at: datetime,
        uploader: Uploader,
        log: FilteringBoundLogger,
    ) -> None:
        self._client, self._bucket, self._root, self._log = client, bucket, root, log
        self._started_at, self._uploader = started_at, uploader

    def find(self, owner: str, oid: str, size: int) -> StoredContent | None:
        """Return the stored file, young enough to be named in a new list; None where it must be uploaded.

        Raises UploadError.
        """
        first = self._head(content_key(self._root, owner, oid), oid, size)
        if first and not self.is_old(first):
            return first
        stored = [*([first] if first else []), *self._copies(owner, oid, size)]
        newest = max(stored, key=lambda content: content.stored_at, default=None)
        if newest is None or not self.is_old(newest):
            return newest
        try:
            return self._write_again(owner, newest)
        except WrongContentError as error:  # what was uploaded in parts has no SHA-256 that S3 could be asked for
            self._log.warning("key taken by another object", error=f"{self._url(newest.s3_key)}: {error}")
            return None

    def is_old(self, content: StoredContent) -> bool:
        """Return whether the file has to be written again before a new list names it."""
        return age_in_days(content, self._started_at.date()) > MAX_AGE_IN_LIST

    def put(self, owner: str, oid: str, size: int, open_blocks: OpenBlocks) -> StoredContent:
        """Upload a file whose SHA-256 is `oid` as it is read, at the key that its content gives it.

        Raises UploadError, WrongContentError, and what reading raises.
        """
        try:
            return self._upload(content_key(self._root, owner, oid), oid, size, open_blocks)
        except KeyTakenError as error:  # something else is there, which stays as it is
            self._log.warning("key taken by another object", error=str(error))
            return self._upload(self._dated_key(owner, oid), oid, size, open_blocks)

    def _upload(self, key: str, oid: str, size: int, open_blocks: OpenBlocks) -> StoredContent:
        with open_blocks() as blocks:
            stored = self._uploader.put(key, ContentSource(blocks, oid, size))
        # The time when the upload began at the latest: S3 counts an object's age from there.
        return StoredContent(
            oid=oid, size_bytes=size, s3_key=key, version_id=stored.version_id, stored_at=utc(self._started_at)
        )

    def _write_again(self, owner: str, content: StoredContent) -> StoredContent:
        """Write an old file again, from S3 to S3, so that it does not expire."""
        self._log.info("writing content again", key=content.s3_key, stored_at=content.stored_at)
        key = self._dated_key(owner, content.oid)
        return self._upload(key, content.oid, content.size_bytes, lambda: self._open(content))

    def _dated_key(self, owner: str, oid: str) -> str:
        return content_key(self._root, owner, oid, f"{self._started_at:%Y-%m-%d}")

    # -- what S3 has -----------------------------------------------------------------------------

    def _head(self, key: str, oid: str, size: int) -> StoredContent | None:
        """Return what is at a key, None where it is not this file. Raises UploadError."""
        try:
            answer = self._client.head_object(Bucket=self._bucket, Key=key, ChecksumMode="ENABLED")
        except S3_ERRORS as error:
            if error_code(error) in NOT_SHOWN:
                return None
            raise UploadError(explain(error, self._url(key))) from None
        checksum = answer.get("ChecksumSHA256", "")
        in_parts = "-" in checksum
        if answer["ContentLength"] != size or not (in_parts or checksum == to_base64(bytes.fromhex(oid))):
            return None
        stored_at = utc(answer["LastModified"])
        version_id = answer.get("VersionId")
        return StoredContent(oid=oid, size_bytes=size, s3_key=key, version_id=version_id, stored_at=stored_at)

    def _copies(self, owner: str, oid: str, size: int) -> list[StoredContent]:
        """Return what was written again of a file."""
        folder = f"{content_key(self._root, owner, oid)}."
        try:
            answer = self._client.list_objects_v2(Bucket=self._bucket, Prefix=folder)
        except S3_ERRORS as error:
            if error_code(error) in ("AccessDenied", *NOT_SHOWN):
                return []
            raise UploadError(explain(error, self._url(folder))) from None
        copies = (self._head(item["Key"], oid, size) for item in answer.get("Contents", []))
        return [copy for copy in copies if copy]

    @contextlib.contextmanager
    def _open(self, content: StoredContent) -> Iterator[Iterable[bytes]]:
        """Yield the file's bytes in blocks. Raises UploadError."""
        parameters = version_parameter(content.version_id)
        try:
            body = self._client.get_object(Bucket=self._bucket, Key=content.s3_key, **parameters)["Body"]
            with contextlib.closing(body):
                yield iter(lambda: body.read(BLOCK_SIZE), b"")
        except S3_ERRORS as error:
            raise UploadError(explain(error, self._url(content.s3_key))) from None

    def _url(self, key: str) -> str:
        return f"s3://{self._bucket}/{key}"


def age_in_days(content: StoredContent, today: date) -> int:
    """Return for how many days the file has been stored."""
    return (today - date.fromisoformat(content.stored_at[:10])).days
