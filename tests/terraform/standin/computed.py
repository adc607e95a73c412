"""Computed values: ids, ARNs, generated names, tags and what the provider fills in by default.

They have the shape of real ones, with the right region and account. What AWS draws at random differs from one resource
to the next, so that a module that mixes two up is seen.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .forms import DEFAULTS, FORMS, IMPORTED, OTHER, REPLACES
from .wire import UNKNOWN, Json, is_wholly_known

ACCOUNT = "123456789012"
MOMENT = "2025-01-01T00:00:00Z"
PARTITIONS = {"cn-": "aws-cn", "us-gov-": "aws-us-gov"}


@dataclass(frozen=True)
class Settings:
    """What a provider block decides, or the environment in its place."""

    region: str
    account: str = ACCOUNT
    default_tags: Mapping[str, Any] = field(default_factory=dict)

    def region_of(self, values: Json) -> str:
        """The region of one resource: its own argument comes before the provider's."""
        region = values.get("region")
        return region if isinstance(region, str) else self.region


def random_seed() -> str:
    """Thirty-two hexadecimal digits that no other resource has."""
    return uuid.uuid4().hex


def words(values: Json, settings: Settings, seed: str) -> Json:
    """What a form may refer to besides the resource's own attributes: where it is, and parts drawn from `seed`."""
    region = settings.region_of(values)
    partition = next((name for prefix, name in PARTITIONS.items() if region.startswith(prefix)), "aws")
    domain = "amazonaws.com.cn" if partition == "aws-cn" else "amazonaws.com"
    prefix = values.get("name_prefix") or values.get("bucket_prefix")
    arn = values.get("arn")
    tail = arn.rpartition(":")[2] if isinstance(arn, str) else ""
    return {
        "account": settings.account,
        "partition": partition,
        "region": region,
        "dns_suffix": domain,
        "reverse_dns": ".".join(reversed(domain.split("."))),
        "generated": f"{prefix if isinstance(prefix, str) else 'terraform-'}{int(seed, 16) % 10**26:026d}",
        "kms_policy": kms_policy(partition, settings.account),
        "arn_tail": tail.rpartition("/")[2],
        "bare_name": str(values.get("name")).lstrip("/"),
        "secret_name": tail[:-7],
        "target_key_tail": str(values.get("target_key_id")).rpartition("/")[2],
        "uuid": str(uuid.UUID(seed)),
        "hex8": seed[:8],
        "hex17": "0" + seed[:16],
        "hex32": seed,
        "upper17": seed[:17].upper(),
        "letters6": seed[:6].translate(str.maketrans("0123456789", "ghijklmnop")),
    }


def kms_policy(partition: str, account: str) -> str:
    """The policy of a key that was made without one."""
    statement = {
        "Action": "kms:*",
        "Effect": "Allow",
        "Principal": {"AWS": f"arn:{partition}:iam::{account}:root"},
        "Resource": "*",
        "Sid": "Enable IAM User Permissions",
    }
    return json.dumps({"Id": "key-default-1", "Statement": [statement], "Version": "2012-10-17"}, separators=(",", ":"))


def resolve(kind: str, block: Json, planned: Json, settings: Settings) -> Json:
    """A resource's planned values with everything unknown in them decided, as an apply does."""
    values = dict(planned)
    if values.get("tags_all") is UNKNOWN:
        values["tags_all"] = merged_tags(values, settings)
    missing = {name for name, value in values.items() if value is UNKNOWN}
    return _filled(block, values, missing, OTHER.get(kind, {}), _forms(kind), words(values, settings, random_seed()))


def complete(block: Json, values: Json, forms: Mapping[str, str], known: Json, place: Json) -> Json:
    """Values with every computed attribute that is null filled in, as reading something that exists does."""
    attributes = block["attributes"].items()
    missing = {name for name, attribute in attributes if attribute.get("computed") and values.get(name) is None}
    return _filled(block, values, missing, known, forms, place)


def _filled(block: Json, values: Json, missing: set[str], known: Json, forms: Mapping[str, str], place: Json) -> Json:
    """Put a value in place of each missing attribute: a known one, a form's, or one that merely fits the type."""
    filled = {**values, **dict.fromkeys(missing)}
    for name, form in forms.items():
        if name in missing:
            own = {key: value for key, value in filled.items() if isinstance(value, str)}
            unset = dict.fromkeys(set(filled) - set(own), "")
            filled[name] = form.format_map({**unset, **place, **own})
    for name in sorted(missing - forms.keys()):
        attribute = block["attributes"][name]
        filled[name] = known[name] if name in known else placeholder(name, attribute)
    for name, nested in block.get("block_types", {}).items():
        filled[name] = _each(filled.get(name), _filled_block, nested["block"])
    return filled


def _filled_block(block: Json, values: Json) -> Json:
    """The same inside a nested block, where no form reaches."""
    return _filled(block, values, {name for name in block["attributes"] if values.get(name) is UNKNOWN}, {}, {}, {})


def _each(values: Any, change: Callable[[Json, Json], Json], block: Json) -> Any:
    """A nested block's value, whatever its nesting, with `change` applied to each block in it."""
    if isinstance(values, list):
        return [change(block, inner) for inner in values]
    return change(block, values) if isinstance(values, dict) else values


