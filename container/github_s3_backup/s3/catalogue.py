"""The backups that a bucket holds, for whoever reads them: dates, manifests, their versions."""

import re
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from github_s3_backup.manifest import Manifest, ManifestError, parse_manifest

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
# Of so many days a manifest is looked for that can serve as the last good one.
NEWEST_LOOKED_AT = 30


class CatalogueError(Exception):
    """The bucket can't be read, or does not hold what is asked for; S3's own words and what to look at.

    `absent`: S3 says that there is no such object.
    """

    def __init__(self, message: str, absent: bool = False) -> None:
        super().__init__(message)
        self.absent = absent


@dataclass(frozen=True)
class ManifestVersion:
    """One version of a day's manifest: each run of that day wrote one."""

    date: str
    version_id: str
    written_at: datetime
    size: int


class Catalogue:
    """What lies under a prefix of a bucket, primary or replica."""

    def __init__(self, client: "S3Client", bucket: str, prefix: str) -> None:
        self._client, self.bucket, self.prefix = client, bucket, prefix

    def dates(self) -> list[str]:
        """Return the dates of all backups, the newest first. Raises CatalogueError."""
        paginator = self._client.get_paginator("list_objects_v2")
        try:
            pages = paginator.paginate(Bucket=self.bucket, Prefix=f"{self.prefix}/", Delimiter="/")
            folders = [one["Prefix"] for page in pages for one in page.get("CommonPrefixes", [])]
        except (ClientError, BotoCoreError) as error:
            raise CatalogueError(explain(error, f"s3://{self.bucket}/{self.prefix}/")) from None
        names = (folder.rstrip("/").rpartition("/")[2] for folder in folders)
        return sorted((name for name in names if DATE.fullmatch(name)), reverse=True)

    def versions(self, date: str) -> list[ManifestVersion]:
        """Return every stored version of a day's manifest, newest first, deleted ones too. Raises CatalogueError."""
        key = self._key(date)
        paginator = self._client.get_paginator("list_object_versions")
        try:
            pages = paginator.paginate(Bucket=self.bucket, Prefix=key)
            found = [one for page in pages for one in page.get("Versions", []) if one["Key"] == key]
        except (ClientError, BotoCoreError) as error:
            raise CatalogueError(explain(error, f"s3://{self.bucket}/{key}")) from None
        versions = [ManifestVersion(date, one["VersionId"], one["LastModified"], one["Size"]) for one in found]
        return sorted(versions, key=lambda one: one.written_at, reverse=True)

    def manifest(self, date: str, version_id: str | None = None) -> Manifest:
        """Return a day's manifest, the newest or the given version. Raises CatalogueError."""
        key = self._key(date)
        url = f"s3://{self.bucket}/{key}"
        try:
            body, version_id = self._read(key, version_id)
            return replace(parse_manifest(body), version_id=version_id)
        except ManifestError as error:
            raise CatalogueError(f"{url} can't be used: {error}") from None
        except (ClientError, BotoCoreError) as error:
            raise CatalogueError(explain(error, url), error_code(error) in ABSENT) from None

    def deleted_manifest(self, date: str) -> Manifest | None:
        """Return the newest version of a manifest that somebody deleted, None where there never was one."""
        try:
            versions = self.versions(date)
        except CatalogueError:  # this may be forbidden where reading is not
            return None
        return self.manifest(date, versions[0].version_id) if versions else None

    def nothing_here(self) -> str:
        """Return what to say where no backup is."""
        return f"there is no backup in s3://{self.bucket}/{self.prefix}/: check --bucket and --prefix"

    def newest_complete(self, today: str) -> Manifest | None:
        """Return the newest manifest of a run that came to its end, None where there is none that can be read.

        One of a day to come was written by a clock that was wrong, and would be the newest until that day.
        """
        dates = [date for date in self.dates() if date <= today]
        for date in dates[:NEWEST_LOOKED_AT]:
            try:
                manifest = self.manifest(date)
            except CatalogueError:
                continue
            if manifest.complete:
                return manifest
        return None

    def _read(self, key: str, version_id: str | None) -> tuple[bytes, str | None]:
        version = {"VersionId": version_id} if version_id else {}
        answer = self._client.get_object(Bucket=self.bucket, Key=key, **version)  # type: ignore[arg-type]
        return answer["Body"].read(), answer.get("VersionId")

    def _key(self, date: str) -> str:
        return f"{self.prefix}/{date}/manifest.json"


HINTS = {
    "NoSuchBucket": "check the bucket's name and the account",
    "AccessDenied": "check the credentials, and that they may s3:ListBucket the bucket and s3:GetObject what is in it",
    "403": "check the credentials, and that they may s3:ListBucket the bucket and s3:GetObject what is in it",
    "InvalidAccessKeyId": "check the credentials",
    "SignatureDoesNotMatch": "check the credentials",
    "ExpiredToken": "sign in again",
    "NoSuchKey": "list what there is with `list`; a deleted object is found by its version",
    "NoSuchVersion": "`list --versions` shows the versions there are",
    "InvalidObjectState": "it is in an archive storage class: `aws s3api restore-object` first, which takes hours",
}


ABSENT = ("NoSuchKey", "NoSuchVersion", "404")


def error_code(error: Exception) -> str:
    """Return S3's name of an error, "" where S3 did not answer."""
    return error.response["Error"].get("Code", "") if isinstance(error, ClientError) else ""


def explain(error: Exception, url: str) -> str:
    """Return S3's own words about `url`, and what to look at."""
    hint = HINTS.get(error_code(error))
    return f"{url}: {error} ({hint})" if hint else f"{url}: {error}"
