"""The objects of one bucket: read, listed, and small ones written. An object that is absent is not one that fails."""

import base64
import contextlib
import hashlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from github_s3_backup.records.stored_object import StoredObject
from github_s3_backup.s3.errors import FORBIDDEN, KEY_TAKEN, S3_ERRORS, DamagedError, S3Error, error_code, explained
from github_s3_backup.s3.keys import url_of

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import HeadObjectOutputTypeDef

BLOCK_SIZE = 1024**2
# Bytes of what is read at once: the manifest of 200,000 repositories. A forged one may be larger.
LARGEST_DOCUMENT = 256 * 1024**2


class Objects:
    """A bucket. Every method raises AbsentError where S3 says that there is no such object, and else S3Error."""

    def __init__(self, client: "S3Client", bucket: str) -> None:
        self.client, self.bucket = client, bucket

    def url(self, key: str) -> str:
        return url_of(self.bucket, key)

    def check_bucket(self) -> None:
        """Raise S3Error unless the bucket exists."""
        try:
            self.client.head_bucket(Bucket=self.bucket)
        except S3_ERRORS as error:
            # Without s3:ListBucket the answer is 403, which says nothing about putting.
            if error_code(error) not in FORBIDDEN:
                raise S3Error(f"the bucket {self.bucket} can't be used: {error}", error_code(error)) from None

    def get(self, key: str, version_id: str | None = None) -> bytes:
        """Return an object's bytes. Raises DamagedError, before it is read where it is larger than any document."""
        with explained(self.url(key)):
            answer = self.client.get_object(Bucket=self.bucket, Key=key, **version_parameter(version_id))
            if answer["ContentLength"] > LARGEST_DOCUMENT:
                answer["Body"].close()
                raise DamagedError(f"{self.url(key)}: {answer['ContentLength']} bytes are too many for a document")
            return answer["Body"].read()

    @contextlib.contextmanager
    def blocks(self, key: str, version_id: str | None) -> Iterator[Iterator[bytes]]:
        """Yield an object's bytes in blocks."""
        with explained(self.url(key)):
            answer = self.client.get_object(Bucket=self.bucket, Key=key, **version_parameter(version_id))
            with contextlib.closing(answer["Body"]) as body:
                yield iter(lambda: body.read(BLOCK_SIZE), b"")

    def read(self, stored: StoredObject) -> bytes:
        """Return the bytes of an object that a manifest names. Raises DamagedError where they are others."""
        body = self.get(stored.key, stored.version_id)
        if hashlib.sha256(body).hexdigest() != stored.sha256:
            raise DamagedError(f"{self.url(stored.key)}: its SHA-256 does not match the manifest")
        return body

    def head(self, key: str, version_id: str | None = None) -> "HeadObjectOutputTypeDef":
        """Return what S3 says of an object, its checksum included."""
        with explained(self.url(key)):
            return self.client.head_object(
                Bucket=self.bucket, Key=key, ChecksumMode="ENABLED", **version_parameter(version_id)
            )

    def keys(self, prefix: str) -> list[str]:
        """Return the keys that begin with `prefix`."""
        return [item["Key"] for page in self._pages("list_objects_v2", prefix) for item in page.get("Contents", [])]

    def folders(self, prefix: str) -> list[str]:
        """Return what the keys below `prefix` begin with, up to the next slash."""
        pages = self._pages("list_objects_v2", prefix, Delimiter="/")
        return [folder["Prefix"] for page in pages for folder in page.get("CommonPrefixes", [])]

    def versions(self, prefix: str) -> list[dict[str, Any]]:
        """Return all versions of the objects whose keys begin with `prefix`; none where listing them is forbidden."""
        try:
            return [item for page in self._pages("list_object_versions", prefix) for item in page.get("Versions", [])]
        except S3Error as error:
            if error.forbidden:
                return []
            raise

    def put_json(self, key: str, body: bytes, once: bool = False) -> None:
        """Write a small JSON object; `once`: unless there is one, which stays as it is."""
        self.put(key, body, "application/json", once)

    def put(self, key: str, body: bytes, content_type: str, once: bool = False) -> None:
        """Write a small object; `once`: unless there is one, which stays as it is."""
        condition: dict[str, Any] = {"IfNoneMatch": "*"} if once else {}
        try:
            self.client.put_object(
                Bucket=self.bucket,
                Key=key,
                Body=body,
                ContentType=content_type,
                ChecksumSHA256=to_base64(hashlib.sha256(body).digest()),
                **condition,
            )
        except S3_ERRORS as error:
            if once and error_code(error) in KEY_TAKEN:
                return
            with explained(self.url(key)):
                raise

    def _pages(self, operation: Any, prefix: str, **options: str) -> Iterator[Any]:
        with explained(self.url(prefix)):
            yield from self.client.get_paginator(operation).paginate(Bucket=self.bucket, Prefix=prefix, **options)


def to_base64(digest: bytes) -> str:
    return base64.b64encode(digest).decode()


def version_parameter(version_id: str | None) -> Any:
    """Return the parameter that names a version, none for the current one."""
    return {"VersionId": version_id} if version_id else {}
