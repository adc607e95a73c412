"""Checks of single values, and ways to find values and to report what is wrong with them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from .wire import UNKNOWN, Json

Step = str | int
Check = Callable[[Any], str | None]
"""A check returns what is wrong with a value, or None."""


@dataclass(frozen=True)
class Problem:
    """A refusal and the argument that it points at."""

    message: str
    path: tuple[Step, ...] = ()


def between(low: float, high: float) -> Check:
    """A number in a range, both ends included."""
    return lambda value: None if low <= value <= high else f"to be in the range ({low} - {high}), got {value}"


def length(low: int, high: int) -> Check:
    """A string whose length is in a range."""
    return lambda value: (
        None if low <= len(value) <= high else f"length to be in the range ({low} - {high}), got {len(value)}: {value}"
    )


def one_of(*allowed: Any) -> Check:
    """One of a few values, compared exactly."""
    return lambda value: None if value in allowed else f"to be one of {list(allowed)}, got {value}"


def pattern(expression: str, description: str) -> Check:
    """A string that an expression matches from start to end."""
    return lambda value: None if re.fullmatch(expression, value) else f"{description}, got {value!r}"


def both(*checks: Check) -> Check:
    """The first complaint of several checks."""
    return lambda value: next((message for check in checks if (message := check(value))), None)


def is_json(value: str) -> str | None:
    """A JSON document of any kind."""
    try:
        json.loads(value)
    except ValueError as error:
        return f"to be valid JSON: {error}"
    return None


def is_policy(value: str) -> str | None:
    """An IAM policy: a JSON object."""
    if not value.strip().startswith("{"):
        return "to be an IAM policy: it contains an invalid JSON policy, not a JSON object"
    return is_json(value)


ARN = re.compile(
    r"arn:aws(-[a-z]+)*:[^:]+:(?:[a-z]{2}(-[a-z]+)+-\d{1,2})?"
    r":(?:aws|aws-managed|aws-marketplace|third-party|cw.{10}|\d{12})?:.+",
    re.S,
)


def is_arn(value: str) -> str | None:
    """An ARN, or the empty string, as the provider has it."""
    return None if not value or ARN.fullmatch(value) else f"to be an ARN: {value!r} is an invalid ARN"


def is_period(value: int) -> str | None:
    """An alarm's period."""
    fits = value in (10, 20, 30) or (value > 0 and value % 60 == 0)
    return None if fits else f"to be 10, 20, 30 or a multiple of 60, got {value}"


def is_kms_alias(value: str) -> str | None:
    """The name of a key's alias that a customer may use."""
    if value.startswith("alias/aws/"):
        return f"not to begin with 'alias/aws/', which AWS keeps for itself, got {value!r}"
    return pattern(r"alias/[a-zA-Z0-9/_-]+", "to begin with 'alias/' and only have [a-zA-Z0-9/_-]")(value)


def is_json_list(value: str) -> str | None:
    """A JSON document that is a list."""
    return is_json(value) or (None if isinstance(json.loads(value), list) else "to be a JSON list")


def blocks(config: Json, name: str) -> list[Json]:
    """A nested block's known occurrences."""
    value = config.get(name)
    return [block for block in value if isinstance(block, dict)] if isinstance(value, list) else []


def at_most_one(config: Json, *names: str) -> Iterator[Problem]:
    """Arguments that exclude each other; one that is not yet known may turn out to be null."""
    given = [name for name in names if config.get(name) not in (None, [], UNKNOWN)]
    if len(given) > 1:
        yield Problem(f"{given[0]!r} conflicts with {given[1]!r}", (given[1],))


def values_at(value: Any, path: list[str], place: tuple[Step, ...] = ()) -> Iterator[tuple[tuple[Step, ...], Any]]:
    """Every value that a path leads to, through the lists of nested blocks and of values, with its place."""
    if isinstance(value, list):
        for number, inner in enumerate(value):
            yield from values_at(inner, path, (*place, number))
    elif not path:
        yield place, value
    elif isinstance(value, dict):
        yield from values_at(value.get(path[0]), path[1:], (*place, path[0]))
