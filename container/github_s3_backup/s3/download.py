"""Getting bundles back out of the bucket, each compared with the SHA-256 that the manifest holds."""

import hashlib
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from botocore.exceptions import BotoCoreError, ClientError
from structlog.typing import FilteringBoundLogger

from github_s3_backup.git.bundle import BundleError, Header, read_header
from github_s3_backup.git.process import BLOCK_SIZE
from github_s3_backup.git.refs import refs_sha256
from github_s3_backup.manifest import Entry
from github_s3_backup.retry import RetryableError, retrying
from github_s3_backup.s3.errors import ABSENT, error_code, explain
from github_s3_backup.stop import Stop

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

ATTEMPTS = 5
FIRST_HEADER_SIZE = 64 * 1024
# What S3 answers to a version id that it never gave out, as a copy in another bucket may have others.
UNKNOWN_VERSION = (*ABSENT, "InvalidArgument", "400")

OnBytes = Callable[[int], None]
Got = TypeVar("Got")


class DownloadError(Exception):
    """The bundle can't be had, or is not what was stored."""

    def __init__(self, stage: Literal["download", "checksum"], message: str) -> None:
        super().__init__(message)
        self.stage = stage


class _InterruptedError(RetryableError):
    """The connection broke in the middle."""


class Bundles:
    """The bundles in a bucket, primary or replica."""

    def __init__(self, client: "S3Client", bucket: str, stop: Stop, log: FilteringBoundLogger) -> None:
        self._client, self._bucket, self._stop, self._log = client, bucket, stop, log

    def download(self, entry: Entry, path: Path, on_bytes: OnBytes) -> bool:
        """Write the entry's bundle to `path`; return False if it was there already, whole. Raises DownloadError.

        What an interrupted download left behind is continued. `on_bytes` gets the bytes that have arrived.
        """
        if is_bundle_of(entry, path):
            on_bytes(entry.size_bytes)
            return False
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f"{path.name}.part")
        self._from_any_version(entry, lambda version_id: self._complete(entry, version_id, part, on_bytes))
        part.replace(path)
        return True

    def header(self, entry: Entry) -> Header:
        """Return the header of the entry's bundle, read without the rest. Raises DownloadError."""
        return self._from_any_version(entry, lambda version_id: self._header(entry, version_id))

    # -- versions --------------------------------------------------------------------------------

    def _from_any_version(self, entry: Entry, get: Callable[[str | None], Got]) -> Got:
        """Return what the first version gives that is what the manifest says. Raises DownloadError."""
        refusals = []
        for version_id in self._versions(entry):
            try:
                return get(version_id)
            except DownloadError as error:
                refusals.append(error)
        raise refusals[0]

    def _versions(self, entry: Entry) -> Iterator[str | None]:
        """Yield the version that the manifest names; then, for it may be gone or spoiled, all others of that size."""
        yield entry.version_id
        key = str(entry.s3_key)
        paginator = self._client.get_paginator("list_object_versions")
        try:
            pages = list(paginator.paginate(Bucket=self._bucket, Prefix=key))
        except (ClientError, BotoCoreError):  # this may be forbidden where reading is not
            return
        for page in pages:
            for one in page.get("Versions", []):
                if one["Key"] == key and one["Size"] == entry.size_bytes and one["VersionId"] != entry.version_id:
                    self._log.warning("trying another version of the object", version_id=one["VersionId"])
                    yield one["VersionId"]

    # -- one version -----------------------------------------------------------------------------

    def _header(self, entry: Entry, version_id: str | None) -> Header:
        size = FIRST_HEADER_SIZE
        while True:
            try:
                answer = self._get(entry, version_id, f"bytes=0-{size - 1}")
                header = read_header(io.BytesIO(answer["Body"].read()))
                break
            except BundleError as error:
                if size >= entry.size_bytes:
                    raise DownloadError("checksum", f"{self._url(entry)}: {error}") from None
                size *= 8
            except (ClientError, BotoCoreError) as error:
                raise DownloadError("download", explain(error, self._url(entry))) from None
        if refs_sha256(header.refs) != entry.refs_sha256:
            raise DownloadError("checksum", f"{self._url(entry)}: its refs are not those of the manifest")
        return header

    def _complete(self, entry: Entry, version_id: str | None, part: Path, on_bytes: OnBytes) -> None:
        """Bring `part` to its full size and compare it; once anew if what was there before spoiled it."""
        continued = part.exists()
        if self._fill(entry, version_id, part, on_bytes) == entry.sha256:
            return
        part.unlink()
        if continued and self._fill(entry, version_id, part, lambda _: None) == entry.sha256:
            return
        part.unlink(missing_ok=True)
        raise DownloadError("checksum", f"{self._url(entry)}: its SHA-256 is not that of the manifest")

    def _fill(self, entry: Entry, version_id: str | None, part: Path, on_bytes: OnBytes) -> str:
        """Append to `part` what it lacks, through interruptions, and return the SHA-256 of the whole."""
        if part.exists() and part.stat().st_size > entry.size_bytes:
            part.unlink()
        on_bytes(part.stat().st_size if part.exists() else 0)
        try:
            for attempt in retrying(ATTEMPTS, self._stop, self._log):
                with attempt:
                    self._append(entry, version_id, part, on_bytes)
        except _InterruptedError as error:
            raise DownloadError("download", str(error)) from None
        return _sha256(part)

    def _append(self, entry: Entry, version_id: str | None, part: Path, on_bytes: OnBytes) -> None:
        start = part.stat().st_size if part.exists() else 0
        if start == entry.size_bytes:
            return
        try:
            body = self._get(entry, version_id, f"bytes={start}-{entry.size_bytes - 1}")["Body"]
            self._write(body, part, on_bytes)
        except ClientError as error:
            raise DownloadError("download", explain(error, self._url(entry))) from None
        except BotoCoreError as error:
            raise _InterruptedError(explain(error, self._url(entry))) from None

    def _write(self, body: Any, part: Path, on_bytes: OnBytes) -> None:
        with part.open("ab") as file:
            for block in iter(lambda: body.read(BLOCK_SIZE), b""):
                self._stop.check()
                file.write(block)
                on_bytes(len(block))

    def _get(self, entry: Entry, version_id: str | None, byte_range: str) -> Any:
        what: dict[str, Any] = {"Bucket": self._bucket, "Key": str(entry.s3_key), "Range": byte_range}
        try:
            return self._client.get_object(**what | ({"VersionId": version_id} if version_id else {}))
        except ClientError as error:
            if not version_id or error_code(error) not in UNKNOWN_VERSION:
                raise
        # The copy in another bucket may have another version id; the SHA-256 tells whether it is the same.
        return self._client.get_object(**what)

    def _url(self, entry: Entry) -> str:
        return f"s3://{self._bucket}/{entry.s3_key}"


def is_bundle_of(entry: Entry, path: Path) -> bool:
    """Return whether the file is there and is the entry's bundle, by size and SHA-256."""
    return path.exists() and path.stat().st_size == entry.size_bytes and _sha256(path) == entry.sha256


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
