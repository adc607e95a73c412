"""The data source aws_iam_policy_document, byte for byte as the real provider computes it.

It is a pure function of its configuration. The rules, as the provider has them:

- Source documents come first, then the statements, then the override documents. A statement replaces an earlier one
  with the same Sid and stays in its place. The highest version wins, and the last Id.
- Actions, resources and identifiers are written in reverse order; a single one is written without its list.
- Condition values keep their order; blocks with the same test and variable are joined.
- `&{` becomes `${` in resources, identifiers and condition values.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable
from typing import Any

Json = dict[str, Any]

NEWEST = "2012-10-17"
OLDEST = "2008-10-17"
ELEMENTS = ("Sid", "Effect", "Action", "NotAction", "Resource", "NotResource", "Principal", "NotPrincipal", "Condition")


class PolicyError(ValueError):
    """A document that the provider refuses; the message is the provider's."""


def document(config: Json) -> Json:
    """The data source's state for a configuration.

    Raises PolicyError where the real one does: a Sid twice, a source that is no policy, `&{` in an old document.
    """
    merged: Json = {"Version": "", "Id": "", "Statement": []}
    seen: set[str] = set()
    for number, text in enumerate(config.get("source_policy_documents") or []):
        if text is not None:
            source = _parse(text, "source", number)
            _refuse_repeated(source["Statement"], seen, f"merging source document {number}: ")
            _merge(merged, source)
    _merge(merged, _configured(config))
    for number, text in enumerate(config.get("override_policy_documents") or []):
        if text is not None:
            _merge(merged, _parse(text, "override", number))
    shown = {key: value for key, value in merged.items() if value}
    text = _go_json(shown, indent=2)
    minified = _go_json(shown, separators=(",", ":"))
    return {**_with_defaults(config), "json": text, "minified_json": minified, "id": str(zlib.crc32(text.encode()))}


def _with_defaults(config: Json) -> Json:
    """The configuration as it appears in the state."""
    statements = [{**entry, "effect": entry.get("effect") or "Allow"} for entry in config.get("statement") or []]
    return {**config, "version": config.get("version") or NEWEST, "statement": statements}


def _merge(merged: Json, new: Json) -> None:
    merged["Id"] = new["Id"] or merged["Id"]
    merged["Version"] = max(new["Version"], merged["Version"])
    statements = merged["Statement"]
    for statement in new["Statement"]:
        sid = statement.get("Sid")
        place = next((at for at, old in enumerate(statements) if sid and old.get("Sid") == sid), None)
        if place is None:
            statements.append(statement)
        else:
            statements[place] = statement


def _refuse_repeated(statements: Iterable[Json], seen: set[str], where: str) -> None:
    for statement in statements:
        sid = statement.get("Sid", "")
        if sid in seen:
            raise PolicyError(f"writing IAM Policy Document: {where}duplicate Sid ({sid}).")
        if sid:
            seen.add(sid)


def _configured(config: Json) -> Json:
    """The document that the arguments and statement blocks describe."""
    version = config.get("version") or NEWEST
    statements = [_statement(entry, version) for entry in config.get("statement") or []]
    _refuse_repeated(statements, set(), "")
    return {"Version": version, "Id": config.get("policy_id") or "", "Statement": statements}


def _statement(entry: Json, version: str) -> Json:
    made: Json = {
        "Sid": entry.get("sid"),
        "Effect": entry.get("effect") or "Allow",
        "Action": _one_or_sorted(entry.get("actions")),
        "NotAction": _one_or_sorted(entry.get("not_actions")),
        "Resource": _variables(_one_or_sorted(entry.get("resources")), version),
        "NotResource": _variables(_one_or_sorted(entry.get("not_resources")), version),
        "Principal": _principals(entry.get("principals"), version),
        "NotPrincipal": _principals(entry.get("not_principals"), version),
        "Condition": _conditions(entry.get("condition"), version),
    }
    return {key: value for key, value in made.items() if value}


def _one_or_sorted(values: list[str] | None) -> Any:
    if not values:
        return None
    return values[0] if len(values) == 1 else sorted(values, key=str.encode, reverse=True)


