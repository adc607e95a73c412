"""The types of fields in manifests and lists, with the rules that a value must keep, and the schemas made of them."""

import json
from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec
from msgspec import Meta

Count = Annotated[int, Meta(ge=0)]
Date = Annotated[str, Meta(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}\Z")]
Id = Annotated[int, Meta(description="GitHub's id. It stays when the name changes")]
# No control characters and no lone surrogates: what is shown on a terminal, or becomes a path.
Text = Annotated[str, Meta(min_length=1, pattern=r"^[^\x00-\x1f\x7f-\x9f\ud800-\udfff]*\Z")]
Words = Annotated[str, Meta(min_length=1)]
Moment = Annotated[str, Meta(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z\Z")]
Sha256 = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
Oid = Annotated[str, Meta(pattern=r"^([0-9a-f]{40}|[0-9a-f]{64})\Z")]
FullName = Annotated[str, Meta(pattern=r"^[^/\x00-\x1f\x7f]+/[^/\x00-\x1f\x7f]+\Z")]


def schema_of(kind: type, title: str) -> dict[str, Any]:
    """Return the JSON Schema of a class."""
    # In Python `$` matches before a line break at the end too. JSON Schema has no `\\Z`, and its `$` does not.
    schema = json.loads(msgspec.json.encode(msgspec.json.schema(kind)).replace(rb"\\Z", b"$"))
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": title, **schema}


def utc(moment: datetime) -> str:
    """Return the moment as JSON has it here: 2026-11-23T04:00:00Z."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse_moment(text: str) -> datetime:
    """Return the moment that `utc` wrote. Raises ValueError."""
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
