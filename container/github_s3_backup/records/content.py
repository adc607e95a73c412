"""What a manifest says of a repository besides its git data: LFS objects, releases, issues, and what GitHub refused."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from github_s3_backup.records.json_fields import Count, Moment, Sha256, Text, Words
from github_s3_backup.records.stored_object import StoredObject

IssueKind = Literal["issues", "pull_requests", "discussions"]
Kind = Literal["wiki", "lfs", "releases", "issues", "pull_requests", "discussions"]
ISSUE_KINDS: tuple[IssueKind, ...] = ("issues", "pull_requests", "discussions")


class ListError(Exception):
    """The file is not the list that the manifest names."""


class StoredContent(msgspec.Struct, frozen=True, kw_only=True):
    """A file that is stored once by its content. `oid`: the SHA-256 of its bytes, in hex."""

    oid: Sha256
    size_bytes: Count
    s3_key: Text
    version_id: Text | None
    stored_at: Annotated[Moment, Meta(description="When the object was written. S3 expires it by its age")]

    @property
    def sha256(self) -> str:
        return self.oid


class LfsSummary(msgspec.Struct, frozen=True, kw_only=True):
    """The LFS objects that the repository's refs point at, in all of its history."""

    objects: Annotated[int, Meta(ge=0, description="Number of objects that are stored")]
    size_bytes: Annotated[int, Meta(ge=0, description="Their size")]
    missing: Annotated[int, Meta(ge=0, description="Number of objects that the LFS server does not have")]
    list: Annotated[StoredObject | None, Meta(description="The list of them, a JSON file; null without any")]


class ReleasesSummary(msgspec.Struct, frozen=True, kw_only=True):
    """The repository's releases and their files."""

    count: Annotated[int, Meta(ge=0, description="Number of releases")]
    files: Annotated[int, Meta(ge=0, description="Number of their files that are stored")]
    size_bytes: Annotated[int, Meta(ge=0, description="Their size")]
    missing: Annotated[int, Meta(ge=0, description="Number of files that GitHub did not have any more")]
    etag: Annotated[str | None, Meta(description="GitHub's ETag of the first page")]
    releases_sha256: Annotated[
        Sha256, Meta(description="SHA-256 of what GitHub said of them, download counts left out")
    ]
    backed_up_at: Annotated[Moment, Meta(description="When the list was made")]
    list: Annotated[StoredObject | None, Meta(description="The releases, a JSON file; null without any")]


class IssueCount(msgspec.Struct, frozen=True, kw_only=True):
    """How many issues, pull requests or discussions a repository has, and how many of them are stored."""

    total: Annotated[int, Meta(ge=0, description="Number that GitHub has")]
    stored: Annotated[int, Meta(ge=0, description="Number that is in the list")]
    updated_at: Annotated[
        Text | None, Meta(description="Changes up to this moment are in the list; null: none was read yet")
    ]
    complete: Annotated[bool, Meta(description="False: the next run reads on from there")]


class IssuesSummary(msgspec.Struct, frozen=True, kw_only=True):
    """The repository's issues, pull requests and discussions. A kind that is not read is null."""

    issues: IssueCount | None
    pull_requests: IssueCount | None
    discussions: IssueCount | None
    backed_up_at: Annotated[Moment, Meta(description="When all of them were last read anew, or that was begun")]
    list: Annotated[StoredObject | None, Meta(description="All of them, a JSON Lines file; null without any")]

    def count(self, kind: IssueKind) -> IssueCount | None:
        """Return how many there are of a kind."""
        found: IssueCount | None = getattr(self, kind)
        return found

    @property
    def stored(self) -> int:
        """How many there are in the list, of all kinds."""
        return sum(count.stored for count in map(self.count, ISSUE_KINDS) if count)

    @property
    def waiting(self) -> int:
        """How many the next runs have still to read."""
        counts = [count for count in map(self.count, ISSUE_KINDS) if count and not count.complete]
        return sum(max(1, count.total - count.stored) for count in counts)


class NotRead(msgspec.Struct, frozen=True, kw_only=True):
    """Content that GitHub did not let the App read."""

    content: Kind
    error: Words
