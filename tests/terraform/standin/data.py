"""What the data sources answer."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable

from . import policy
from .computed import Settings, complete, words
from .forms import DATA_FORMS
from .wire import Json

SUBNETS = ("subnet-0a1b2c3d4e5f60001", "subnet-0a1b2c3d4e5f60002")


def read(kind: str, block: Json, config: Json, settings: Settings) -> Json:
    """The state of a data source; the same configuration always gives the same answer."""
    if kind == "aws_iam_policy_document":
        return policy.document(config)
    seed = hashlib.sha256(json.dumps([kind, config], sort_keys=True).encode()).hexdigest()[:32]
    place = words(config, settings, seed)
    known = ANSWERS[kind](config, settings) if kind in ANSWERS else {}
    attributes = block["attributes"]
    answer = {name: value for name, value in known.items() if name in attributes and config.get(name) is None}
    if "region" in attributes and "region" not in answer:
        answer["region"] = settings.region_of(config)
    return complete(block, {**config, **answer}, {"id": "{hex17}", **DATA_FORMS.get(kind, {})}, {}, place)


def _arn(config: Json, _: Settings) -> Json:
    parts = config["arn"].split(":", 5)
    if len(parts) != 6 or parts[0] != "arn":
        raise ValueError(f"{config['arn']!r} is not an ARN")
    names = ("id", "partition", "service", "region", "account", "resource")
    return dict(zip(names, [config["arn"], *parts[1:]], strict=True))


def _zones(config: Json, settings: Settings) -> Json:
    region = settings.region_of(config)
    return {
        "id": region,
        "names": [f"{region}{letter}" for letter in "abc"],
        "zone_ids": [f"{region}-az{number}" for number in (1, 2, 3)],
        "group_names": [region],
    }


def _default_tags(_: Json, settings: Settings) -> Json:
    return {"tags": dict(settings.default_tags)}


def _subnets(config: Json, settings: Settings) -> Json:
    return {"id": settings.region_of(config), "ids": list(SUBNETS)}


def _kms_key(config: Json, _: Settings) -> Json:
    """A key named by its ARN keeps it; an alias belongs to some key."""
    key = config["key_id"]
    if ":key/" in key:
        return {"arn": key, "id": key.rpartition("/")[2], "enabled": True}
    return {"enabled": True} if "alias/" in key else {"id": key, "enabled": True}


def _vpc(*_: object) -> Json:
    return {"enable_dns_support": True}


ANSWERS: dict[str, Callable[[Json, Settings], Json]] = {
    "aws_arn": _arn,
    "aws_availability_zones": _zones,
    "aws_default_tags": _default_tags,
    "aws_kms_key": _kms_key,
    "aws_subnets": _subnets,
    "aws_vpc": _vpc,
}
"""What is more than a string of a certain form."""
