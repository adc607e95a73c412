"""The content store: files that are stored once by their content, under their SHA-256.

S3 expires an object by its age, so what a list names must not be too old: a file that is needed for longer is written
again, under a key with the date. Nothing is overwritten. See docs/decisions/0007-content-is-stored-once.md.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from datetime import date, datetime

from structlog.typing import FilteringBoundLogger

from github_s3_backup.records.content import StoredContent
from github_s3_backup.records.json_fields import utc
from github_s3_backup.s3.errors import AbsentError, S3Error
from github_s3_backup.s3.keys import content_key
from github_s3_backup.s3.objects import Objects, to_base64
from github_s3_backup.s3.upload import KeyTakenError, Uploader

BLOCK_SIZE = 1024**2
# A manifest names content that is at most 365 days older than itself, and a list that is at most 90 days older. Both
# numbers are in modules/bucket too, whose lifecycle rule depends on them.
MAX_CONTENT_DAYS, MAX_LIST_DAYS = 365, 90
# Days after which content is written again before a new list names it.
MAX_AGE_IN_LIST = MAX_CONTENT_DAYS - MAX_LIST_DAYS

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
        self, objects: Objects, uploader: Uploader, root: str, started_at: datetime, log: FilteringBoundLogger
    ) -> None:
        self._objects, self._uploader, self._root, self._log = objects, uploader, root, log
        self._started_at = started_at

    def find(self, owner: str, oid: str, size: int) -> StoredContent | None:
        """Return the stored file, young enough to be named in a new list; None where it must be uploaded.

        Raises S3Error.
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
            self._log.warning("key taken by another object", error=f"{self._objects.url(newest.s3_key)}: {error}")
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
        return self._upload(
            key, content.oid, content.size_bytes, lambda: self._objects.blocks(content.s3_key, content.version_id)
        )

    def _dated_key(self, owner: str, oid: str) -> str:
        return content_key(self._root, owner, oid, f"{self._started_at:%Y-%m-%d}")

    # -- what S3 has -----------------------------------------------------------------------------

    def _head(self, key: str, oid: str, size: int) -> StoredContent | None:
        """Return what is at a key, None where it is absent or not this file. Raises S3Error."""
        try:
            answer = self._objects.head(key)
        except S3Error as error:
            if isinstance(error, AbsentError) or error.forbidden:  # without s3:ListBucket; nothing is overwritten
                return None
            raise
        checksum = answer.get("ChecksumSHA256", "")
        in_parts = "-" in checksum
        if answer["ContentLength"] != size or not (in_parts or checksum == to_base64(bytes.fromhex(oid))):
            return None
        stored_at = utc(answer["LastModified"])
        version_id = answer.get("VersionId")
        return StoredContent(oid=oid, size_bytes=size, s3_key=key, version_id=version_id, stored_at=stored_at)

    def _copies(self, owner: str, oid: str, size: int) -> list[StoredContent]:
        """Return what was written again of a file. Raises S3Error."""
        try:
            keys = self._objects.keys(f"{content_key(self._root, owner, oid)}.")
        except S3Error as error:
            if error.forbidden:
                return []
            raise
        copies = (self._head(key, oid, size) for key in keys)
        return [copy for copy in copies if copy]


def age_in_days(content: StoredContent, today: date) -> int:
    """Return for how many days the file has been stored."""
    return (today - date.fromisoformat(content.stored_at[:10])).days
