"""Push LFS objects, from S3 to where the target's LFS server wants them. What it has already is not sent."""

import threading
from collections.abc import Iterator, Sequence
from itertools import islice

from github_s3_backup.github.lfs import BATCH_SIZE, LfsAnswer, Operation
from github_s3_backup.github.uploads import LfsUploader
from github_s3_backup.records.content import StoredContent
from github_s3_backup.records.manifest import Entry
from github_s3_backup.restore.errors import PushError
from github_s3_backup.restore.lists import read_lfs_list
from github_s3_backup.restore.push.target import Existing, Target
from github_s3_backup.restore.workers import Pool
from github_s3_backup.runtime.units import format_bytes
from github_s3_backup.s3.download import BucketReader, OnBytes


class LfsPusher:
    """Pushes LFS objects to one target."""

    def __init__(self, reader: BucketReader, target: Target, pool: Pool, uploader: LfsUploader) -> None:
        self._reader, self._target, self._pool, self._uploader = reader, target, pool, uploader

    def describe(self, entry: Entry, owner: str, existing: Existing | None) -> list[str]:
        """Return what `push` would do, a line each. Raises as `push` does."""
        missing = self._missing(entry, owner, existing)
        size = format_bytes(sum(content.size_bytes for content in missing))
        return [f"upload {len(missing)} LFS objects ({size})"] if missing else []

    def push(self, entry: Entry, owner: str, existing: Existing | None, on_bytes: OnBytes) -> bool:
        """Upload the objects that the target lacks. Return False if it lacks none.

        Raises ContentError, PushError, GitHubError, LinkError, DownloadError and ListError.
        """
        missing = self._missing(entry, owner, existing)
        if entry.lfs:
            on_bytes(entry.lfs.size_bytes - sum(content.size_bytes for content in missing))
        if not missing:
            return False
        answers = _Answers(self._target, owner, entry.name, missing)
        answers.first(missing[0].oid)  # where the server refuses all of them, say it once

        def upload(content: StoredContent) -> None:
            new_answers = answers.answers(content)
            self._reader.send(
                content,
                lambda body: self._uploader.upload(content.oid, content.size_bytes, body, lambda: next(new_answers)),
            )
            on_bytes(content.size_bytes)

        self._pool.each(missing, upload, lambda content: content.oid)
        return True

    def _missing(self, entry: Entry, owner: str, existing: Existing | None) -> list[StoredContent]:
        """Return the objects that the target does not have. Raises PushError if it can't take them."""
        objects = {content.oid: content for content in read_lfs_list(entry, self._reader).objects}
        if existing is None:
            return list(objects.values())
        missing: list[StoredContent] = []
        for batch in _batches(list(objects.values())):
            answers = _ask(self._target, owner, entry.name, "download", batch)
            missing += [content for content in batch if "download" not in answers[content.oid].links]
        if missing and existing.archived:
            url = self._target.url(owner, entry.name)
            raise PushError(f"{url} is archived and lacks {len(missing)} LFS objects: unarchive it first")
        return missing


class _Answers:
    """What the LFS server says of the objects to upload, asked in batches as they are needed."""

    def __init__(self, target: Target, owner: str, name: str, contents: Sequence[StoredContent]) -> None:
        self._target, self._owner, self._name = target, owner, name
        self._batches = {content.oid: batch for batch in _batches(contents) for content in batch}
        self._known: dict[str, LfsAnswer] = {}
        self._lock = threading.Lock()

    def first(self, oid: str) -> LfsAnswer:
        """Return the answer about an object; the first one to ask asks for its whole batch. Raises GitHubError."""
        with self._lock:
            if oid not in self._known:
                self._known |= _ask(self._target, self._owner, self._name, "upload", self._batches[oid])
            return self._known[oid]

    def answers(self, content: StoredContent) -> Iterator[LfsAnswer]:
        """Yield answers about an object, each with new links."""
        yield self.first(content.oid)
        while True:
            yield _ask(self._target, self._owner, self._name, "upload", [content])[content.oid]


def _ask(
    target: Target, owner: str, name: str, operation: Operation, batch: Sequence[StoredContent]
) -> dict[str, LfsAnswer]:
    return target.ask_lfs(owner, name, operation, {content.oid: content.size_bytes for content in batch})


def _batches(contents: Sequence[StoredContent]) -> Iterator[list[StoredContent]]:
    rest = iter(contents)
    while batch := list(islice(rest, BATCH_SIZE)):
        yield batch
