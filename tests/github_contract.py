"""GitHub's OpenAPI description as a judge of the embedded GitHub's answers."""

import json
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema_rs

DESCRIPTION = json.loads((Path(__file__).parent / "openapi" / "github.json").read_text())
BASIC_ERROR = {"$ref": "#/components/schemas/basic-error"}


def _as_json_schema(node: Any) -> Any:
    """Return OpenAPI 3.0's `nullable` in JSON Schema's words."""
    if isinstance(node, list):
        return [_as_json_schema(item) for item in node]
    if not isinstance(node, dict):
        return node
    changed = {key: _as_json_schema(value) for key, value in node.items()}
    if changed.pop("nullable", False) is True:
        return {"anyOf": [changed, {"type": "null"}]}
    return changed


COMPONENTS = _as_json_schema(DESCRIPTION["components"])


def _response_schema(method: str, template: str, status: int) -> Any:
    operation = DESCRIPTION["paths"].get(template, {}).get(method.lower(), {"responses": {}})
    response = operation["responses"].get(str(status))
    if response is None:  # a status that the description leaves out: GitHub's form of an error
        return BASIC_ERROR
    if "$ref" in response:
        response = DESCRIPTION["components"]["responses"][response["$ref"].rpartition("/")[2]]
    if "content" not in response:
        return {"type": "null"}
    return _as_json_schema(response["content"]["application/json"]["schema"])


@cache
def _validator(method: str, template: str, status: int) -> jsonschema_rs.Draft7Validator:
    schema = {"allOf": [_response_schema(method, template, status)], "components": COMPONENTS}
    return jsonschema_rs.Draft7Validator(schema)


def problems(method: str, template: str, status: int, body: Any) -> list[str]:
    """Return how an answer differs from what GitHub's description says of that path and status."""
    errors = _validator(method, template, status).iter_errors(body)
    return [f"{method} {template} {status}: {error.instance_path}: {error.message}" for error in errors]
