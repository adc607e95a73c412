"""The Git LFS objects of a repository: every object that its history points at, stored once by its content."""

from github_s3_backup.backup.repository.errors import Failed, IncompleteError, attempt
from github_s3_backup.backup.repository.git_data import GitData
from github_s3_backup.backup.repository.lfs_objects import AbsentError, LfsObjects
from github_s3_backup.backup.services import Services
from github_s3_backup.records.content import LfsSummary, ListError, StoredContent
from github_s3_backup.records.entry import Entry
from github_s3_backup.records.json_fields import utc
from github_s3_backup.records.lfs_list import LfsList, MissingObject, parse_lfs_list
from github_s3_backup.s3.errors import S3Error
from github_s3_backup.s3.keys import LFS_LIST

NO_OBJECTS = LfsSummary(objects=0, size_bytes=0, missing=0, list=None)


def back_up_lfs(data: GitData, last: Entry | None, services: Services) -> LfsSummary | None:
    """Store what the repository's history points at, and return the summary; None where it was refused before.

    Raises GitHubError where the server refuses, IncompleteError if an object could not be stored that the server has or
    that was there before, and UploadError.
    """
    if data.known:
        return data.known.lfs
    if not data.pointers:
        return NO_OBJECTS
    return _LfsBackup(data, _last_list(last, services), services).run()


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
    """The backup of one repository's objects."""

    def __init__(self, data: GitData, last: LfsList | None, services: Services) -> None:
        self._full_name, self._pointers, self._services = data.repository.full_name, data.pointers, services
        self._last = {content.oid: content for content in last.objects} if last else {}
        self._checked_at, self._trusted = utc(services.context.started_at), dict[str, StoredContent]()
        if last and not services.last_backup.is_due(last.checked_at, data.repository.id):
            self._checked_at = last.checked_at
            # What need not be looked up in S3: the last list names it, and it does not expire soon.
            is_old = services.content.lfs.is_old
            self._trusted = {oid: stored for oid, stored in self._last.items() if not is_old(stored)}
        wanted = {oid: sizes for oid, sizes in data.pointers.items() if oid not in self._trusted}
        self._objects = LfsObjects(data.repository, wanted, services)

    def run(self) -> LfsSummary:
        oids = sorted(self._pointers)
        results = self._services.content.transfers.map(lambda oid: attempt(lambda: self._back_up(oid)), oids)
        stored = [result for result in results if isinstance(result, StoredContent)]
        lost = {oid: result for oid, result in zip(oids, results, strict=True) if isinstance(result, Failed)}
        if self._objects.refusal and not any(content.size_bytes for content in stored):
            raise self._objects.refusal  # what that means is decided elsewhere
        summary = self._put_list(stored, lost)
        # What the server does not have, and never had, can't be stored by any run.
        failed = {oid: why for oid, why in lost.items() if oid in self._last or not isinstance(why.error, AbsentError)}
        if failed:
            oid, first = next(iter(failed.items()))
            message = f"{len(failed)} of {len(oids)} objects could not be stored, the first {oid}: {first.error}"
            raise IncompleteError(message, first.stage, summary)
        return summary

    def _back_up(self, oid: str) -> StoredContent:
        return self._trusted.get(oid) or self._objects.store(oid, self._pointers[oid])

    def _put_list(self, stored: list[StoredContent], lost: dict[str, Failed]) -> LfsSummary:
        """Write the list, and log what is missing. Raises UploadError."""
        clean = self._services.context.redactor.clean
        missing = tuple(
            MissingObject(oid=oid, size_bytes=max(self._pointers[oid]), error=clean(str(why.error)))
            for oid, why in lost.items()
        )
        document = LfsList(
            full_name=self._full_name, checked_at=self._checked_at, objects=tuple(stored), missing=missing
        )
        if missing:
            self._services.context.log.warning("LFS objects missing", objects=len(missing), error=missing[0].error)
        size = sum(content.size_bytes for content in stored)
        put = self._services.archive.put_list(self._full_name, LFS_LIST, document.to_json())
        return LfsSummary(objects=len(stored), size_bytes=size, missing=len(missing), list=put)
