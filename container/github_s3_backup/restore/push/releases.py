"""Push releases: those that the target lacks by their tags, and the files that it lacks. The oldest come first."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from structlog.typing import FilteringBoundLogger

from github_s3_backup.git.refs import Refs
from github_s3_backup.github.release_writer import ExistingFile, ExistingRelease, ReleaseWriter, check_file
from github_s3_backup.github.transport.rest import GitHubError
from github_s3_backup.records.entry import Entry
from github_s3_backup.records.release_list import Release, ReleaseFile
from github_s3_backup.restore.errors import EXPECTED_ERRORS, PushError
from github_s3_backup.restore.lists import read_release_list
from github_s3_backup.restore.push.actions import Action
from github_s3_backup.restore.push.comparison import Push
from github_s3_backup.restore.workers import raise_failed
from github_s3_backup.runtime.units import format_bytes
from github_s3_backup.s3.download import BucketReader, OnBytes

COMMIT = re.compile(r"[0-9a-f]{40}")
# Tags that are named in a line.
SHOWN = 5


@dataclass(frozen=True)
class _Plan:
    """A release of the backup, the target's release, None if there is none, and the files that this lacks."""

    release: Release
    existing: ExistingRelease | None
    files: list[ReleaseFile]


@dataclass(frozen=True)
class ReleasePusher:
    """Pushes releases."""

    reader: BucketReader
    log: FilteringBoundLogger

    def actions(self, push: Push) -> list[Action]:
        """Return what brings the releases and files that the target lacks.

        Raises PushError if it can't take them, GitHubError, DownloadError and ListError.
        """
        writer = push.target.releases
        if writer is None or not _has_releases(push.entry):
            return []
        plans = self._plans(push, writer)
        size = sum(file.size_bytes for plan in plans for file in plan.files)
        says = tuple(_describe(plans, size))
        return (
            [Action(says, lambda on_bytes: self._push(push, plans, writer, on_bytes), size, "releases")] if says else []
        )

    def notes(self, push: Push) -> list[str]:
        """Return what is left out, in words."""
        without = push.target.releases is None and _has_releases(push.entry)
        return ["restore no releases: the target is not GitHub"] if without else []

    def _push(self, push: Push, plans: list[_Plan], writer: ReleaseWriter, on_bytes: OnBytes) -> None:
        """Create releases and upload files. Raises ContentError, PushError and GitError."""
        push.target.check()
        refs = push.remote.refs()
        failed: list[tuple[str, Exception]] = []
        for plan in plans:
            failed += self._push_one(plan, refs, writer, on_bytes)
        raise_failed(failed, sum(1 + len(plan.files) for plan in plans))

    def _push_one(
        self, plan: _Plan, refs: Refs, writer: ReleaseWriter, on_bytes: OnBytes
    ) -> Iterator[tuple[str, Exception]]:
        """Create a release if there is none, and upload its files. Yield what failed, with its name."""
        tag = plan.release.tag_name
        try:
            existing = plan.existing or _create(plan.release, refs, writer)
        except EXPECTED_ERRORS as error:
            yield tag, error
            return
        for file in plan.files:
            try:
                self._upload(existing, file, writer)
                on_bytes(file.size_bytes)
            except EXPECTED_ERRORS as error:
                yield f"{tag}/{file.name}", error

    def _upload(self, release: ExistingRelease, file: ReleaseFile, writer: ReleaseWriter) -> None:
        assert file.content
        present = release.files.get(file.name)
        if present and present.is_whole:
            check_file(present, file)
        elif present:
            writer.remove_unfinished(present)
        self.reader.send(file.content, lambda body: writer.upload(release, file, body))

    def _plans(self, push: Push, writer: ReleaseWriter) -> list[_Plan]:
        """Return what is to be done, the oldest release first. Raises PushError if the target can't take it."""
        existing = writer.existing() if push.target.existing else []
        releases = read_release_list(push.entry, self.reader).releases
        plans = [_plan(release, _take(existing, release)) for release in reversed(releases)]
        plans = [plan for plan in plans if plan.existing is None or plan.files]
        if plans and push.target.existing and push.target.existing.archived:
            raise PushError(f"{push.target.url} is archived and lacks releases or files of them: unarchive it first")
        return plans


def _describe(plans: list[_Plan], size: int) -> Iterator[str]:
    if new := [plan.release.tag_name for plan in plans if plan.existing is None]:
        yield f"create {len(new)} releases: {', '.join(new[:SHOWN])}{', ...' if len(new) > SHOWN else ''}"
    if files := sum(len(plan.files) for plan in plans):
        yield f"upload {files} files of releases ({format_bytes(size)})"


def _has_releases(entry: Entry) -> bool:
    return entry.releases is not None and entry.releases.list is not None


def _take(existing: list[ExistingRelease], release: Release) -> ExistingRelease | None:
    """Remove the target's release with this tag from the list and return it; of several drafts the one of this name."""
    same_tag = [item for item in existing if item.tag_name == release.tag_name]
    same_name = [item for item in same_tag if (item.draft, item.name) == (release.draft, release.name)]
    found = next(iter((*same_name, *same_tag)), None)
    if found:
        existing.remove(found)
    return found


def _plan(release: Release, existing: ExistingRelease | None) -> _Plan:
    present = existing.files if existing else {}
    stored = [file for file in release.files if file.content]
    return _Plan(release, existing, [file for file in stored if not _is_there(present.get(file.name), file)])


def _is_there(present: ExistingFile | None, file: ReleaseFile) -> bool:
    return present is not None and present.is_copy_of(file)


def _create(release: Release, refs: Refs, writer: ReleaseWriter) -> ExistingRelease:
    """Create a release. Raises GitHubError."""
    has_tag = f"refs/tags/{release.tag_name}".encode() in refs
    if not has_tag and not release.draft:  # GitHub would make the tag, of another commit
        raise GitHubError("its tag is not in the repository")
    commit = release.target_commitish
    is_known = f"refs/heads/{commit}".encode() in refs or COMMIT.fullmatch(commit)
    return writer.create(release, with_commit=bool(is_known and not has_tag))
