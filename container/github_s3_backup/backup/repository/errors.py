"""What may go wrong with one repository while the run goes on."""

from typing import Any

from github_s3_backup.git.bundle import BundleError
from github_s3_backup.git.process import GitError
from github_s3_backup.github.links import LinkError
from github_s3_backup.github.rest import GitHubError
from github_s3_backup.records.content import ListError
from github_s3_backup.records.manifest import Stage
from github_s3_backup.runtime.capacity import DiskFullError
from github_s3_backup.s3.content_store import WrongContentError
from github_s3_backup.s3.errors import S3Error


class ContentError(Exception):
    """Something beside the git data could not be stored."""


class IncompleteError(ContentError):
    """A part was stored, but not all of it. `summary`: what the entry says of it."""

    def __init__(self, stage: Stage, message: str, summary: Any) -> None:
        super().__init__(message)
        self.stage, self.summary = stage, summary


# Errors that fail one repository and not the run. Anything else is a bug.
EXPECTED_ERRORS = (
    *(GitError, GitHubError, BundleError, S3Error, DiskFullError, OSError),
    *(LinkError, WrongContentError, ListError, ContentError),
)
