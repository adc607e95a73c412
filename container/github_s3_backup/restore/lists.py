"""The lists of a repository's LFS objects and releases, read from the bucket."""

from github_s3_backup.records.content import ListError
from github_s3_backup.records.lfs_list import LfsList, parse_lfs_list
from github_s3_backup.records.manifest import Entry
from github_s3_backup.records.release_list import ReleaseList, parse_release_list
from github_s3_backup.records.stored_object import StoredObject
from github_s3_backup.s3.download import BucketReader


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
