"""What a manifest says of a repository besides its git data: LFS objects, releases, and what GitHub refused."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from github_s3_backup.records.json_fields import Count, Moment, Sha256, Text, Words
from github_s3_backup.records.stored_object import StoredObject

Kind = Literal["wiki", "lfs", "releases"]


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


class NotRead(msgspec.Struct, frozen=True, kw_only=True):
    """Content that GitHub did not let the App read."""

    content: Kind
    error: Words
