"""The releases of a repository: their notes as JSON next to the bundle, their files stored once by their content."""

import contextlib
import hashlib
import tempfile
from collections.abc import Iterator
from typing import IO

import msgspec

from github_s3_backup.backup.repository.errors import Failed, IncompleteError, attempt
from github_s3_backup.backup.repository.git_data import GitData
from github_s3_backup.backup.repository.unchanged import flaw_of
from github_s3_backup.backup.services import Services
from github_s3_backup.github.releases import Releases
from github_s3_backup.github.transport.links import LinkError
from github_s3_backup.records.content import ListError, ReleasesSummary, StoredContent
from github_s3_backup.records.entry import Entry
from github_s3_backup.records.json_fields import utc
from github_s3_backup.records.release_list import Release, ReleaseFile, ReleaseList, parse_release_list
from github_s3_backup.repository import Repository
from github_s3_backup.runtime.capacity import Reservation
from github_s3_backup.s3.content_store import BLOCK_SIZE, OpenBlocks
from github_s3_backup.s3.errors import S3Error
from github_s3_backup.s3.keys import RELEASE_LIST

# What a link answers about a file that was deleted since the releases were listed.
GONE = (404, 410)


def back_up_releases(data: GitData, last: Entry | None, services: Services) -> ReleasesSummary:
    """Store the releases that changed, and return the summary.

    A repository that did not change costs one conditional request, and none if it has neither tags nor releases: each
    release has a tag. Raises GitHubError, IncompleteError if a file could not be stored that GitHub has or that was
    there before, and UploadError.
    """
    known = _usable(data.repository.id, services)
    if known and data.known and known.count == 0 and not data.has_tags:
        return known
    found = services.github.releases(data.repository, known.etag if known else None)
    if known and (found is None or found.sha256 == known.releases_sha256):
        return msgspec.structs.replace(known, etag=found.etag) if found else known
    assert found, "only a conditional request is answered by 304"
    return _ReleasesBackup(data.repository, found, _last_files(last, services), known is None, services).run()


def _usable(repository_id: int, services: Services) -> ReleasesSummary | None:
    """Return the last complete summary; None where it is old, or its list is gone, and all must be stored afresh."""
    last_backup = services.last_backup
    entry = last_backup.stored(repository_id)
    known = entry.releases if entry else None
    if entry is None or known is None or last_backup.is_due(known.backed_up_at, repository_id):
        return None
    if last_backup.lacks(entry, "releases") and known.missing:  # some of it may be there, and was not stored
        return None
    if known.list and (flaw := flaw_of(known.list, services)):
        services.context.log.warning("last list not usable", error=flaw)
        return None
    return known


def _last_files(last: Entry | None, services: Services) -> dict[int, ReleaseFile]:
    """Return the files in the list that the last backup made, by their ids."""
    if last is None or last.releases is None or last.releases.list is None:
        return {}
    try:
        releases = parse_release_list(services.archive.read(last.releases.list)).releases
    except (S3Error, ListError) as error:
        services.context.log.warning("last list not usable", error=str(error))
        return {}
    return {file.id: file for release in releases for file in release.files}


