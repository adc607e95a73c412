"""What one repository's backup needs, made once a task."""

from dataclasses import dataclass, replace
from pathlib import Path

from github_s3_backup.backup.context import RunContext
from github_s3_backup.backup.plan.last_backup import LastBackup
from github_s3_backup.backup.plan.records import Shard
from github_s3_backup.backup.repository.transfers import Transfers
from github_s3_backup.git.process import Git
from github_s3_backup.github.client import GitHub
from github_s3_backup.records.content import Kind
from github_s3_backup.runtime.capacity import Capacity
from github_s3_backup.s3.archive import Archive
from github_s3_backup.s3.content_store import ContentStore
from github_s3_backup.s3.upload import Uploader


@dataclass(frozen=True)
class Content:
    """What it takes to store content beside git, and which kinds of it are wanted."""

    wanted: frozenset[Kind]
    lfs: ContentStore
    releases: ContentStore
    transfers: Transfers


@dataclass(frozen=True)
class Services:
    """GitHub, git, the bucket, and this machine's capacity."""

    github: GitHub
    git: Git
    archive: Archive
    uploader: Uploader
    content: Content
    last_backup: LastBackup
    capacity: Capacity
    scratch: Path
    context: RunContext

    def knowing(self, shard: Shard) -> "Services":
        """Return the same, with what the last backup holds of a shard's repositories."""
        return replace(self, last_backup=self.last_backup.holding(shard.known, shard.failed))