def _variables(values: Any, version: str) -> Any:
    """Write the provider's `&{...}` as IAM's `${...}`, which HCL would have taken for its own."""
    if isinstance(values, list):
        return [_variables(value, version) for value in values]
    if values and version == OLDEST and "&{" in values:
        raise PolicyError(f"found &{{ sequence in ({values}), which is not supported in document version {OLDEST}")
    return values and values.replace("&{", "${")


def _principals(blocks: list[Json] | None, version: str) -> Any:
    return _written_principals(
        [
            (block["type"], _variables(_one_or_sorted(block["identifiers"]) or [], version))
            for block in sorted(blocks or [], key=_principal_place)
        ]
    )


def _written_principals(pairs: list[tuple[str, Any]]) -> Any:
    """Identifiers by type; only a lone {"*": "*"} is written as "*"."""
    if pairs in ([("*", "*")], [("*", ["*"])]):
        return "*"
    written: Json = {}
    for kind, identifiers in pairs:
        new = sorted(identifiers, key=str.encode, reverse=True) if isinstance(identifiers, list) else identifiers
        if kind not in written:
            written[kind] = new
        else:
            written[kind] = _as_list(written[kind]) + _as_list(new)
    return dict(sorted(written.items()))


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _conditions(blocks: list[Json] | None, version: str) -> Any:
    triples = [
        (block["test"], block["variable"], _variables(block["values"], version))
        for block in sorted(blocks or [], key=_condition_place)
    ]
    return _written_conditions(triples)


def _written_conditions(triples: list[tuple[str, str, list[str]]]) -> Json:
    written: dict[str, dict[str, list[str]]] = {}
    for test, variable, values in triples:
        written.setdefault(test, {}).setdefault(variable, []).extend(values)
    return {
        test: {variable: values[0] if len(values) == 1 else values for variable, values in sorted(variables.items())}
        for test, variables in sorted(written.items())
    }


def _parse(text: str, role: str, number: int) -> Json:
    """A document given as text; what the provider doesn't know in it is dropped, as there."""
    try:
        given = json.loads(text)
        statements = given.get("Statement") or []
        if not isinstance(statements, list):
            raise TypeError("Statement must be a list")
        parsed = [_parsed_statement(statement) for statement in statements]
    except (ValueError, TypeError, AttributeError) as error:
        message = f"writing IAM Policy Document: merging {role} document {number}: {error}"
        raise PolicyError(message) from error
    return {"Version": given.get("Version") or "", "Id": given.get("Id") or "", "Statement": parsed}


def _parsed_statement(given: Json) -> Json:
    made = {key: given[key] for key in ELEMENTS if given.get(key) not in (None, "")}
    for key in {"Principal", "NotPrincipal"} & made.keys():
        principals = made[key]
        made[key] = "*" if isinstance(principals, str) else _written_principals(list(principals.items()))
    if "Condition" in made:
        made["Condition"] = _written_conditions(
            [
                (test, variable, _condition_values(values))
                for test, variables in made["Condition"].items()
                for variable, values in variables.items()
                if isinstance(values, str | bool | list)
            ]
        )
    return {key: value for key, value in made.items() if value or key not in ("Principal", "NotPrincipal", "Condition")}


def _condition_values(values: Any) -> list[str]:
    if isinstance(values, bool):
        return [str(values).lower()]
    return [values] if isinstance(values, str) else values


def _go_json(value: Any, **layout: Any) -> str:
    """JSON as Go's encoder writes it: it escapes what could end a script element and two line separators."""
    text = json.dumps(value, ensure_ascii=False, **layout)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _principal_place(block: Json) -> str:
    """Where a principals block comes in the provider's set: ordered by the text of a checksum."""
    identifiers = sorted((f"{identifier};" for identifier in block["identifiers"]), key=_checksum)
    return _checksum(f"identifiers:{{{''.join(identifiers)}}};type:{block['type']};")


def _condition_place(block: Json) -> str:
    """Where a condition block comes in the provider's set."""
    values = "".join(f"{value};" for value in block["values"])
    return _checksum(f"test:{block['test']};values:({values});variable:{block['variable']};")


def _checksum(text: str) -> str:
    return str(zlib.crc32(text.encode()))
