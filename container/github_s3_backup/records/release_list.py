"""The list of a repository's releases, a JSON file next to its bundle."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from github_s3_backup.records.content import ListError, StoredContent
from github_s3_backup.records.json_fields import Count, Text, Words, schema_of


class ReleaseFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file of a release. `content`: None where GitHub did not have it any more, and `error` its words."""

    id: int
    name: Text
    label: str | None
    content_type: str
    size_bytes: Count
    created_at: str
    updated_at: str
    content: StoredContent | None
    error: Words | None = None


class Release(msgspec.Struct, frozen=True, kw_only=True):
    """A release as GitHub shows it, with its files."""

    id: int
    tag_name: Text
    target_commitish: str
    name: str | None
    body: Annotated[str | None, Meta(description="The notes, in Markdown")]
    draft: bool
    prerelease: bool
    author: str | None
    created_at: str
    published_at: str | None
    files: tuple[ReleaseFile, ...]


class ReleaseList(msgspec.Struct, frozen=True, kw_only=True):
    """All releases of a repository, the newest first, as GitHub lists them."""

    schema_version: Literal[1] = 1
    full_name: Words
    releases: tuple[Release, ...]

    def to_json(self) -> bytes:
        return msgspec.json.format(msgspec.json.encode(self), indent=1)


# Made before there are threads: msgspec can crash where several look into a type for the first time at once.
DECODER = msgspec.json.Decoder(ReleaseList)


def parse_release_list(body: bytes) -> ReleaseList:
    """Return the list that `to_json` wrote. Raises ListError."""
    try:
        return DECODER.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ListError(f"it is not a list of releases: {error}") from None


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of a list."""
    return schema_of(ReleaseList, "github-backup list of releases, schema version 1")
