"""What IAM decides, for the policies that the module renders.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html
Only the operators that the module uses; any other raises, so that none is taken for granted.
"""

import fnmatch
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Call:
    """One call to AWS: the action, the resource it is about, and the context keys that IAM would see."""

    action: str
    resource: str
    context: Mapping[str, str] = field(default_factory=dict)
    principal: str = "*"


def decide(policy: dict[str, Any], call: Call) -> str:
    """Return 'allow', 'deny' (said so) or 'nothing' (no statement speaks of it)."""
    effects = {statement["Effect"] for statement in policy["Statement"] if applies(statement, call)}
    return "deny" if "Deny" in effects else "allow" if "Allow" in effects else "nothing"


def applies(statement: dict[str, Any], call: Call) -> bool:
    """Return whether a statement speaks of the call."""
    return (
        any(_wild(pattern.lower(), call.action.lower()) for pattern in _list(statement["Action"]))
        and any(_wild(pattern, call.resource) for pattern in _list(statement.get("Resource", "*")))
        and _principal(statement.get("Principal", "*"), call.principal)
        and all(
            _condition(operator, _list(values), call.context.get(key))
            for operator, keys in statement.get("Condition", {}).items()
            for key, values in keys.items()
        )
    )


def _list(value: Any) -> list[str]:
    return value if isinstance(value, list) else [value]


def _wild(pattern: str, text: str) -> bool:
    """Match `*` and `?` only: IAM knows no brackets."""
    return re.fullmatch(fnmatch.translate(pattern.replace("[", "[[]")), text) is not None


def _principal(allowed: Any, principal: str) -> bool:
    if allowed == "*":
        return True
    return any(row in ("*", principal) for values in allowed.values() for row in _list(values))


def _condition(operator: str, values: list[str], actual: str | None) -> bool:
    if operator == "Null":
        return values == [str(actual is None).lower()]
    if actual is None:
        # A negated operator holds where the key is missing; all others do not.
        return "Not" in operator
    match operator:
        case "StringEquals" | "Bool":
            return actual in values
        case "ArnLike" | "ArnEquals" | "StringLike":
            return any(_wild(value, actual) for value in values)
        case "ArnNotEquals" | "ArnNotLike":
            return not any(_wild(value, actual) for value in values)
        case "NumericLessThan":
            return any(float(actual) < float(value) for value in values)
    raise ValueError(f"the condition operator {operator} is not known here")
