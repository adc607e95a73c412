"""What may go wrong with one repository while the others go on."""

from github_s3_backup.git.process import GitError
from github_s3_backup.s3.download import DISK_FULL


class RestoreError(Exception):
    """A repository can't be restored."""


class UnbundleError(RestoreError):
    """The bundle is not the repository that the manifest describes."""


class FetchError(RestoreError):
    """Something else is where the repository should go."""


class PushError(RestoreError):
    """The target can't take the repository, or may not without --overwrite."""


def is_disk_full(error: Exception) -> bool:
    """Return whether the disk was full, which may pass when other repositories are done."""
    if isinstance(error, GitError):
        return error.disk_full
    return isinstance(error, OSError) and error.errno in DISK_FULL
