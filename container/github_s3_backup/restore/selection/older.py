"""What takes the place of bundles that can't be used: those of an earlier run, or the full bundle alone."""

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import msgspec
from structlog.typing import FilteringBoundLogger

from github_s3_backup.git.process import GitError
from github_s3_backup.git.refs import summarize
from github_s3_backup.records.entry import Base, Entry
from github_s3_backup.records.manifest import Manifest
from github_s3_backup.records.stored_object import StoredObject
from github_s3_backup.repository import WIKI_SUFFIX
from github_s3_backup.restore.errors import RestoreError, UnbundleError, is_disk_full
from github_s3_backup.restore.unbundle import bundles_at
from github_s3_backup.s3.catalogue import Catalogue
from github_s3_backup.s3.download import BucketReader, DownloadError, is_copy_of
from github_s3_backup.s3.errors import S3Error

# Manifests that are kept: where much is damaged, each repository looks into the same ones, the newest first.
KEPT = 4
# What may be wrong with bundles, where older ones may be right.
BROKEN = (DownloadError, UnbundleError, GitError)
# What an entry says of its git data.
GIT_DATA = (
    *("base", "s3_key", "version_id", "size_bytes", "sha256", "s3_checksum_sha256"),
    *("backed_up_at", "sha", "ref_count", "refs_sha256", "default_branch"),
)

Which: TypeAlias = Callable[[Entry, Exception], StoredObject]


class OlderBundlesError(RestoreError):
    """The repository is there as older bundles have it."""

    def __init__(self, older: Entry, reason: Exception) -> None:
        super().__init__(f"what is there is the backup of {older.backed_up_at}, as a newer one can't be used: {reason}")


class OlderBackups:
    """The backups before that of an entry."""

    def __init__(self, catalogue: Catalogue, log: FilteringBoundLogger) -> None:
        self._catalogue, self._log = catalogue, log
        self._manifest = functools.lru_cache(KEPT)(self._read)

    def of(self, newest: Entry) -> Iterator[Entry]:
        """Yield a repository or a wiki with the git data of earlier runs, the newest first."""
        seen = {newest.object}
        for manifest in self._manifests(newest.backed_up_at[:10]):
            entry = _find(manifest, newest)
            if entry and entry.object and entry.object not in seen and entry.backed_up_at < newest.backed_up_at:
                seen.add(entry.object)
                yield msgspec.structs.replace(newest, **{name: getattr(entry, name) for name in GIT_DATA})

    def _manifests(self, date: str) -> Iterator[Manifest]:
        try:
            for day, run_id in self._catalogue.runs(date):
                if manifest := self._manifest(day, run_id):
                    yield manifest
        except S3Error as error:
            self._log.warning("backup skipped", date=date, error=str(error))

    def _read(self, date: str, run_id: str) -> Manifest | None:
        try:
            return self._catalogue.manifest(date, run_id)
        except S3Error as error:
            self._log.warning("backup skipped", date=date, error=str(error))
            return None


def _find(manifest: Manifest, newest: Entry) -> Entry | None:
    """Return what a manifest holds of the repository, or of its wiki."""
    entries = (*manifest.entries, *(failure.partial for failure in manifest.failures if failure.partial))
    found = next((entry for entry in entries if entry.id == newest.id), None)
    return found.wiki if found and newest.name.endswith(WIKI_SUFFIX) else found


@dataclass(frozen=True)
class OlderBundles:
    """What can take the place of an entry's bundles."""

    backups: OlderBackups
    reader: BucketReader

    def use(self, entry: Entry, reason: Exception, attempt: Callable[[Entry], object], which: Which) -> Entry:
        """Return the entry of the newest older bundles with which the attempt succeeds.

        `reason`: why the entry's own can't be used, which is raised where no older ones can. `which`: which of an
        entry's bundles an error means: what is lost is not tried again.
        """
        lost = {which(entry, reason)}
        for older in self.of(entry):
            if not lost.intersection(older.bundles):
                try:
                    attempt(older)
                    return older
                except BROKEN as error:
                    if is_disk_full(error):
                        raise
                    lost.add(which(older, error))
        raise reason

    def of(self, entry: Entry) -> Iterator[Entry]:
        """Yield what is older, the newest first: also the full bundle, which no manifest may name alone any more."""
        base = entry.base
        for older in self.backups.of(entry):
            if base and older.backed_up_at <= base.backed_up_at:
                yield from self._full(entry, base)
                base = None
            yield older
        if base:
            yield from self._full(entry, base)

    def _full(self, entry: Entry, base: Base) -> Iterator[Entry]:
        """Yield the entry of the full bundle alone, where its refs can be read."""
        try:
            refs = summarize(self.reader.full_header(base).refs, entry.default_branch)
        except DownloadError:
            return
        yield msgspec.structs.replace(
            entry,
            base=None,
            s3_key=base.s3_key,
            version_id=base.version_id,
            size_bytes=base.size_bytes,
            sha256=base.sha256,
            s3_checksum_sha256=base.s3_checksum_sha256,
            backed_up_at=base.backed_up_at,
            sha=refs.sha,
            ref_count=refs.ref_count,
            refs_sha256=refs.refs_sha256,
        )


def missing_at(bundle: Path) -> Which:
    """Return what finds the bundle that an error means by what was downloaded to this path."""

    def which(entry: Entry, error: Exception) -> StoredObject:
        at = bundles_at(entry, bundle)
        missing = [stored for stored, path in at if not is_copy_of(stored, path)]
        return missing[0] if missing and isinstance(error, DownloadError) else at[-1][0]

    return which


def newest_of(entry: Entry, _error: Exception) -> StoredObject:
    """Return the bundle that has the refs, which an error of reading them means."""
    return entry.bundles[-1]
