"""What earlier runs hold of a repository, for where its newest bundles can't be used."""

import functools
from collections.abc import Iterator

import msgspec
from structlog.typing import FilteringBoundLogger

from github_s3_backup.records.manifest import Entry, Manifest
from github_s3_backup.repository import WIKI_SUFFIX
from github_s3_backup.s3.catalogue import Catalogue
from github_s3_backup.s3.errors import S3Error

# Manifests that are kept: where much is damaged, each repository looks into the same ones, the newest first.
KEPT = 4


class OlderBackups:
    """The backups before that of an entry."""

    def __init__(self, catalogue: Catalogue, log: FilteringBoundLogger) -> None:
        self._catalogue, self._log = catalogue, log
        self._manifest = functools.lru_cache(KEPT)(self._read)

    def of(self, newest: Entry) -> Iterator[Entry]:
        """Yield what earlier runs hold of a repository or a wiki, under its present name, the newest first."""
        seen = {newest.object}
        for manifest in self._manifests(newest.backed_up_at[:10]):
            entry = _find(manifest, newest)
            if entry and entry.object and entry.object not in seen and entry.backed_up_at < newest.backed_up_at:
                seen.add(entry.object)
                name = {"full_name": newest.full_name, "owner": newest.owner, "name": newest.name}
                yield msgspec.structs.replace(entry, wiki=None, **name)

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