def placeholder(name: str, attribute: Json) -> Any:
    """A value that merely fits an attribute's type; a scalar argument that nobody set stays null."""
    kind = attribute["type"]
    if isinstance(kind, list):
        return {"list": [], "set": [], "map": {}}.get(kind[0])
    if attribute.get("optional"):
        return None
    moment = MOMENT if name.endswith(("_date", "_time")) else ""
    return {"string": moment, "number": 0, "bool": False}.get(kind)


def merged_tags(values: Json, settings: Settings) -> Json:
    """A resource's tags over the provider's default tags."""
    return {**settings.default_tags, **(values.get("tags") or {})}


def plan(kind: str, block: Json, prior: Json | None, proposed: Json, settings: Settings) -> Json:
    """The planned values: defaults and region filled in, and unknown what only an apply can tell."""
    planned = _with_defaults(kind, block, proposed)
    attributes = block["attributes"]
    if "region" in attributes and planned.get("region") is None:
        planned["region"] = settings.region
    for name, attribute in attributes.items():
        if attribute.get("write_only"):
            planned[name] = None
    if "tags_all" in attributes:
        planned["tags_all"] = _planned_tags(prior, planned, settings)
    return planned if prior is not None else _with_unknowns(block, planned)


def _planned_tags(prior: Json | None, planned: Json, settings: Settings) -> Any:
    if not is_wholly_known(planned.get("tags")) or not is_wholly_known(settings.default_tags):
        return UNKNOWN
    tags = merged_tags(planned, settings)
    return tags if tags or prior is not None else UNKNOWN


def _with_unknowns(block: Json, values: Json) -> Json:
    """What is computed and not set, as unknown; only a new resource has such values."""
    planned = dict(values)
    for name, attribute in block["attributes"].items():
        if attribute.get("computed") and planned.get(name) is None:
            planned[name] = UNKNOWN
    for name, nested in block.get("block_types", {}).items():
        planned[name] = _each(planned.get(name), _with_unknowns, nested["block"])
    return planned


def _with_defaults(kind: str, block: Json, values: Json) -> Json:
    planned = dict(values)
    for path, default in DEFAULTS.get(kind, {}).items():
        planned = _with_default(block, planned, path.split("."), default)
    return planned


def _with_default(block: Json, values: Json, path: list[str], default: Any) -> Json:
    name, *rest = path
    if not rest:
        absent = name in block["attributes"] and values.get(name) is None
        return {**values, name: default} if absent else values

    def inside(nested: Json, inner: Json) -> Json:
        return _with_default(nested, inner, rest, default)

    return {**values, name: _each(values.get(name), inside, block["block_types"][name]["block"])}


def replaced(kind: str, prior: Json | None, planned: Json) -> list[str]:
    """The arguments whose change makes a new resource; an imported resource has arguments that nobody knows yet."""
    if prior is None:
        return []
    names = (*REPLACES.get(kind, ()), "region", *(("bucket",) if kind.startswith("aws_s3_bucket_") else ()))
    return sorted({name for name in names if prior.get(name) is not None and prior[name] != planned.get(name)})


def imported(kind: str, block: Json, identifier: str, settings: Settings) -> Json:
    """A resource's state as far as its import id tells it; `id@region` names a region other than the provider's."""
    identifier, _, region = identifier.partition("@")
    attributes = block["attributes"]
    values: Json = dict.fromkeys(attributes)
    for name, nested in block.get("block_types", {}).items():
        values[name] = [] if nested["nesting_mode"] in ("list", "set") else None
    if "region" in attributes:
        values["region"] = region or settings.region
    values |= _imported_parts(kind, identifier, attributes)
    if "tags_all" in attributes:
        values["tags_all"] = {}
    values = _with_defaults(kind, block, values)
    place = words(values, settings, random_seed())
    forms = _forms(kind)
    return complete(block, values, {**forms, "id": forms.get("id", identifier)}, OTHER.get(kind, {}), place)


def _imported_parts(kind: str, identifier: str, attributes: Json) -> Json:
    """The attributes that an import id is made of."""
    if kind in IMPORTED:
        first, *others = re.split(r"([:/|])", IMPORTED[kind])
        parts = identifier.split(others[0], len(others) // 2) if others else [identifier]
        return dict(zip((first, *others[1::2]), parts, strict=False))
    if identifier.startswith(("arn:", "https:")):
        whole = "arn" if identifier.startswith("arn:") else "url"
        tail = re.split(r"[:/]", identifier)[-1]
        return {name: value for name, value in ((whole, identifier), ("name", tail)) if name in attributes}
    whole_id = re.fullmatch(r"\{(\w+)\}", _forms(kind).get("id", ""))
    return {whole_id[1]: identifier} if whole_id else {"id": identifier}


def _forms(kind: str) -> Mapping[str, str]:
    """A type's forms; the sub-resources of a bucket are called by its name."""
    forms = FORMS.get(kind, {})
    return {"id": "{bucket}", **forms} if kind.startswith("aws_s3_bucket_") else forms
