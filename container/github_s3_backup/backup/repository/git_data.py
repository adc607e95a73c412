"""What a run has stored of a repository's git data, and what it learned on the way."""

from concurrent.futures import Future
from dataclasses import dataclass, field

from github_s3_backup.git.lfs_pointers import Pointers
from github_s3_backup.git.refs import Refs
from github_s3_backup.git.served_refs import ServedRefs
from github_s3_backup.records.entry import Entry
from github_s3_backup.repository import Repository


@dataclass(frozen=True)
class GitData:
    """The repository under its present name, its entry, and the refs that GitHub serves.

    `pointers`: the LFS objects that its history points at. `known`: of a repository that did not change, what the last
    backup holds. `wiki_refs`: what GitHub was asked about the wiki meanwhile, None where it was not.
    """

    repository: Repository
    entry: Entry
    refs: Refs = field(default_factory=dict)
    pointers: Pointers = field(default_factory=dict)
    known: Entry | None = None
    wiki_refs: "Future[ServedRefs | None] | None" = None

    @property
    def has_tags(self) -> bool:
        return any(name.startswith(b"refs/tags/") for name in self.refs)
