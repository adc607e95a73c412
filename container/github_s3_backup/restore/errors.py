"""What may go wrong with one repository while the others go on."""

import contextlib
from collections.abc import Iterator
from typing import Literal

from github_s3_backup.git.process import GitError
from github_s3_backup.github.transport.links import LinkError
from github_s3_backup.github.transport.rest import GitHubError
from github_s3_backup.records.content import ListError
from github_s3_backup.runtime.capacity import DiskFullError
from github_s3_backup.s3.download import DISK_FULL, DownloadError


class RestoreError(Exception):
    """A repository can't be restored."""


class UnbundleError(RestoreError):
    """The bundle is not the repository that the manifest describes. `stage`: where that was seen."""

    def __init__(self, message: str, stage: Literal["refs", "clone", "fsck"] = "refs") -> None:
        super().__init__(message)
        self.stage = stage


class FetchError(RestoreError):
    """Something else is where the repository should go."""


class PushError(RestoreError):
    """The target can't take the repository, or may not without --overwrite."""


class ContentError(RestoreError):
    """Some LFS objects or release files can't be restored."""


class PartsError(RestoreError):
    """Parts of a repository can't be restored; the others are."""


# What may go wrong with one repository. Anything else is a bug.
EXPECTED_ERRORS = (DownloadError, ListError, RestoreError, GitError, GitHubError, LinkError, DiskFullError, OSError)


class Parts:
    """The parts of one repository: git data, LFS objects, and so on. One that fails does not stop the others."""

    def __init__(self) -> None:
        self.errors: list[str] = []

    @contextlib.contextmanager
    def part(self, name: str = "") -> Iterator[None]:
        """Keep an expected error in this block under the part's name. A full disk concerns the whole repository."""
        try:
            yield
        except EXPECTED_ERRORS as error:
            if is_disk_full(error):
                raise
            self.errors.append(f"{name}: {error}" if name else str(error))

    def check(self) -> None:
        """Raise PartsError if a part failed."""
        if self.errors:
            raise PartsError("; ".join(self.errors))


def is_disk_full(error: Exception) -> bool:
    """Return whether the disk was full, which may pass when other repositories are done."""
    if isinstance(error, GitError):
        return error.disk_full
    return isinstance(error, OSError) and error.errno in DISK_FULL
