"""What is left where a bundle of changes is damaged: the full bundle that it stands on."""

import msgspec

from github_s3_backup.git.refs import summarize
from github_s3_backup.records.manifest import Base, Entry
from github_s3_backup.restore.errors import RestoreError
from github_s3_backup.s3.download import BucketReader


class ChangesLostError(RestoreError):
    """The repository is there as its full bundle has it, which is older than what was asked for."""

    def __init__(self, entry: Entry, reason: str) -> None:
        full = entry.base.backed_up_at if entry.base else entry.backed_up_at
        super().__init__(
            f"its bundle of changes can't be used, so what is there is the full bundle of {full}: {reason}. An earlier "
            "backup may have an older bundle of changes: see `list` and --date"
        )


def without_changes(entry: Entry, base: Base, reader: BucketReader) -> Entry:
    """Return the entry of the full bundle alone. Raises DownloadError."""
    refs = summarize(reader.full_header(base).refs, entry.default_branch)
    return msgspec.structs.replace(
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
