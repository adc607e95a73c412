"""Push releases: those that the target lacks by their tags, and the files that it lacks. The oldest come first."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from structlog.typing import FilteringBoundLogger

from github_s3_backup.git.refs import Refs
from github_s3_backup.github.release_writer import ExistingFile, ExistingRelease, ReleaseWriter, check_file
from github_s3_backup.github.rest import GitHubError
from github_s3_backup.records.manifest import Entry
from github_s3_backup.records.release_list import Release, ReleaseFile
from github_s3_backup.restore.errors import EXPECTED_ERRORS, PushError
from github_s3_backup.restore.lists import read_release_list
from github_s3_backup.restore.push.git import Push
from github_s3_backup.restore.push.target import Target
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


class ReleasePusher:
    """Pushes releases to one target."""

    def __init__(self, reader: BucketReader, target: Target, log: FilteringBoundLogger) -> None:
        self._reader, self._target, self._log = reader, target, log

    def describe(self, push: Push) -> list[str]:
        """Return what `push` would do, a line each. Raises as `push` does."""
        if not _has_releases(push.entry):
            return []
        if self._target.releases is None:
            return ["restore no releases: this is no GitHub"]
        plans = self._plans(push, self._target.releases)
        lines, new = [], [plan.release.tag_name for plan in plans if plan.existing is None]
        if new:
            lines.append(f"create {len(new)} releases: {', '.join(new[:SHOWN])}{', ...' if len(new) > SHOWN else ''}")
        if files := [file for plan in plans for file in plan.files]:
            size = format_bytes(sum(file.size_bytes for file in files))
            lines.append(f"upload {len(files)} files of releases ({size})")
        return lines

    def push(self, push: Push, on_bytes: OnBytes) -> bool:
        """Create the releases and upload the files that the target lacks. Return False if it lacks nothing.

        Raises ContentError, PushError, GitHubError, DownloadError and ListError.
        """
        entry, writer = push.entry, self._target.releases
        if not _has_releases(entry):
            return False
        if writer is None:
            assert entry.releases
            self._log.warning("releases not restored, only GitHub has them", releases=entry.releases.count)
            return False
        plans = self._plans(push, writer)
        if entry.releases:
            on_bytes(entry.releases.size_bytes - sum(file.size_bytes for plan in plans for file in plan.files))
        refs = push.remote.refs() if plans else {}
        failed: list[tuple[str, Exception]] = []
        for plan in plans:
            failed += self._push_one(push, plan, refs, writer, on_bytes)
        raise_failed(failed, sum(1 + len(plan.files) for plan in plans))
        return bool(plans)

    def _push_one(
        self, push: Push, plan: _Plan, refs: Refs, writer: ReleaseWriter, on_bytes: OnBytes
    ) -> Iterator[tuple[str, Exception]]:
        """Create a release if there is none, and upload its files. Yield what failed, with its name."""
        owner, name, tag = push.owner, push.entry.name, plan.release.tag_name
        try:
            existing = plan.existing or _create(push, plan.release, refs, writer)
        except EXPECTED_ERRORS as error:
            yield tag, error
            return
        for file in plan.files:
            assert file.content
            try:
                present = existing.files.get(file.name)
                if present and present.is_whole:
                    check_file(present, file)
                elif present:
                    writer.remove_unfinished(owner, name, present)
                self._reader.send(
                    file.content,
                    lambda body: writer.upload(owner, name, existing, file, body),  # noqa: B023
                )
                on_bytes(file.size_bytes)
            except EXPECTED_ERRORS as error:
                yield f"{tag}/{file.name}", error

    def _plans(self, push: Push, writer: ReleaseWriter) -> list[_Plan]:
        """Return what is to be done, the oldest release first. Raises PushError if the target can't take it."""
        existing = writer.existing(push.owner, push.entry.name) if push.existing else []
        releases = read_release_list(push.entry, self._reader).releases
        plans = [_plan(release, _take(existing, release)) for release in reversed(releases)]
        plans = [plan for plan in plans if plan.existing is None or plan.files]
        if plans and push.existing and push.existing.archived:
            raise PushError(f"{push.remote.url} is archived and lacks releases or files of them: unarchive it first")
        return plans


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


def _create(push: Push, release: Release, refs: Refs, writer: ReleaseWriter) -> ExistingRelease:
    """Create a release. Raises GitHubError."""
    has_tag = f"refs/tags/{release.tag_name}".encode() in refs
    if not has_tag and not release.draft:  # GitHub would make the tag, of another commit
        raise GitHubError("its tag is not in the repository")
    commit = release.target_commitish
    is_known = f"refs/heads/{commit}".encode() in refs or COMMIT.fullmatch(commit)
    return writer.create(push.owner, push.entry.name, release, with_commit=bool(is_known and not has_tag))
