"""The Amazon States Language below its states: paths, intrinsic functions, payload templates, choice rules.

After https://states-language.net/spec.html and the AWS Step Functions Developer Guide. It knows what the module's
document uses, and refuses the rest instead of ignoring it.
"""

import functools
import json
import operator
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from jsonpath_ng.jsonpath import JSONPath
from jsonpath_ng.parser import parse

# Payloads between states, in bytes (Developer Guide "Quotas related to state machine executions").
MAX_PAYLOAD = 256 * 1024
TOKEN = re.compile(
    r"\s*(?:(?P<function>States\.\w+)\(|(?P<text>'(?:[^'\\]|\\.)*')|(?P<number>-?\d+)|(?P<path>\$[^,)\s]*)|(?P<end>[,)]))"
)
COMPARISONS: dict[str, tuple[type, Callable[[Any, Any], bool]]] = {
    "BooleanEquals": (bool, operator.eq),
    "NumericEquals": (int, operator.eq),
    "NumericGreaterThan": (int, operator.gt),
    "NumericGreaterThanEquals": (int, operator.ge),
    "NumericLessThan": (int, operator.lt),
    "StringEquals": (str, operator.eq),
}


class UnsupportedError(Exception):
    """The document has something that is not known here."""


class StatesError(Exception):
    """An error by its name in the States Language, and its cause."""

    def __init__(self, name: str, cause: str) -> None:
        super().__init__(f"{name}: {cause}")
        self.name, self.cause = name, cause


@dataclass(frozen=True)
class Scope:
    """What paths are read from: `$` is a state's data, `$$` the context object."""

    data: Any
    context: dict[str, Any]

    def find(self, path: str) -> list[Any]:
        """Return all that a path leads to."""
        root, below = (self.context, path[1:]) if path.startswith("$$") else (self.data, path)
        return [match.value for match in _parsed(below).find(root)]

    def read(self, path: str) -> Any:
        """Return what a path leads to; a list where the path may lead to several. Nothing there ends the execution."""
        if re.search(r"\*|\.\.|\?|\[[^\]']*[:,]", path):
            return self.find(path)
        found = self.find(path)
        if not found:
            raise StatesError("States.Runtime", f"The JSONPath '{path}' could not be found in {json.dumps(self.data)}")
        return found[0]

    def evaluate(self, expression: str) -> Any:
        """Return the value of a path or of an intrinsic function."""
        if expression.startswith("$"):
            return self.read(expression)
        tokens = _tokens(expression)
        value = _argument(next(tokens), tokens, self)
        if next(tokens, None):
            raise UnsupportedError(expression)
        return value

    def fill(self, template: Any) -> Any:
        """Return a payload template with the value of each field whose name ends with `.$`."""
        if isinstance(template, dict):
            return dict(self._field(name, value) for name, value in template.items())
        if isinstance(template, list):
            return [self.fill(item) for item in template]
        return template

    def _field(self, name: str, value: Any) -> tuple[str, Any]:
        if name.endswith(".$"):
            return name.removesuffix(".$"), self.evaluate(value)
        return name, self.fill(value)


@functools.cache
def _parsed(path: str) -> JSONPath:
    return parse(path)


# -- intrinsic functions -------------------------------------------------------------------------


def _tokens(expression: str) -> Iterator["re.Match[str]"]:
    at = 0
    while at < len(expression):
        token = TOKEN.match(expression, at)
        if not token:
            raise UnsupportedError(f"{expression} at {expression[at:]!r}")
        yield token
        at = token.end()


def _argument(token: "re.Match[str]", tokens: Iterator["re.Match[str]"], scope: Scope) -> Any:
    if token["function"]:
        return _call(token["function"], list(_arguments(tokens, scope)))
    if token["path"]:
        return scope.read(token["path"])
    if token["number"]:
        return int(token["number"])
    if token["text"]:
        return token["text"][1:-1]
    raise UnsupportedError(token.string)


def _arguments(tokens: Iterator["re.Match[str]"], scope: Scope) -> Iterator[Any]:
    """Yield the values up to the closing parenthesis."""
    for token in tokens:
        if token["end"] == ")":
            return
        yield _argument(token, tokens, scope)
        if next(tokens)["end"] == ")":
            return


def _call(name: str, arguments: list[Any]) -> Any:
    if name not in FUNCTIONS:
        raise UnsupportedError(name)
    try:
        return FUNCTIONS[name](*arguments)
    except (IndexError, TypeError, ValueError) as error:
        raise StatesError("States.IntrinsicFailure", f"{name}{tuple(arguments)}: {error}") from error


def _format(template: str, *values: Any) -> str:
    pieces = re.split(r"(?<!\\)\{\}", template)
    if len(pieces) != len(values) + 1:
        raise ValueError("as many {} as values are needed")
    texts = [value if isinstance(value, str) else json.dumps(value) for value in values]
    whole = "".join(piece + text for piece, text in zip(pieces, [*texts, ""], strict=True))
    return re.sub(r"\\(.)", r"\1", whole)


def _split(text: str, separators: str) -> list[str]:
    """Split at each of the characters."""
    return [piece for piece in re.split(f"[{re.escape(separators)}]", text) if piece]


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "States.Array": lambda *values: list(values),
    "States.ArrayGetItem": lambda array, index: array[index],
    "States.ArrayLength": len,
    "States.Format": _format,
    "States.JsonToString": json.dumps,
    "States.MathAdd": operator.add,
    "States.StringSplit": _split,
}

# -- choice rules and payloads -------------------------------------------------------------------


def holds(rule: dict[str, Any], scope: Scope) -> bool:
    """Return whether a choice rule is true."""
    if "And" in rule:
        return all(holds(part, scope) for part in rule["And"])
    if "Or" in rule:
        return any(holds(part, scope) for part in rule["Or"])
    if "Not" in rule:
        return not holds(rule["Not"], scope)
    [comparison] = rule.keys() - {"Variable", "Next", "Comment"}
    given = rule[comparison]
    if comparison == "IsPresent":
        return bool(scope.find(rule["Variable"])) is given
    kind, compare = COMPARISONS.get(comparison.removesuffix("Path"), (None, None))
    if kind is None or compare is None:
        raise UnsupportedError(comparison)
    value, other = scope.read(rule["Variable"]), scope.read(given) if comparison.endswith("Path") else given
    # Values of another type are not equal, smaller or larger: the rule does not hold.
    return all(isinstance(item, kind) for item in (value, other)) and compare(value, other)


def insert(data: Any, path: str | None, result: Any) -> Any:
    """Return a state's input with the result put in at `ResultPath`; null drops the result."""
    if path is None:
        return data
    if path == "$":
        return result
    match = re.fullmatch(r"\$\.(\w+)", path)
    if not match:
        raise UnsupportedError(f"ResultPath {path}")
    if not isinstance(data, dict):
        raise StatesError("States.ResultPathMatchFailure", f"{path} in {json.dumps(data)}")
    return data | {match[1]: result}


def limited(payload: Any, state: str) -> Any:
    """Return a payload as it is. Raises StatesError where it is too large, which no Catch catches."""
    size = len(json.dumps(payload, ensure_ascii=False).encode())
    if size > MAX_PAYLOAD:
        words = f"The state/task '{state}' returned a result with a size exceeding the maximum number of bytes"
        raise StatesError("States.DataLimitExceeded", f"{words} service limit ({size} bytes).")
    return payload
