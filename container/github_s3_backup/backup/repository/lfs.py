"""The Git LFS objects of a repository: every object that its history points at, stored once by its content."""

import contextlib
from collections.abc import Iterator

from github_s3_backup.backup.repository.errors import IncompleteError
from github_s3_backup.backup.repository.git_data import GitData
from github_s3_backup.backup.repository.lfs_links import AbsentError, LfsLinks
from github_s3_backup.backup.services import Services
from github_s3_backup.github.links import LinkError
from github_s3_backup.github.rest import GitHubError
from github_s3_backup.records.content import LfsSummary, ListError, StoredContent
from github_s3_backup.records.json_fields import utc
from github_s3_backup.records.lfs_list import LfsList, MissingObject, parse_lfs_list
from github_s3_backup.records.manifest import Entry, Stage
from github_s3_backup.repository import Repository
from github_s3_backup.s3.content_store import WrongContentError
from github_s3_backup.s3.errors import S3Error
from github_s3_backup.s3.keys import LFS_LIST

# How often an object is asked for whose bytes are not those of its OID.
ATTEMPTS = 2
NO_OBJECTS = LfsSummary(objects=0, size_bytes=0, missing=0, list=None)
# What a link answers where the object is gone, or is shorter than it should be: nothing follows what has arrived.
NOT_THERE = (404, 410, 416)


def back_up_lfs(data: GitData, last: Entry | None, services: Services) -> LfsSummary | None:
    """Store what the repository's history points at, and return the summary; None where it was refused before.

    Raises GitHubError where the server refuses, IncompleteError if an object could not be stored that the server has or
    that was there before, and UploadError.
    """
    if data.known:
        return data.known.lfs
    if not data.pointers:
        return NO_OBJECTS
    return _LfsBackup(data.repository, data.pointers, _last_list(last, services), services).run()


def _last_list(last: Entry | None, services: Services) -> LfsList | None:
    """Return the list that the last backup made, None where there is none or it can't be read."""
    if last is None or last.lfs is None or last.lfs.list is None:
        return None
    try:
        return parse_lfs_list(services.archive.read(last.lfs.list))
    except (S3Error, ListError) as error:
        services.context.log.warning("last list not usable", error=str(error))
        return None


class _LfsBackup:
    """The backup of one repository's objects. `pointers`: their sizes in bytes, by OID."""

    def __init__(
        self, repository: Repository, pointers: dict[str, int], last: LfsList | None, services: Services
    ) -> None:
        self._repository, self._pointers, self._services = repository, pointers, services
        self._store = services.content.lfs
        self._last = {content.oid: content for content in last.objects} if last else {}
        self._checked_at, self._trusted = utc(services.context.started_at), dict[str, StoredContent]()
        if last and not services.last_backup.is_due(last.checked_at, repository.id):
            self._checked_at = last.checked_at
            # What need not be looked up in S3: the last list names it, and it does not expire soon.
            self._trusted = {oid: stored for oid, stored in self._last.items() if not self._store.is_old(stored)}
        wanted = {oid: size for oid, size in pointers.items() if oid not in self._trusted}
        self._links = LfsLinks(repository, wanted, services.github)

    def run(self) -> LfsSummary:
        results = self._services.content.transfers.map(self._back_up, sorted(self._pointers))
        stored = [result for result in results if isinstance(result, StoredContent)]
        lost = [result for result in results if isinstance(result, _Lost)]
        if self._links.error and not stored:  # whether it is a refusal, and what that means, is decided elsewhere
            raise self._links.error
        summary = self._put_list(stored, lost)
        if failed := [item for item in lost if item.stage or item.missing.oid in self._last]:
            first = failed[0].missing
            raise IncompleteError(
                failed[0].stage or "clone",
                f"{len(failed)} of {len(results)} objects could not be stored, the first {first.oid}: {first.error}",
                summary,
            )
        return summary

    def _put_list(self, stored: list[StoredContent], lost: "list[_Lost]") -> LfsSummary:
        """Write the list, and log what is missing. Raises UploadError."""
        missing = tuple(item.missing for item in lost)
        document = LfsList(
            full_name=self._repository.full_name,
            checked_at=self._checked_at,
            objects=tuple(stored),
            missing=missing,
        )
        if missing:
            self._services.context.log.warning("LFS objects missing", objects=len(missing), error=missing[0].error)
        size = sum(content.size_bytes for content in stored)
        put = self._services.archive.put_list(self._repository.full_name, LFS_LIST, document.to_json())
        return LfsSummary(objects=len(stored), size_bytes=size, missing=len(missing), list=put)

    # -- one object ------------------------------------------------------------------------------

    def _back_up(self, oid: str) -> "StoredContent | _Lost":
        """Return the object as it is stored, or why it is not."""
        size = self._pointers[oid]
        if oid in self._trusted:
            return self._trusted[oid]
        try:
            return self._store.find(self._repository.owner, oid, size) or self._download(oid, size)
        except AbsentError as error:
            return self._lost(oid, None, error)
        except S3Error as error:
            return self._lost(oid, "upload", error)
        except (LinkError, GitHubError) as error:
            return self._lost(oid, "clone", error)

    def _lost(self, oid: str, stage: Stage | None, error: Exception) -> "_Lost":
        words = self._services.context.redactor.clean(str(error))
        return _Lost(MissingObject(oid=oid, size_bytes=self._pointers[oid], error=words), stage)

    def _download(self, oid: str, size: int) -> StoredContent:
        """Stream the object from the server to S3; bytes that are not those of the OID are asked for again."""
        for attempt in range(ATTEMPTS):
            try:
                return self._store.put(self._repository.owner, oid, size, lambda: self._open(oid, size))
            except WrongContentError as error:
                if attempt + 1 == ATTEMPTS:
                    raise AbsentError(f"the LFS server sends something else: {error}") from None
            except LinkError as error:
                if error.status in NOT_THERE:
                    raise AbsentError(str(error)) from None
                raise
        raise AssertionError("the last attempt returned or raised")

    @contextlib.contextmanager
    def _open(self, oid: str, size: int) -> Iterator[Iterator[bytes]]:
        blocks = self._services.github.downloader.blocks(size, lambda: self._links.link(oid))
        with contextlib.closing(blocks):
            yield blocks


class _Lost:
    """An object that is not stored. `stage`: where it failed; None where the server does not have it."""

    def __init__(self, missing: MissingObject, stage: Stage | None) -> None:
        self.missing, self.stage = missing, stage
