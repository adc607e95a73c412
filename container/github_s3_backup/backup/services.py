"""What one repository's backup needs, made once a run."""

from dataclasses import dataclass
from pathlib import Path

from github_s3_backup.backup.context import RunContext
from github_s3_backup.backup.last_backup import LastBackup
from github_s3_backup.capacity import Capacity
from github_s3_backup.git.process import Git
from github_s3_backup.github.client import GitHub
from github_s3_backup.s3.archive import Archive


@dataclass(frozen=True)
class Services:
    """GitHub, git, the bucket, and this machine's capacity."""

    github: GitHub
    git: Git
    git_version: str
    archive: Archive
    last_backup: LastBackup
    capacity: Capacity
    scratch: Path
    context: RunContext
