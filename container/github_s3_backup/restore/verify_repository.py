"""Verify that a backup restores: download, SHA-256, refs, clone, fsck."""

import contextlib
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from github_s3_backup.capacity import Capacity, DiskFullError, restore_reservation
from github_s3_backup.git.process import Git, GitError
from github_s3_backup.manifest import Entry
from github_s3_backup.restore.errors import RestoreError, UnbundleError
from github_s3_backup.restore.selection import Selected
from github_s3_backup.restore.unbundle import check_objects, make_mirror, read_refs
from github_s3_backup.s3.download import Downloader, DownloadError, OnBytes

VerifyStage = Literal["download", "checksum", "clone", "refs", "fsck"]


class VerifyError(RestoreError):
    """The backup does not restore; `stage` says how far it got."""

    def __init__(self, stage: VerifyStage, message: str) -> None:
        super().__init__(message)
        self.stage = stage


@dataclass(frozen=True)
class Verified:
    """The result for one repository. `seconds`: from the first byte to the last ref."""

    full_name: str
    id: int
    date: str
    s3_key: str | None
    version_id: str | None
    size_bytes: int
    ref_count: int
    status: Literal["verified", "failed"]
    stage: VerifyStage | None
    error: str | None
    seconds: float
    remarks: list[str]


def verify_repository(
    selected: Selected, downloader: Downloader, git: Git, capacity: Capacity, scratch: Path, on_bytes: OnBytes
) -> Verified:
    """Restore one repository into `scratch`, remove it again, and return what came of it."""
    remarks: list[str] = []
    failure = None
    started = time.monotonic()
    try:
        if selected.entry.status != "empty":
            with _stage("download"), capacity.reserve(restore_reservation(selected.entry.size_bytes)):
                started = time.monotonic()
                remarks = _restore(selected.entry, downloader, git, scratch, on_bytes)
    except VerifyError as error:
        failure = error
    return _result(selected, failure, remarks, time.monotonic() - started)


def _restore(entry: Entry, downloader: Downloader, git: Git, scratch: Path, on_bytes: OnBytes) -> list[str]:
    """Restore one repository and return fsck's remarks. Raises VerifyError."""
    bundle = scratch / f"{entry.id}.bundle"
    mirror = bundle.with_suffix(".git")
    try:
        with _stage("download"):
            downloader.download(entry, bundle, on_bytes)
        with _stage("refs"):
            read_refs(bundle, entry)
        with _stage("clone"):
            make_mirror(git, bundle, entry, mirror)
        with _stage("fsck"):
            return check_objects(git, mirror)
    finally:
        for path in scratch.glob(f"{entry.id}.bundle*"):
            path.unlink()
        shutil.rmtree(mirror, ignore_errors=True)


@contextlib.contextmanager
def _stage(stage: VerifyStage) -> Iterator[None]:
    """Raise an expected error in this block as the stage's VerifyError."""
    try:
        yield
    except DownloadError as error:
        raise VerifyError(error.stage, str(error)) from None
    except (UnbundleError, GitError, DiskFullError, OSError) as error:
        raise VerifyError(stage, str(error)) from None


def _result(selected: Selected, failure: VerifyError | None, remarks: list[str], seconds: float) -> Verified:
    entry = selected.entry
    return Verified(
        full_name=entry.full_name,
        id=entry.id,
        date=selected.date,
        s3_key=entry.s3_key,
        version_id=entry.version_id,
        size_bytes=entry.size_bytes,
        ref_count=entry.ref_count,
        status="failed" if failure else "verified",
        stage=failure.stage if failure else None,
        error=str(failure) if failure else None,
        seconds=round(seconds, 3),
        remarks=remarks,
    )
