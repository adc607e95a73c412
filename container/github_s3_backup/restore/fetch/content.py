"""Fetch what git alone does not hold: LFS objects to where git-lfs looks for them, and the files of releases."""

import contextlib
import shutil
from dataclasses import dataclass
from pathlib import Path

from structlog.typing import FilteringBoundLogger

from github_s3_backup.git.process import Git, GitError
from github_s3_backup.records.content import StoredContent
from github_s3_backup.records.entry import Entry
from github_s3_backup.restore.errors import FetchError
from github_s3_backup.restore.fetch.destination import Destination
from github_s3_backup.restore.lists import LIST, read_lfs_list, read_release_list, release_paths
from github_s3_backup.restore.workers import Reading
from github_s3_backup.s3.download import BucketReader, Stored, is_copy_of


@dataclass(frozen=True)
class Staging:
    """A folder for finished downloads, each under its SHA-256, that are moved to their places afterwards."""

    folder: Path

    def path(self, content: StoredContent) -> Path:
        return self.folder / content.oid

    def move_lfs_objects(self, objects: Path) -> bool:
        """Move all that is finished to where git-lfs looks for it. Return whether there was something."""
        finished = [path for path in self.folder.glob("*") if path.suffix != ".part"]
        for path in finished:
            place(path, lfs_path(objects, path.name))
        self.remove()
        return bool(finished)

    def remove(self) -> None:
        """Remove the folder unless it holds a download that can be continued."""
        with contextlib.suppress(OSError):
            self.folder.rmdir()


def lfs_path(objects: Path, oid: str) -> Path:
    """Return the path of an object as git-lfs has it."""
    return objects / oid[:2] / oid[2:4] / oid


def place(path: Path, final: Path) -> None:
    """Move a finished file to its final path."""
    final.parent.mkdir(parents=True, exist_ok=True)
    path.rename(final)


def stage_lfs_objects(entry: Entry, objects: Path, staging: Staging, reading: Reading) -> None:
    """Download the repository's LFS objects that are not in the folder `objects` yet.

    Raises ContentError, DownloadError, ListError and OSError; what could be downloaded is there all the same.
    """

    def stage(content: StoredContent) -> None:
        if _is_there(content, lfs_path(objects, content.oid)):
            reading.on_bytes(content.size_bytes)
        else:
            reading.reader.download(content, staging.path(content), reading.on_bytes)

    different = {content.oid: content for content in read_lfs_list(entry, reading.reader).objects}
    reading.pool.each(different.values(), stage, lambda content: content.oid)


def check_out_lfs_files(git: Git, clone: Path, final: Path, log: FilteringBoundLogger) -> None:
    """Replace the pointers in a clone's working tree by the files, from its own objects. Raises GitError.

    `final`: where the clone will be. Where git-lfs is not installed, say what to run.
    """
    try:
        git.run("lfs", "version")
    except GitError:
        commands = f"git -C {final} lfs install --local && git -C {final} lfs checkout"
        log.warning("git-lfs is not installed, the clone has pointers in place of files", commands=commands)
        return
    git.run("-C", str(clone), "lfs", "install", "--local")
    git.run("-C", str(clone), "lfs", "checkout")


def fetch_releases(entry: Entry, destination: Destination, reading: Reading) -> bool:
    """Fetch the list of the repository's releases, and their files. Return False if all of it is already there.

    Raises ContentError, DownloadError, ListError, FetchError and OSError.
    """
    if entry.releases is None or entry.releases.list is None:
        return False
    folder, staging = destination.releases(entry), Staging(destination.partial(entry, ".releases"))
    releases = read_release_list(entry, reading.reader)
    fresh = _fetch_list(entry, folder, destination.partial(entry, ".releases.json"), reading.reader)
    # Releases often have the same file: it is downloaded once.
    places: dict[str, tuple[StoredContent, list[Path]]] = {}
    for path, file in release_paths(releases):
        if file.content:
            places.setdefault(file.content.oid, (file.content, []))[1].append(Path(path))
    fetched: list[Path] = []

    def fetch(item: tuple[StoredContent, list[Path]]) -> None:
        content, paths = item
        missing = [folder / path for path in paths if not _is_there(content, folder / path)]
        if not missing:
            reading.on_bytes(content.size_bytes)
            return
        reading.reader.download(content, staging.path(content), reading.on_bytes)
        _place_copies(staging.path(content), missing)
        fetched.extend(missing)

    try:
        reading.pool.each(places.values(), fetch, lambda item: str(item[1][0]))
    finally:
        staging.remove()
    return fresh or bool(fetched)


def _place_copies(path: Path, finals: list[Path]) -> None:
    """Move a finished file to the first of its final paths, and copies of it to the others."""
    for final in finals[1:]:
        copy = path.with_suffix(".copy")
        shutil.copyfile(path, copy)
        place(copy, final)
    place(path, finals[0])


def _fetch_list(entry: Entry, folder: Path, partial: Path, reader: BucketReader) -> bool:
    """Fetch the list of releases, which marks the folder as theirs. Return False if it is already there."""
    assert entry.releases
    assert entry.releases.list
    path = folder / LIST
    if _is_there(entry.releases.list, path):
        return False
    if folder.exists():
        raise FetchError(f"{folder} already exists and is not the folder of these releases: move it away")
    reader.download(entry.releases.list, partial, lambda _: None)
    place(partial, path)
    return True


def _is_there(stored: Stored, path: Path) -> bool:
    """Return whether the file is at its final path. Raises FetchError if something else is."""
    if not (path.exists() or path.is_symlink()):
        return False
    if not is_copy_of(stored, path):
        raise FetchError(f"{path} already exists and is not what was stored: move it away")
    return True
