"""Push LFS objects, from S3 to where the target's LFS server wants them. What it has already is not sent."""

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from github_s3_backup.github.lfs import BATCH_SIZE, LfsAnswer, Operation
from github_s3_backup.github.transport.uploads import LfsUploader
from github_s3_backup.records.content import StoredContent
from github_s3_backup.records.entry import Entry
from github_s3_backup.restore.errors import PushError
from github_s3_backup.restore.lists import read_lfs_list
from github_s3_backup.restore.push.actions import Action
from github_s3_backup.restore.push.targets.base import TargetRepository
from github_s3_backup.restore.workers import Pool
from github_s3_backup.runtime.units import format_bytes
from github_s3_backup.s3.download import BucketReader, OnBytes


@dataclass(frozen=True)
class LfsPusher:
    """Pushes LFS objects."""

    reader: BucketReader
    pool: Pool
    uploader: LfsUploader

    def actions(self, entry: Entry, target: TargetRepository) -> list[Action]:
        """Return the upload of the objects that the target lacks.

        Raises PushError if it can't take them, GitHubError, DownloadError and ListError.
        """
        missing = self._missing(entry, target)
        if not missing:
            return []
        size = sum(content.size_bytes for content in missing)
        says = (f"upload {len(missing)} LFS objects ({format_bytes(size)})",)
        return [Action(says, lambda on_bytes: self._upload(target, missing, on_bytes), size, "Git LFS")]

    def _upload(self, target: TargetRepository, missing: Sequence[StoredContent], on_bytes: OnBytes) -> None:
        """Upload objects. Raises ContentError, GitHubError, LinkError and DownloadError."""
        target.check()
        answers = _Answers(target, missing)
        answers.first(missing[0].oid)  # where the server refuses all of them, say it once

        def upload(content: StoredContent) -> None:
            new_answers = answers.answers(content)
            self.reader.send(
                content,
                lambda body: self.uploader.upload(content.oid, content.size_bytes, body, lambda: next(new_answers)),
            )
            on_bytes(content.size_bytes)

        self.pool.each(missing, upload, lambda content: content.oid)

    def _missing(self, entry: Entry, target: TargetRepository) -> list[StoredContent]:
        """Return the objects that the target does not have."""
        objects = {content.oid: content for content in read_lfs_list(entry, self.reader).objects}
        if target.existing is None:
            return list(objects.values())
        missing: list[StoredContent] = []
        for batch in _batches(list(objects.values())):
            answers = _ask(target, "download", batch)
            missing += [content for content in batch if "download" not in answers[content.oid].links]
        if missing and target.existing.archived:
            raise PushError(f"{target.url} is archived and lacks {len(missing)} LFS objects: unarchive it first")
        return missing


class _Answers:
    """What the LFS server says of the objects to upload, asked in batches as they are needed."""

    def __init__(self, target: TargetRepository, contents: Sequence[StoredContent]) -> None:
        self._target = target
        self._batches = {content.oid: batch for batch in _batches(contents) for content in batch}
        self._known: dict[str, LfsAnswer] = {}
        self._lock = threading.Lock()

    def first(self, oid: str) -> LfsAnswer:
        """Return the answer about an object; the first one to ask asks for its whole batch. Raises GitHubError."""
        with self._lock:
            if oid not in self._known:
                self._known |= _ask(self._target, "upload", self._batches[oid])
            return self._known[oid]

    def answers(self, content: StoredContent) -> Iterator[LfsAnswer]:
        """Yield answers about an object, each with new links."""
        yield self.first(content.oid)
        while True:
            yield _ask(self._target, "upload", [content])[content.oid]


def _ask(target: TargetRepository, operation: Operation, batch: Sequence[StoredContent]) -> dict[str, LfsAnswer]:
    return target.ask_lfs(operation, {content.oid: content.size_bytes for content in batch})


def _batches(contents: Sequence[StoredContent]) -> Iterator[list[StoredContent]]:
    rest = iter(contents)
    while batch := list(islice(rest, BATCH_SIZE)):
        yield batch
