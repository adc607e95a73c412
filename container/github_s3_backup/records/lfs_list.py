"""The list of a repository's LFS objects, a JSON file next to its bundle."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from github_s3_backup.records.content import ListError, StoredContent
from github_s3_backup.records.json_fields import Count, Moment, Sha256, Words, schema_of


class MissingObject(msgspec.Struct, frozen=True, kw_only=True):
    """An object that a pointer names and the LFS server does not have."""

    oid: Sha256
    size_bytes: Count
    error: Annotated[Words, Meta(description="The server's words")]


class LfsList(msgspec.Struct, frozen=True, kw_only=True):
    """Every LFS object that a pointer in the repository's history names."""

    schema_version: Literal[1] = 1
    full_name: Words
    checked_at: Annotated[Moment, Meta(description="When S3 was last asked for each of the objects")]
    objects: tuple[StoredContent, ...]
    missing: tuple[MissingObject, ...]

    def to_json(self) -> bytes:
        return msgspec.json.format(msgspec.json.encode(self), indent=1)


# Made before there are threads: msgspec can crash where several look into a type for the first time at once.
DECODER = msgspec.json.Decoder(LfsList)


def parse_lfs_list(body: bytes) -> LfsList:
    """Return the list that `to_json` wrote. Raises ListError."""
    try:
        return DECODER.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ListError(f"it is not a list of LFS objects: {error}") from None


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of a list."""
    return schema_of(LfsList, "github-backup list of LFS objects, schema version 1")
