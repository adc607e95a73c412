"""Verify that a backup restores: download, SHA-256, refs, clone, fsck; and all that git alone does not hold."""

import contextlib
import tempfile
import time
from collections.abc import Iterator, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from github_s3_backup.git.lfs_pointers import find_pointers
from github_s3_backup.git.mirror import local_refs
from github_s3_backup.records.entry import Entry
from github_s3_backup.restore.errors import EXPECTED_ERRORS, RestoreError, UnbundleError, is_disk_full
from github_s3_backup.restore.selection.older import BROKEN, OlderBundles, missing_at
from github_s3_backup.restore.selection.records import Selected
from github_s3_backup.restore.unbundle import MirrorSource, check_objects, replacements
from github_s3_backup.restore.verify.content import Proven, verify_lfs_objects, verify_releases
from github_s3_backup.restore.verify.issues import verify_issues
from github_s3_backup.restore.workers import Pool, Reading
from github_s3_backup.runtime.capacity import Capacity, restore_reservation
from github_s3_backup.s3.download import DownloadError, OnBytes

VerifyStage = Literal["download", "checksum", "clone", "refs", "fsck", "lfs", "releases", "issues", "wiki"]


class VerifyError(RestoreError):
    """The backup does not restore; `stage` says how far it got, or which part it is. `reason`: what was raised."""

    def __init__(self, stage: VerifyStage, message: str, reason: Exception | None = None) -> None:
        super().__init__(message)
        self.stage, self.reason = stage, reason


@dataclass(frozen=True)
class Verified:
    """The result for one repository. `seconds`: from the first byte to the last.

    `size_bytes` is that of the bundles; `content_bytes` are those of the wiki, the LFS objects, the releases' files and
    the list of issues that were proven.
    """

    full_name: str
    id: int
    date: str
    s3_key: str | None
    version_id: str | None
    size_bytes: int
    ref_count: int
    wikis: int
    lfs_objects: int
    release_files: int
    issues: int
    content_bytes: int
    status: Literal["verified", "failed"]
    stage: VerifyStage | None
    error: str | None
    seconds: float
    remarks: list[str]


class Verifier:
    """Restores repositories into `scratch`, and removes them again."""

    def __init__(
        self, source: MirrorSource, older: OlderBundles, capacity: Capacity, pool: Pool, scratch: Path
    ) -> None:
        self._source, self._older, self._capacity = source, older, capacity
        self._pool, self._scratch = pool, scratch

    def verify(self, selected: Selected, on_bytes: OnBytes) -> Verified:
        """Verify one repository with its LFS objects, releases, issues and wiki, each though others fail."""
        verification = _Verification(selected)
        entry, pointers, proven = selected.entry, None, verification.proven
        reading = Reading(self._source.reader, self._pool, on_bytes)
        with verification.part(), self._reserve(entry), verification.timed():
            pointers = self._restore(entry, on_bytes, verification.remarks)
        with verification.timed():
            with verification.part(), _stage("lfs"):
                verify_lfs_objects(entry, pointers, reading, proven)
            with verification.part(), _stage("releases"):
                verify_releases(entry, reading, proven)
            with verification.part(), _stage("issues"):
                verify_issues(entry, reading, proven, self._scratch)
        if entry.wiki and entry.wiki.status != "gone":
            with verification.part(), _stage("wiki"), self._reserve(entry.wiki), verification.timed():
                self._restore(entry.wiki, on_bytes, verification.remarks)
                proven.add(entry.wiki.restore_bytes, wikis=1)
        return verification.result()

    @contextlib.contextmanager
    def _reserve(self, entry: Entry) -> Iterator[None]:
        with contextlib.ExitStack() as stack:
            with _stage("download"):
                stack.enter_context(self._capacity.reserve(restore_reservation(entry.restore_bytes)))
            yield

    def _restore(self, entry: Entry, on_bytes: OnBytes, remarks: list[str]) -> Set[str] | None:
        """Restore a repository and return the LFS objects that it points at. Raises VerifyError."""
        if entry.status == "empty":
            return None
        with tempfile.TemporaryDirectory(dir=self._scratch, ignore_cleanup_errors=True) as name:
            mirror = Path(name) / "mirror.git"
            try:
                with _stage("clone"):
                    remarks += self._prove(entry, mirror, on_bytes)
            except VerifyError as error:
                raise VerifyError(error.stage, f"{error}{self._instead(entry, error.reason, mirror)}") from None
            with _stage("lfs"):
                return find_pointers(self._source.git, mirror).keys() if entry.lfs else None

    def _prove(self, entry: Entry, mirror: Path, on_bytes: OnBytes) -> list[str]:
        """Make the mirror, and return remarks on its objects and refs. Raises as MirrorSource does."""
        git = self._source.git
        self._source.make(entry, mirror, on_bytes)
        return [*check_objects(git, mirror), *replacements(local_refs(git, mirror))]

    def _instead(self, entry: Entry, broken: Exception | None, mirror: Path) -> str:
        """Return what restores in place of bundles that can't be used, in words."""
        if not isinstance(broken, BROKEN) or is_disk_full(broken):
            return ""

        def prove(older: Entry) -> None:
            self._prove(older, mirror, lambda _: None)

        try:
            older = self._older.use(entry, broken, prove, missing_at(mirror.with_suffix(".bundle")))
        except BROKEN:
            return ". No older backup of it restores"
        return f". The backup of {older.backed_up_at} restores"


class _Verification:
    """One repository's verification on its way."""

    def __init__(self, selected: Selected) -> None:
        self._selected = selected
        self._errors: list[VerifyError] = []
        self._seconds = 0.0
        self.proven, self.remarks = Proven(), list[str]()

    @contextlib.contextmanager
    def part(self) -> Iterator[None]:
        """Keep a VerifyError in this block, so that the other parts are verified too."""
        try:
            yield
        except VerifyError as error:
            self._errors.append(error)

    @contextlib.contextmanager
    def timed(self) -> Iterator[None]:
        """Count the seconds of this block: the wait for disk and memory is not in them."""
        started = time.monotonic()
        try:
            yield
        finally:
            self._seconds += time.monotonic() - started

    def result(self) -> Verified:
        entry, errors = self._selected.entry, self._errors
        return Verified(
            full_name=entry.full_name,
            id=entry.id,
            date=self._selected.date,
            s3_key=entry.s3_key,
            version_id=entry.version_id,
            size_bytes=entry.restore_bytes,
            ref_count=entry.ref_count,
            wikis=self.proven.wikis,
            lfs_objects=self.proven.lfs_objects,
            release_files=self.proven.release_files,
            issues=self.proven.issues,
            content_bytes=self.proven.size_bytes,
            status="failed" if errors else "verified",
            stage=errors[0].stage if errors else None,
            error=_joined(errors) if errors else None,
            seconds=round(self._seconds, 3),
            remarks=self.remarks,
        )


def _joined(errors: list[VerifyError]) -> str:
    """Return all errors; the stage of the first is known from the report."""
    first, *others = errors
    return "; ".join([str(first), *(f"{error.stage}: {error}" for error in others)])


@contextlib.contextmanager
def _stage(stage: VerifyStage) -> Iterator[None]:
    """Raise an expected error in this block as the stage's VerifyError."""
    try:
        yield
    except VerifyError as error:
        raise VerifyError(stage, f"{error.stage}: {error}") from None
    except (DownloadError, UnbundleError) as error:
        raise VerifyError(error.stage if stage == "clone" else stage, str(error), error) from None
    except EXPECTED_ERRORS as error:
        raise VerifyError(stage, str(error), error) from None
