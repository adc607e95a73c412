"""Verify what git alone does not hold: every LFS object and every file of a release is read from the bucket."""

import threading
from collections.abc import Set
from dataclasses import dataclass, field

from github_s3_backup.records.content import StoredContent
from github_s3_backup.records.entry import Entry
from github_s3_backup.restore.errors import ContentError
from github_s3_backup.restore.lists import read_lfs_list, read_release_list, release_paths
from github_s3_backup.restore.workers import Reading

# LFS objects that are named in an error.
SHOWN = 5


@dataclass
class Proven:
    """What was proven of a repository, besides its own git data. `size_bytes`: of all of it together."""

    wikis: int = 0
    lfs_objects: int = 0
    release_files: int = 0
    issues: int = 0
    size_bytes: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def add(self, size: int, *, wikis: int = 0, lfs_objects: int = 0, release_files: int = 0, issues: int = 0) -> None:
        """Count something more, from any thread."""
        with self._lock:
            self.wikis += wikis
            self.lfs_objects += lfs_objects
            self.release_files += release_files
            self.issues += issues
            self.size_bytes += size


def verify_lfs_objects(entry: Entry, pointers: Set[str] | None, reading: Reading, proven: Proven) -> None:
    """Read every LFS object. `pointers`: the objects that the restored history names, None where it is not known.

    Raises ContentError, DownloadError and ListError.
    """
    if entry.lfs is None:
        return

    def prove(content: StoredContent) -> None:
        reading.reader.prove(content, reading.on_bytes)
        proven.add(content.size_bytes, lfs_objects=1)

    listed = read_lfs_list(entry, reading.reader)
    different = {content.oid: content for content in listed.objects}
    known = different.keys() | {item.oid for item in listed.missing}
    unknown = sorted((pointers or set()) - known)
    if unknown:
        shown = f"{', '.join(unknown[:SHOWN])}{', ...' if len(unknown) > SHOWN else ''}"
        raise ContentError(f"the repository points at {len(unknown)} objects that its list lacks: {shown}")
    reading.pool.each(different.values(), prove, lambda content: content.oid)


def verify_releases(entry: Entry, reading: Reading, proven: Proven) -> None:
    """Read every file of every release. Raises ContentError, DownloadError and ListError."""

    def prove(item: tuple[StoredContent, list[str]]) -> None:
        content, names = item
        reading.reader.prove(content, reading.on_bytes)
        proven.add(content.size_bytes, release_files=len(names))

    different: dict[str, tuple[StoredContent, list[str]]] = {}
    for path, file in release_paths(read_release_list(entry, reading.reader)):
        if file.content:
            different.setdefault(file.content.oid, (file.content, []))[1].append(str(path))
    reading.pool.each(different.values(), prove, lambda item: item[1][0])
