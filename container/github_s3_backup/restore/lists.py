"""The lists of a repository's LFS objects and releases, read from the bucket, and where releases' files go in a folder.

A file goes to `<tag>/<file>`, whatever characters the names have: one that is not safe in a path is percent-encoded.
Nothing leaves its folder, and no two files get one path.
"""

import hashlib
from collections.abc import Iterator
from pathlib import PurePath
from urllib.parse import quote

from github_s3_backup.records.content import ListError
from github_s3_backup.records.entry import Entry
from github_s3_backup.records.lfs_list import LfsList, parse_lfs_list
from github_s3_backup.records.release_list import ReleaseFile, ReleaseList, parse_release_list
from github_s3_backup.records.stored_object import StoredObject
from github_s3_backup.s3.download import BucketReader

# The list itself, next to the folders of the tags.
LIST = "releases.json"
# Besides letters and digits of any script.
SAFE = frozenset("-_.+@=,~")
# Bytes. File systems take 255.
MAX_LENGTH = 200


def read_lfs_list(entry: Entry, reader: BucketReader) -> LfsList:
    """Return the list of the repository's LFS objects, empty where it has none. Raises DownloadError and ListError."""
    if entry.lfs is None or entry.lfs.list is None:
        return LfsList(full_name=entry.full_name, checked_at=entry.backed_up_at, objects=(), missing=())
    try:
        return parse_lfs_list(reader.read(entry.lfs.list))
    except ListError as error:
        raise _at(entry.lfs.list, error) from None


def read_release_list(entry: Entry, reader: BucketReader) -> ReleaseList:
    """Return the list of the repository's releases, empty where it has none. Raises DownloadError and ListError."""
    if entry.releases is None or entry.releases.list is None:
        return ReleaseList(full_name=entry.full_name, releases=())
    try:
        return parse_release_list(reader.read(entry.releases.list))
    except ListError as error:
        raise _at(entry.releases.list, error) from None


def _at(stored: StoredObject, error: ListError) -> ListError:
    return ListError(f"{stored.key}: {error}")


# -- paths ---------------------------------------------------------------------------------------


def safe_name(name: str) -> str:
    """Return the name as a path component. It is no hidden file: git would take `.git` for a repository."""
    safe = "".join(char if char in SAFE or char.isalnum() else quote(char, safe="") for char in name)
    if safe.startswith("."):
        safe = f"%2E{safe[1:]}"
    if safe.lower() == LIST:
        safe = safe.replace(".", "%2E")
    if len(safe.encode()) > MAX_LENGTH:
        beginning = safe.encode()[: MAX_LENGTH // 2].decode(errors="ignore")
        safe = f"{beginning}%sha-{hashlib.sha256(name.encode()).hexdigest()[:32]}"
    return safe


def release_paths(releases: ReleaseList) -> Iterator[tuple[PurePath, ReleaseFile]]:
    """Yield each file of each release with its path below the folder of all releases.

    Several drafts may have the same tag. Some disks ignore case. The second of a name gets its id, as in `v1%id-7`.
    """
    folders: set[str] = set()
    for release in releases.releases:
        folder = _unused(safe_name(release.tag_name), release.id, folders)
        names: set[str] = set()
        for file in release.files:
            yield PurePath(folder, _unused(safe_name(file.name), file.id, names)), file


def _unused(name: str, number: int, used: set[str]) -> str:
    """Return the name, with a number where it is used already; only a forged list repeats that too."""
    numbered = (f"{name}%id-{number}{'-again' * times}" for times in range(len(used) + 1))
    found = next(found for found in (name, *numbered) if found.lower() not in used)
    used.add(found.lower())
    return found
