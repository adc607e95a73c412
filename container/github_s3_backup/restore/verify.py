"""Proving that a backup restores: download, SHA-256, clone, fsck, every ref against the manifest."""

import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from github_s3_backup.disk import DiskFullError
from github_s3_backup.git.process import Git, GitError
from github_s3_backup.restore.room import Room
from github_s3_backup.restore.selection import Chosen
from github_s3_backup.restore.unbundle import UnbundleError, check_objects, make_mirror, read_refs
from github_s3_backup.s3.download import Bundles, DownloadError, OnBytes

VerifyStage = Literal["download", "checksum", "clone", "refs", "fsck"]


@dataclass(frozen=True)
class Verified:
    """How the proof of one repository ended. `seconds`: from the first byte to the last ref."""

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
    remarks: list[str] = field(default_factory=list)


@dataclass
class _Proof:
    stage: VerifyStage = "download"
    remarks: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Verify:
    """How to prove one repository, in a folder that is gone afterwards."""

    bundles: Bundles
    git: Git
    room: Room
    scratch: Path

    def verify(self, one: Chosen, on_bytes: OnBytes) -> Verified:
        """Restore one repository as far as it takes to know that it can be restored."""
        proof, begun = _Proof(), time.monotonic()
        error = None
        try:
            if one.entry.status != "empty":
                with self.room.reserve(one.entry.size_bytes):
                    begun = time.monotonic()
                    self._restore(one, proof, on_bytes)
        except DownloadError as fault:
            proof.stage, error = fault.stage, str(fault)
        except (UnbundleError, GitError, DiskFullError, OSError) as fault:
            error = str(fault)
        entry = one.entry
        return Verified(
            full_name=entry.full_name,
            id=entry.id,
            date=one.date,
            s3_key=entry.s3_key,
            version_id=entry.version_id,
            size_bytes=entry.size_bytes,
            ref_count=entry.ref_count,
            status="failed" if error else "verified",
            stage=proof.stage if error else None,
            error=error,
            seconds=round(time.monotonic() - begun, 3),
            remarks=proof.remarks,
        )

    def _restore(self, one: Chosen, proof: _Proof, on_bytes: OnBytes) -> None:
        bundle = self.scratch / f"{one.entry.id}.bundle"
        mirror = bundle.with_suffix(".git")
        try:
            self.bundles.download(one.entry, bundle, on_bytes)
            proof.stage = "refs"
            read_refs(bundle, one.entry)
            proof.stage = "clone"
            make_mirror(self.git, bundle, one.entry, mirror)
            proof.stage = "fsck"
            proof.remarks.extend(check_objects(self.git, mirror))
        finally:
            for path in self.scratch.glob(f"{one.entry.id}.bundle*"):
                path.unlink()
            shutil.rmtree(mirror, ignore_errors=True)
