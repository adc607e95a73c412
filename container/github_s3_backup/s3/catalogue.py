"""The catalogue: which backups a bucket holds, by day and run, for programs that read them."""

import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime

from github_s3_backup.records.manifest import Manifest, ManifestError, parse_manifest
from github_s3_backup.records.signing import PublicKey
from github_s3_backup.s3.errors import AbsentError, DamagedError, S3Error
from github_s3_backup.s3.keys import LFS_LIST, RELEASE_LIST, run_key, runs_folder, signature_key, url_of
from github_s3_backup.s3.objects import Objects

DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
# Days that are searched for a complete backup.
MAX_DAYS = 30


class Catalogue:
    """What is under a prefix of a bucket, primary or replica. Every method raises S3Error."""

    def __init__(
        self, objects: Objects, prefix: str, trusted: Sequence[PublicKey] = (), until: datetime | None = None
    ) -> None:
        """`trusted`: return only manifests that one of these keys has signed; without any, all.

        `until`: know only of runs that had ended then.
        """
        self._objects, self.bucket, self.prefix = objects, objects.bucket, prefix
        self._trusted, self._until = trusted, until

    def until(self, moment: datetime) -> "Catalogue":
        """Return the catalogue as it was at a moment."""
        return Catalogue(self._objects, self.prefix, self._trusted, moment)

    def dates(self) -> list[str]:
        """Return the days of all backups, the newest first."""
        names = (folder.rstrip("/").rpartition("/")[2] for folder in self._objects.folders(f"{self.prefix}/"))
        last = f"{self._until:%Y-%m-%d}" if self._until else ""
        return sorted((name for name in names if DATE.fullmatch(name) and (not last or name <= last)), reverse=True)

    def run_ids(self, date: str) -> list[str]:
        """Return the ids of a day's runs, the newest first."""
        folder = runs_folder(self.prefix, date)
        return self._known(_run_ids(self._objects.keys(folder), folder))

    def deleted_run_ids(self, date: str) -> list[str]:
        """Return the ids of a day's runs whose manifest was deleted, the newest first, as far as S3 tells."""
        folder = runs_folder(self.prefix, date)
        versions = self._objects.versions(folder)
        current = {version["Key"] for version in versions if version["IsLatest"]}
        return self._known(_run_ids({version["Key"] for version in versions} - current, folder))

    def runs(self, today: str) -> Iterator[tuple[str, str]]:
        """Yield date and id of each run of the last MAX_DAYS days with a backup, the newest first.

        A day after `today` was written by a wrong clock, and would be the newest until that day. Where all manifests of
        a day were deleted, these count.
        """
        for date in [date for date in self.dates() if date <= today][:MAX_DAYS]:
            for run_id in self.run_ids(date) or self.deleted_run_ids(date):
                yield date, run_id

    def manifest(self, date: str, run_id: str) -> Manifest:
        """Return a run's manifest, its last version where somebody deleted it. Raises DamagedError if it is none."""
        body = self.manifest_bytes(date, run_id)
        if self._trusted and not self._is_trusted(date, run_id, body):
            url = self._objects.url(run_key(self.prefix, date, run_id))
            raise DamagedError(f"{url} is not signed by a key that --trusted-key names")
        manifest = self.parse(date, run_id, body)
        if self._until and manifest.finished > self._until:
            raise AbsentError(f"the run {run_id} had not ended by {self._until:%Y-%m-%dT%H:%M:%SZ}")
        return manifest

    def _is_trusted(self, date: str, run_id: str, body: bytes) -> bool:
        signature = self.signature(date, run_id)
        return signature is not None and any(key.has_signed(body, signature) for key in self._trusted)

    def manifest_bytes(self, date: str, run_id: str) -> bytes:
        """Return what is stored as a run's manifest, its last version where somebody deleted it."""
        key = run_key(self.prefix, date, run_id)
        try:
            return self._read(key)
        except AbsentError:
            message = f"there is no {self._objects.url(key)}: `list --runs --date {date}` shows the runs"
            raise AbsentError(message) from None

    def parse(self, date: str, run_id: str, body: bytes) -> Manifest:
        """Return the manifest that a run's stored bytes are. Raises DamagedError if they are none."""
        try:
            return parse_manifest(body)
        except ManifestError as error:
            url = self._objects.url(run_key(self.prefix, date, run_id))
            raise DamagedError(f"{url} can't be used: {error}") from None

    def signature(self, date: str, run_id: str) -> bytes | None:
        """Return the signature of a run's manifest, None where there is none."""
        try:
            return self._read(signature_key(self.prefix, date, run_id))
        except AbsentError:
            return None

    def newest_of_day(self, date: str) -> Manifest:
        """Return the manifest of the day's newest complete run, of its newest run where none is complete.

        A run whose manifest can't be read is skipped as long as another one can.
        """
        incomplete: Manifest | None = None
        problem: S3Error = AbsentError(self.no_backup(date))
        for run_id in self.run_ids(date) or self.deleted_run_ids(date):
            try:
                manifest = self.manifest(date, run_id)
            except S3Error as error:
                problem = error
                continue
            if manifest.complete:
                return manifest
            incomplete = incomplete or manifest
        if incomplete is None:
            raise problem
        return incomplete

    def no_backup(self, date: str | None = None) -> str:
        """Return the message where there is no backup, or none of that day."""
        if date:
            return f"there is no manifest of {date}: `list` shows the days"
        return f"there is no backup in {url_of(self.bucket, self.prefix)}/: check --bucket and --prefix"

    def _known(self, run_ids: list[str]) -> list[str]:
        """Return the runs that had begun at the moment that is looked at."""
        last = f"{self._until:%Y%m%dT%H%M%SZ}" if self._until else ""
        return [run_id for run_id in run_ids if not last or run_id[: len(last)] <= last]

    def _read(self, key: str) -> bytes:
        try:
            return self._objects.get(key)
        except AbsentError:
            versions = [version for version in self._objects.versions(key) if version["Key"] == key]
            if not versions:
                raise
        return self._objects.get(key, max(versions, key=lambda version: version["LastModified"])["VersionId"])


def _run_ids(keys: Iterable[str], folder: str) -> list[str]:
    """Return the ids in the keys of manifests. An id begins with the run's start, so that the newest comes first.

    The lists of an owner that is called `runs` are in the same folder.
    """
    names = (key.removeprefix(folder) for key in keys if not key.endswith((LFS_LIST, RELEASE_LIST)))
    return sorted((name.removesuffix(".json") for name in names if name.endswith(".json")), reverse=True)