class _ReleasesBackup:
    """The backup of one repository's releases.

    `last`: the files in the last list, by their ids. `afresh`: look up all of them in S3.
    """

    def __init__(
        self, repository: Repository, found: Releases, last: dict[int, ReleaseFile], afresh: bool, services: Services
    ) -> None:
        self._repository, self._found, self._last, self._services = repository, found, last, services
        self._store, self._afresh = services.content.releases, afresh

    def run(self) -> ReleasesSummary:
        wanted = [file for release in self._found.releases for file in release.files]
        results = self._services.content.transfers.map(lambda file: attempt(lambda: self._content(file)), wanted)
        ended = {file.id: result for file, result in zip(wanted, results, strict=True)}
        stored = {file.id: self._with_content(file, ended[file.id]) for file in wanted}
        releases = tuple(
            msgspec.structs.replace(release, files=tuple(stored[file.id] for file in release.files))
            for release in self._found.releases
        )
        summary = self._put_list(releases, list(stored.values()))
        failed = [file for file in wanted if self._is_failure(file, ended[file.id])]
        if failed and isinstance(first := ended[failed[0].id], Failed):
            message = f"{len(failed)} of {len(wanted)} files could not be stored, the first {failed[0].name}"
            raise IncompleteError(f"{message}: {first.error}", first.stage, summary)
        return summary

    def _put_list(self, releases: tuple[Release, ...], files: list[ReleaseFile]) -> ReleasesSummary:
        """Write the list, none without releases, and log what is missing. Raises UploadError."""
        full_name, put = self._repository.full_name, None
        if releases:
            document = ReleaseList(full_name=full_name, releases=releases)
            put = self._services.archive.put_list(full_name, RELEASE_LIST, document.to_json())
        missing = [file for file in files if file.content is None]
        if missing:
            self._services.context.log.warning("release files missing", files=len(missing), error=missing[0].error)
        contents = [file.content for file in files if file.content]
        return ReleasesSummary(
            count=len(releases),
            files=len(contents),
            size_bytes=sum(content.size_bytes for content in contents),
            missing=len(missing),
            etag=self._found.etag,
            releases_sha256=self._found.sha256,
            backed_up_at=utc(self._services.context.started_at),
            list=put,
        )

    # -- one file --------------------------------------------------------------------------------

    def _with_content(self, file: ReleaseFile, result: StoredContent | Failed) -> ReleaseFile:
        """Return the file with its content, or with the reason why it has none."""
        if isinstance(result, Failed):
            words = self._services.context.redactor.clean(str(result.error))
            return msgspec.structs.replace(file, error=words or "no error text")
        return msgspec.structs.replace(file, content=result)

    def _is_failure(self, file: ReleaseFile, result: StoredContent | Failed) -> bool:
        """Return whether a file is missing that could be there. One that was never stored may have been deleted."""
        if not isinstance(result, Failed):
            return False
        known, error = self._last.get(file.id), result.error
        return bool(known and known.content) or not (isinstance(error, LinkError) and error.status in GONE)

    def _content(self, file: ReleaseFile) -> StoredContent:
        """Return the file's content, stored now unless it is there already. Raises what EXPECTED_ERRORS names."""
        return self._trusted_content(file) or self._stored_content(file)

    def _trusted_content(self, file: ReleaseFile) -> StoredContent | None:
        """Return the content that the last list names, if it need not be looked up and does not expire soon."""
        known = self._same_upload(file)
        return known if known and not self._afresh and not self._store.is_old(known) else None

    def _same_upload(self, file: ReleaseFile) -> StoredContent | None:
        """Return the content that the last list names, if it is that of the same upload."""
        known = self._last.get(file.id)
        if known is None or known.content is None:
            return None
        is_same = (known.updated_at, known.size_bytes) == (file.updated_at, file.size_bytes)
        return known.content if is_same and self._found.digests[file.id] in (None, known.content.oid) else None

    def _stored_content(self, file: ReleaseFile) -> StoredContent:
        """Store the file. Where nobody knows its SHA-256 yet, it is taken on the way over the disk."""
        known = self._same_upload(file)
        oid = self._found.digests[file.id] or (known.oid if known else None)
        if oid:
            return self._find_or_put(file, oid, lambda: self._open(file))
        needs = Reservation(file.size_bytes, 0)
        with self._services.capacity.reserve(needs), tempfile.TemporaryFile(dir=self._services.scratch) as spool:
            oid = self._download(file, spool)
            return self._find_or_put(file, oid, lambda: _rewound(spool))

    def _find_or_put(self, file: ReleaseFile, oid: str, open_blocks: OpenBlocks) -> StoredContent:
        owner = self._repository.owner
        found = self._store.find(owner, oid, file.size_bytes)
        return found or self._store.put(owner, oid, file.size_bytes, open_blocks)

    @contextlib.contextmanager
    def _open(self, file: ReleaseFile) -> Iterator[Iterator[bytes]]:
        github = self._services.github
        link = lambda: github.release_file_link(self._repository, file.id)  # noqa: E731
        with contextlib.closing(github.downloader.blocks(file.size_bytes, link)) as blocks:
            yield blocks

    def _download(self, file: ReleaseFile, spool: IO[bytes]) -> str:
        """Write the file to the disk, and return its SHA-256."""
        digest = hashlib.sha256()
        with self._open(file) as blocks:
            for block in blocks:
                digest.update(block)
                spool.write(block)
        return digest.hexdigest()


@contextlib.contextmanager
def _rewound(spool: IO[bytes]) -> Iterator[Iterator[bytes]]:
    spool.seek(0)
    yield iter(lambda: spool.read(BLOCK_SIZE), b"")
