"""Stores what changed of a repository since its full bundle, which is not on this machine."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from github_s3_backup.backup.repository.clone_and_upload import new_folder, store
from github_s3_backup.backup.repository.errors import EXPECTED_ERRORS, enter
from github_s3_backup.backup.repository.git_data import GitData
from github_s3_backup.backup.repository.unchanged import unchanged_data
from github_s3_backup.backup.services import Services
from github_s3_backup.git.changes import Changes, fetch_changes, open_changes
from github_s3_backup.git.lfs_pointers import Pointers, find_pointers
from github_s3_backup.git.object_list import ObjectListError, parse_object_list
from github_s3_backup.git.refs import default_branch, summarize
from github_s3_backup.git.served_refs import ServedRefs
from github_s3_backup.git.wire import ChangesNotPossibleError
from github_s3_backup.github.transport.packs import Limits
from github_s3_backup.records.content import ListError
from github_s3_backup.records.entry import Base, Entry, new_entry
from github_s3_backup.records.lfs_list import parse_lfs_list
from github_s3_backup.records.stored_object import StoredObject
from github_s3_backup.repository import Repository
from github_s3_backup.runtime.capacity import Reservation, clone_reservation
from github_s3_backup.runtime.patience import USUAL

# Of the full bundle's size: the part that the server's answer may have at most, and the part above which the next
# backup is a full one. A larger part would cost more at every later change than a clone does once.
MOST_RECEIVED, MOST_STORED = 0.25, 0.10
# The list of objects, and the array that is made of it.
MEMORY_PER_LIST_BYTE = 2
# Whatever goes wrong on the way, a clone may still succeed.
NOT_POSSIBLE = (ChangesNotPossibleError, ObjectListError, ListError, *EXPECTED_ERRORS)


@dataclass(frozen=True)
class _Stand:
    """What a bundle of changes stands on: the full bundle, and the list of its objects."""

    full: Base
    objects: StoredObject
    known: Entry

    @property
    def limit(self) -> int:
        return int(MOST_RECEIVED * self.full.size_bytes)

    @property
    def needs(self) -> Reservation:
        pack = clone_reservation(self.limit)
        return Reservation(pack.disk, pack.memory + MEMORY_PER_LIST_BYTE * self.objects.size_bytes)


def store_what_changed(
    listed: Repository, known: Entry | None, served: ServedRefs | None, services: Services
) -> GitData:
    """Return what is stored of a repository: nothing new, what changed, or all of it. The latter two wait for a turn.

    `served`: None where it must be cloned. Raises what EXPECTED_ERRORS names.
    """
    if known and served and (unchanged := unchanged_data(listed, known, served)):
        return unchanged
    services.turns.wait()
    data = store_changes(listed, known, served, services) if known and served else None
    return data or store(listed, known.restore_bytes if known else 0, services)


def store_changes(listed: Repository, known: Entry, served: ServedRefs, services: Services) -> GitData | None:
    """Store what these refs have more than the full bundle; None where the repository must be cloned.

    `known`: what the last backup holds of it, which is in S3, and whose full bundle is not due.
    """
    log = services.context.log
    if not services.differential or not served.refs or known.full is None or known.objects is None:
        return None
    if known.base and known.size_bytes > MOST_STORED * known.base.size_bytes:
        log.info("many changes, cloning", size_bytes=known.size_bytes, full_size_bytes=known.base.size_bytes)
        return None
    try:
        return _store(listed, _Stand(known.full, known.objects, known), served, services)
    except NOT_POSSIBLE as error:
        log.warning("changes not possible, cloning", error=services.context.redactor.clean(str(error)))
        return None


def _store(listed: Repository, stand: _Stand, served: ServedRefs, services: Services) -> GitData:
    """Fetch the changes, prove them, and upload the bundle. Raises what NOT_POSSIBLE names."""
    enter("clone")
    with services.capacity.reserve(stand.needs), new_folder(services.scratch) as folder:
        changes = _fetch(listed, stand, served, folder, services)
        pointers = _pointers(listed, stand.known, changes, services)
        enter("upload")
        stored = services.archive.put_changes(listed.full_name, lambda: open_changes(changes))
    branch = default_branch(served.refs, served.head, listed.default_branch)
    repository = listed.with_default_branch(branch)
    entry = new_entry(repository, "stored", stored, summarize(served.refs, branch), 0.0)
    entry = msgspec.structs.replace(entry, base=stand.full, objects=stand.objects)
    return GitData(repository, entry, served.refs, pointers)


def _fetch(listed: Repository, stand: _Stand, served: ServedRefs, folder: Path, services: Services) -> Changes:
    objects = parse_object_list(services.archive.read(stand.objects), stand.full.sha256)
    limits = Limits(stand.limit, USUAL.seconds(stand.limit))
    return fetch_changes(
        services.git,
        served.refs,
        objects,
        folder / "changes.git",
        lambda request: services.github.fetch_pack(listed, request, limits),
    )


def _pointers(listed: Repository, known: Entry, changes: Changes, services: Services) -> Pointers:
    """Return the LFS objects that the new objects point at, and all that the last list names.

    Raises ListError and S3Error where that can't be read: only a clone shows all of them.
    """
    if "lfs" not in services.content.wanted or listed.is_wiki:
        return {}
    pointers = dict(find_pointers(services.git, changes.repository))
    for oid, sizes in _last_pointers(known, services).items():
        pointers[oid] = tuple(sorted({*sizes, *pointers.get(oid, ())}))
    return pointers


def _last_pointers(known: Entry, services: Services) -> Mapping[str, tuple[int, ...]]:
    if known.lfs is None:
        raise ChangesNotPossibleError("the last backup did not look for LFS objects")
    if known.lfs.list is None:
        return {}
    last = parse_lfs_list(services.archive.read(known.lfs.list))
    return {item.oid: (item.size_bytes,) for items in (last.missing, last.objects) for item in items}
