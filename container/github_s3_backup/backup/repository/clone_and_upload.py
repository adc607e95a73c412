"""Stores the git data of one repository that changed: reserve capacity, clone, upload the bundle."""

import contextlib
import errno
import tempfile
from collections.abc import Iterator
from pathlib import Path

import msgspec

from github_s3_backup.backup.repository.clone import Cloner
from github_s3_backup.backup.repository.errors import enter
from github_s3_backup.backup.repository.git_data import GitData
from github_s3_backup.backup.services import Services
from github_s3_backup.git.bundle import open_bundle
from github_s3_backup.git.lfs_pointers import Pointers, find_pointers
from github_s3_backup.git.mirror import Mirror
from github_s3_backup.git.object_list import ObjectListError, list_of_mirror
from github_s3_backup.git.process import Git, GitError
from github_s3_backup.git.refs import default_branch, summarize
from github_s3_backup.records.entry import new_entry
from github_s3_backup.records.stored_object import StoredObject
from github_s3_backup.repository import Repository
from github_s3_backup.runtime.capacity import DiskFullError, Reservation, clone_reservation
from github_s3_backup.runtime.patience import LONG, USUAL
from github_s3_backup.s3.errors import S3Error


def store(listed: Repository, last_size: int, services: Services) -> GitData:
    """Clone and upload; where the disk filled up, once more with all of it. Raises what EXPECTED_ERRORS names.

    `last_size`: the bytes of the repository's last bundle.
    """
    size = max(listed.size_kb * 1024, last_size)
    capacity, first = services.capacity, clone_reservation(size)
    for needs in (first, Reservation(capacity.total.disk, first.memory)):
        try:
            return _store_once(listed, needs, services)
        except (GitError, OSError) as error:
            if not _is_disk_full(error):
                raise
            if needs.disk >= capacity.total.disk:
                raise DiskFullError(capacity.too_small(str(error))) from None
            services.context.log.warning("disk full, retrying alone", error=str(error))
    raise AssertionError("the second attempt had the whole disk")


def _is_disk_full(error: GitError | OSError) -> bool:
    if isinstance(error, GitError):
        return error.disk_full
    return error.errno in (errno.ENOSPC, errno.EDQUOT)


def _store_once(listed: Repository, needs: Reservation, services: Services) -> GitData:
    """Reserve capacity, clone, and upload the bundle, in a folder of its own."""
    enter("clone")
    with services.capacity.reserve(needs) as larger_beside, new_folder(services.scratch) as folder:
        # The largest clone in flight decides when the run ends.
        git = services.git.with_low_priority() if larger_beside else services.git
        patience = LONG if services.last_backup.timed_out(listed.id) else USUAL
        cloner = Cloner(services.github, git, services.context.stop, services.context.log, patience)
        repository, mirror = cloner.clone(listed, folder / "mirror.git")
        if not mirror.refs:
            return GitData(repository, new_entry(repository, "empty", None, None, 0.0))
        # It may have been renamed since the listing: what is stored describes itself.
        branch = default_branch(mirror.refs, mirror.head, repository.default_branch)
        repository = repository.with_default_branch(branch)
        enter("upload")
        stored = services.archive.put_bundle(repository.full_name, lambda: open_bundle(git, mirror))
        entry = new_entry(repository, "stored", stored, summarize(mirror.refs, branch), 0.0)
        entry = msgspec.structs.replace(entry, objects=_object_list(git, mirror, stored, services))
        return GitData(repository, entry, mirror.refs, _pointers(repository, git, mirror, services))


def _object_list(git: Git, mirror: Mirror, bundle: StoredObject, services: Services) -> StoredObject | None:
    """Store the list of the bundle's objects; None where no bundle of changes can stand on the bundle."""
    if not services.differential:
        return None
    try:
        objects = list_of_mirror(git, mirror, bundle.sha256)
        return services.archive.put_object_list(bundle, objects.to_bytes()) if objects else None
    except (ObjectListError, S3Error, GitError, OSError) as error:
        services.context.log.warning("list of objects not stored", error=str(error))
        return None


def _pointers(repository: Repository, git: Git, mirror: Mirror, services: Services) -> Pointers:
    """Return the LFS objects that the mirror points at, none where they are not wanted."""
    if "lfs" not in services.content.wanted or repository.is_wiki:
        return {}
    return find_pointers(git, mirror.path)


@contextlib.contextmanager
def new_folder(scratch: Path) -> Iterator[Path]:
    """Yield a new folder, removed afterwards."""
    with tempfile.TemporaryDirectory(dir=scratch, ignore_cleanup_errors=True) as name:
        yield Path(name)
