"""The folder that repositories are fetched into: what goes where, finished or not."""

import contextlib
import fcntl
import hashlib
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from github_s3_backup.records.entry import Entry
from github_s3_backup.runtime.environment import ConfigurationError

Form = Literal["bundles", "mirrors", "clones"]
SUFFIXES: dict[Form, str] = {"bundles": ".bundle", "mirrors": ".git", "clones": ""}
# Unfinished downloads and repositories, on the same disk as the finished ones. Removed when empty.
PARTIAL_FOLDER = ".restoring"


@dataclass(frozen=True)
class Destination:
    """Where repositories are fetched to: an absolute path. `server_url`: the server of a clone's `origin`."""

    folder: Path
    form: Form
    server_url: str

    def path(self, entry: Entry) -> Path:
        """Return the path of the finished repository."""
        return self.folder / entry.owner / f"{entry.name}{SUFFIXES[self.form]}"

    def lfs_objects(self, entry: Entry) -> Path:
        """Return the folder of the repository's LFS objects: where git-lfs looks for them, if there is a repository."""
        if self.form == "bundles":
            return self.folder / entry.owner / f"{entry.name}@lfs" / "objects"
        return lfs_objects_in(self.git_dir(entry))

    def git_dir(self, entry: Entry) -> Path:
        """Return the git directory of the finished mirror or clone."""
        return self.path(entry) / ".git" if self.form == "clones" else self.path(entry)

    def releases(self, entry: Entry) -> Path:
        """Return the folder of the repository's releases. No repository's name has an @."""
        return self.folder / entry.owner / f"{entry.name}@releases"

    def issues(self, entry: Entry) -> Path:
        """Return the folder of the repository's issues, as pages."""
        return self.folder / entry.owner / f"{entry.name}@issues"

    def partial(self, entry: Entry, suffix: str) -> Path:
        """Return the path of something unfinished: the same each time, and nothing that a manifest could choose."""
        name = hashlib.sha256(entry.full_name.lower().encode()).hexdigest()[:32]
        return self.folder / PARTIAL_FOLDER / f"{name}{suffix}"

    def remove_partial_git(self, entry: Entry) -> None:
        """Remove what is unfinished of a repository's git data."""
        for suffix in (".bundle", ".bundle.part", ".changes.bundle", ".changes.bundle.part", ".git", ".clone"):
            _remove(self.partial(entry, suffix))

    def remove_partial(self, entry: Entry) -> None:
        """Remove everything unfinished of a repository and its wiki."""
        for part in (entry, entry.wiki) if entry.wiki else (entry,):
            for path in (self.folder / PARTIAL_FOLDER).glob(f"{self.partial(part, '').name}.*"):
                _remove(path)


def move_finished(path: Path, final: Path) -> None:
    """Move a finished file or repository to its final path, once it is on the disk and not only in memory."""
    final.parent.mkdir(parents=True, exist_ok=True)
    git_dir = path / ".git"
    for written in _files(git_dir if git_dir.is_dir() else path):
        _sync(written)
    path.rename(final)
    _sync(final.parent)


def _files(path: Path) -> Iterator[Path]:
    """Yield a file; or all files of a folder, and the folders."""
    yield path
    if path.is_dir():
        yield from (found for found in path.rglob("*") if not found.is_symlink())


def _sync(path: Path) -> None:
    file = os.open(path, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def lfs_objects_in(git_dir: Path) -> Path:
    """Return the folder in which git-lfs looks for a repository's objects."""
    return git_dir / "lfs" / "objects"


@contextlib.contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Let no other command work in the folder meanwhile. Raises ConfigurationError where one does.

    The lock is on the folder itself, and ends with the process. A file system without locks is used without one.
    """
    opened = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):
            try:
                fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise ConfigurationError([f"another command is working in {folder}: wait until it has ended"]) from None
        yield
    finally:
        os.close(opened)


def remove_partial_folder(folder: Path) -> None:
    """Remove the partial folder unless it holds something that the same command can continue."""
    with contextlib.suppress(OSError):
        (folder / PARTIAL_FOLDER).rmdir()


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
