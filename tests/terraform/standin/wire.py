"""Terraform's values and schemas as plugin protocol 6 carries them."""

from __future__ import annotations

import json
from typing import Any, Final

import msgpack
from tf.gen import tfplugin_pb2 as pb

Json = dict[str, Any]

NESTING = {"single": 1, "list": 2, "set": 3, "map": 4, "group": 5}
WRITE_ONLY_FIELD = b"\x58\x01"
"""Attribute.write_only = true; the published protocol stubs are older than the field, so it travels as raw bytes."""


class Unknown:
    """A value that is known only after apply."""

    def __repr__(self) -> str:
        return "(known after apply)"


UNKNOWN: Final = Unknown()


def decode(value: pb.DynamicValue) -> Any:
    """A value as Python data, with UNKNOWN where Terraform doesn't know yet."""
    if not value.msgpack:
        return json.loads(value.json) if value.json else None
    return msgpack.unpackb(value.msgpack, ext_hook=lambda *_: UNKNOWN, strict_map_key=False)


def encode(value: Any) -> pb.DynamicValue:
    """The inverse of `decode`."""
    return pb.DynamicValue(msgpack=msgpack.packb(value, default=lambda _: msgpack.ExtType(0, b"\0")))


def is_wholly_known(value: Any) -> bool:
    """Whether nothing inside the value is unknown."""
    if isinstance(value, dict):
        return all(is_wholly_known(inner) for inner in value.values())
    if isinstance(value, list):
        return all(is_wholly_known(inner) for inner in value)
    return value is not UNKNOWN


def schema(description: Json) -> pb.Schema:
    """A schema in the shape of `terraform providers schema -json` as the protocol's message."""
    return pb.Schema(version=description["version"], block=_block(description["block"]))


def _block(description: Json) -> pb.Schema.Block:
    return pb.Schema.Block(
        attributes=[_attribute(name, attribute) for name, attribute in description["attributes"].items()],
        block_types=[_nested(name, nested) for name, nested in description.get("block_types", {}).items()],
    )


def _attribute(name: str, description: Json) -> pb.Schema.Attribute:
    flags = {key: description.get(key, False) for key in ("required", "optional", "computed", "sensitive")}
    attribute = pb.Schema.Attribute(name=name, type=json.dumps(description["type"]).encode(), **flags)
    if description.get("write_only"):
        attribute.MergeFromString(WRITE_ONLY_FIELD)
    return attribute


def _nested(name: str, description: Json) -> pb.Schema.NestedBlock:
    return pb.Schema.NestedBlock(
        type_name=name,
        block=_block(description["block"]),
        nesting=NESTING[description["nesting_mode"]],
        min_items=description.get("min_items", 0),
        max_items=description.get("max_items", 0),
    )
