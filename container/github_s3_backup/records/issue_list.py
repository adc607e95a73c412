"""The list of a repository's issues, pull requests and discussions: JSON Lines, compressed by gzip, by number.

Each line is one of them as GitHub's GraphQL describes it, with GitHub's names, its lists as arrays, and two fields of
our own: `schema_version` and `kind`.
"""

import gzip
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import IO, Annotated, Any, Literal

import msgspec
from msgspec import Meta

from github_s3_backup.records.content import IssueKind, ListError
from github_s3_backup.records.json_fields import schema_of

SCHEMA_VERSION: Literal[1] = 1
# A line of more bytes is refused: GitHub takes texts of 65,536 characters, and an issue may have 2,500 comments.
LARGEST_LINE = 256 * 1024**2

LineKind = Literal["issue", "pull_request", "discussion"]
LINE_KINDS: Mapping[IssueKind, LineKind] = MappingProxyType(
    {"issues": "issue", "pull_requests": "pull_request", "discussions": "discussion"}
)


class IssueLine(msgspec.Struct, frozen=True, kw_only=True):
    """What every line has. What else GitHub says of it is there too, under GitHub's names."""

    schema_version: Literal[1]
    kind: LineKind
    number: Annotated[int, Meta(ge=1)]
    id: Annotated[str, Meta(description="GitHub's id of it in GraphQL")]
    title: str
    updatedAt: str  # noqa: N815 (GitHub's name)


# Made before there are threads: msgspec can crash where several look into a type for the first time at once.
DECODER = msgspec.json.Decoder(IssueLine)
ENCODER = msgspec.json.Encoder()


def line_of(kind: IssueKind, node: Mapping[str, Any]) -> bytes:
    """Return the line of what GitHub says of one, without a line break."""
    return ENCODER.encode({"schema_version": SCHEMA_VERSION, "kind": LINE_KINDS[kind], **node})


def parse_line(line: bytes) -> IssueLine:
    """Return what a line says that every line has. Raises ListError."""
    try:
        return DECODER.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ListError(f"it is not a list of issues: {error}") from None


def write_lines(lines: Iterable[bytes], target: IO[bytes]) -> None:
    """Write a list. The same lines make the same bytes."""
    with gzip.GzipFile(filename="", mode="wb", fileobj=target, mtime=0) as packed:
        for line in lines:
            packed.write(line + b"\n")


def read_lines(path: Path) -> Iterator[bytes]:
    """Yield the lines of a list, which is on the disk. Raises ListError."""
    try:
        with gzip.open(path) as lines:
            while line := lines.readline(LARGEST_LINE):
                if not line.endswith(b"\n"):
                    raise ListError(f"it is not a list of issues: a line has no end within {LARGEST_LINE} bytes")
                yield line[:-1]
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ListError(f"it is not a list of issues: {error}") from None


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of a line."""
    return schema_of(IssueLine, "github-backup issue, pull request or discussion: a line of a list, schema version 1")
