"""The catalogue: which backups a bucket holds, by day and run, for programs that read them."""

import re
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from github_s3_backup.records.manifest import Manifest, ManifestError, parse_manifest
from github_s3_backup.s3.errors import ABSENT, S3_ERRORS, error_code, explain
from github_s3_backup.s3.keys import LFS_LIST, RELEASE_LIST, run_key, runs_folder
from github_s3_backup.s3.upload import version_parameter

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
# Days that are searched for a complete backup.
MAX_DAYS = 30


class CatalogueError(Exception):
    """The bucket can't be read, or does not hold what is asked for; the text holds S3's own words and what to check.

    `absent`: S3 says that there is no such object.
    """

    def __init__(self, message: str, absent: bool = False) -> None:
        super().__init__(message)
        self.absent = absent


class Catalogue:
    """What is under a prefix of a bucket, primary or replica."""

    def __init__(self, client: "S3Client", bucket: str, prefix: str) -> None:
        self._client, self.bucket, self.prefix = client, bucket, prefix

    def dates(self) -> list[str]:
        """Return the days of all backups, the newest first. Raises CatalogueError."""
        paginator = self._client.get_paginator("list_objects_v2")
        try:
            pages = paginator.paginate(Bucket=self.bucket, Prefix=f"{self.prefix}/", Delimiter="/")
            folders = [folder["Prefix"] for page in pages for folder in page.get("CommonPrefixes", [])]
        except S3_ERRORS as error:
            raise CatalogueError(explain(error, f"s3://{self.bucket}/{self.prefix}/")) from None
        names = (folder.rstrip("/").rpartition("/")[2] for folder in folders)
        return sorted((name for name in names if DATE.fullmatch(name)), reverse=True)

    def run_ids(self, date: str) -> list[str]:
        """Return the ids of a day's runs, the newest first. Raises CatalogueError."""
        folder = runs_folder(self.prefix, date)
        paginator = self._client.get_paginator("list_objects_v2")
        try:
            pages = paginator.paginate(Bucket=self.bucket, Prefix=folder)
            keys = [item["Key"] for page in pages for item in page.get("Contents", [])]
        except S3_ERRORS as error:
            raise CatalogueError(explain(error, f"s3://{self.bucket}/{folder}")) from None
        return _run_ids(keys, folder)

    def deleted_run_ids(self, date: str) -> list[str]:
        """Return the ids of a day's runs whose manifest was deleted, the newest first, as far as S3 tells."""
        folder = runs_folder(self.prefix, date)
        paginator = self._client.get_paginator("list_object_versions")
        try:
            pages = list(paginator.paginate(Bucket=self.bucket, Prefix=folder))
        except S3_ERRORS:
            return []
        versions = {version["Key"] for page in pages for version in page.get("Versions", [])}
        current = {v["Key"] for page in pages for v in page.get("Versions", []) if v["IsLatest"]}
        return _run_ids(versions - current, folder)

    def manifest(self, date: str, run_id: str) -> Manifest:
        """Return a run's manifest, its last version where somebody deleted it. Raises CatalogueError."""
        key = run_key(self.prefix, date, run_id)
        url = f"s3://{self.bucket}/{key}"
        try:
            return parse_manifest(self._read(key))
        except ManifestError as error:
            raise CatalogueError(f"{url} can't be used: {error}") from None
        except S3_ERRORS as error:
            if error_code(error) in ABSENT:
                raise CatalogueError(f"there is no {url}: `list --runs --date {date}` shows the runs", True) from None
            raise CatalogueError(explain(error, url)) from None

    def newest_of_day(self, date: str) -> Manifest:
        """Return the manifest of the day's newest complete run, of its newest run where none is complete.

        A run whose manifest can't be read is skipped as long as another one can. Raises CatalogueError.
        """
        run_ids = self.run_ids(date) or self.deleted_run_ids(date)
        incomplete: Manifest | None = None
        problem = CatalogueError(self.no_backup(date), absent=True)
        for run_id in run_ids:
            try:
                manifest = self.manifest(date, run_id)
            except CatalogueError as error:
                problem = error
                continue
            if manifest.complete:
                return manifest
            incomplete = incomplete or manifest
        if incomplete is None:
            raise problem
        return incomplete

    def newest_complete(
        self, today: str, on_unreadable: Callable[[str, CatalogueError], object] = lambda *_: None
    ) -> Manifest | None:
        """Return the manifest of the newest complete run, None where none can be read. Raises CatalogueError.

        A day after `today` was written by a wrong clock, and would be the newest until that day.
        """
        for date in [date for date in self.dates() if date <= today][:MAX_DAYS]:
            try:
                manifest = self.newest_of_day(date)
            except CatalogueError as error:
                on_unreadable(date, error)
                continue
            if manifest.complete:
                return manifest
        return None

    def no_backup(self, date: str | None = None) -> str:
        """Return the message where there is no backup, or none of that day."""
        if date:
            return f"there is no manifest of {date}: `list` shows the days"
        return f"there is no backup in s3://{self.bucket}/{self.prefix}/: check --bucket and --prefix"

    def _read(self, key: str) -> bytes:
        try:
            return self._client.get_object(Bucket=self.bucket, Key=key)["Body"].read()
        except S3_ERRORS as error:
            version_id = self._last_version(key) if error_code(error) in ABSENT else None
            if version_id is None:
                raise
        return self._client.get_object(Bucket=self.bucket, Key=key, **version_parameter(version_id))["Body"].read()

    def _last_version(self, key: str) -> str | None:
        """Return the newest version of a deleted object, None where there is none or asking is forbidden."""
        try:
            answer = self._client.list_object_versions(Bucket=self.bucket, Prefix=key)
        except S3_ERRORS:
            return None
        versions = [version for version in answer.get("Versions", []) if version["Key"] == key]
        return max(versions, key=lambda version: version["LastModified"])["VersionId"] if versions else None


def _run_ids(keys: Iterable[str], folder: str) -> list[str]:
    """Return the ids in the keys of manifests. An id begins with the run's start, so that the newest comes first.

    The lists of an owner that is called `runs` are in the same folder.
    """
    names = (key.removeprefix(folder) for key in keys if not key.endswith((LFS_LIST, RELEASE_LIST)))
    return sorted((name.removesuffix(".json") for name in names if name.endswith(".json")), reverse=True)
