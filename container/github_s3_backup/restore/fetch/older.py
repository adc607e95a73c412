"""What takes the place of bundles that can't be used: those of an older backup, or the full bundle alone."""

from collections.abc import Iterator
from dataclasses import dataclass

import msgspec

from github_s3_backup.git.refs import summarize
from github_s3_backup.records.manifest import Base, Entry
from github_s3_backup.restore.errors import RestoreError
from github_s3_backup.restore.selection.older import OlderBackups
from github_s3_backup.s3.download import BucketReader, DownloadError


class OlderBundlesError(RestoreError):
    """The repository is there as older bundles have it."""

    def __init__(self, older: Entry, reason: Exception) -> None:
        super().__init__(f"what is there is the backup of {older.backed_up_at}, as a newer one can't be used: {reason}")


@dataclass(frozen=True)
class OlderBundles:
    """What can take the place of an entry's bundles."""

    backups: OlderBackups
    reader: BucketReader

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
