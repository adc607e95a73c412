"""GitHub's OpenAPI description, and git-lfs' schemas, as judges of the embedded GitHub's answers."""

import json
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema_rs

FOLDER = Path(__file__).parents[1] / "openapi"
DESCRIPTION = json.loads((FOLDER / "github.json").read_text())
# Its prose about uploads names this state too: "This may leave an empty asset with a state of `starter`."
DESCRIPTION["components"]["schemas"]["release-asset"]["properties"]["state"]["enum"].append("starter")
BASIC_ERROR = {"$ref": "#/components/schemas/basic-error"}
NO_BODY = {"type": "null"}
LFS = "/{owner}/{repo}.git/info/lfs/"
LFS_ANSWERS = {LFS + "objects/batch": "batch-response", LFS + "locks/verify": "lock-verify-response"}
# git-lfs' docs/api/batch.md, "Response Errors"; it has no schema of it.
LFS_ERROR = {
    "type": "object",
    "properties": {name: {"type": "string"} for name in ("message", "request_id", "documentation_url")},
    "required": ["message"],
    "additionalProperties": False,
}


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


def _lfs_schema(name: str) -> Any:
    return json.loads((FOLDER / "lfs" / f"http-{name}-schema.json").read_text())


def _response_schema(method: str, template: str, status: int) -> Any:
    if template.startswith(LFS):
        if status != 200:
            return LFS_ERROR
        return _lfs_schema(LFS_ANSWERS[template]) if template in LFS_ANSWERS else {"type": "object"}
    if status == 304:  # which the description leaves out of most paths
        return NO_BODY
    operation = DESCRIPTION["paths"].get(template, {}).get(method.lower(), {"responses": {}})
    response = operation["responses"].get(str(status))
    if response is None:  # a status that the description leaves out: GitHub's form of an error
        return BASIC_ERROR
    if "$ref" in response:
        response = DESCRIPTION["components"]["responses"][response["$ref"].rpartition("/")[2]]
    if "content" not in response:  # an error has a body, even where the description gives none
        return BASIC_ERROR if status >= 400 else NO_BODY
    return _as_json_schema(response["content"]["application/json"]["schema"])


@cache
def _validator(method: str, template: str, status: int) -> jsonschema_rs.Draft7Validator:
    schema = _response_schema(method, template, status)
    if "definitions" not in schema:
        schema = {"allOf": [schema], "components": COMPONENTS}
    return jsonschema_rs.Draft7Validator(schema)


def problems(method: str, template: str, status: int, body: Any) -> list[str]:
    """Return how an answer differs from what GitHub's description says of that path and status."""
    errors = _validator(method, template, status).iter_errors(body)
    return [f"{method} {template} {status}: {error.instance_path}: {error.message}" for error in errors]


def _request_schema(method: str, template: str) -> Any:
    if template.startswith(LFS):
        return _lfs_schema("batch-request") if template == LFS + "objects/batch" else {"type": "object"}
    body = DESCRIPTION["paths"][template][method.lower()]["requestBody"]
    return _as_json_schema(body["content"]["application/json"]["schema"])


def request_problems(method: str, template: str, body: Any) -> list[str]:
    """Return how a request's body differs from what GitHub's description, or git-lfs' schema, says of it."""
    errors = jsonschema_rs.Draft7Validator(_request_schema(method, template)).iter_errors(body)
    return [f"{method} {template}: {error.instance_path}: {error.message}" for error in errors]
