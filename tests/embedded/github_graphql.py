"""The embedded GitHub's GraphQL, held to GitHub's own schema: graphql-core refuses what GitHub would refuse."""

import functools
import json
from email.message import Message
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embedded import github_json

if TYPE_CHECKING:
    from graphql import ExecutionResult, GraphQLSchema

    from embedded.github import FakeGitHub
    from embedded.github_model import Token

SCHEMA = Path(__file__).parent.parent / "openapi" / "graphql" / "github.graphql"
JSON = {"Content-Type": "application/json; charset=utf-8"}
MAX_IDS = 100


def answer(fake: "FakeGitHub", headers: Message, body: Any) -> tuple[int, bytes, dict[str, str]]:
    """Return status, body and headers of the answer to a query."""
    token = fake.token(headers.get("Authorization", "").removeprefix("Bearer "))
    if token is None:
        return 401, json.dumps(github_json.error(401, "Bad credentials")).encode(), JSON
    result = _execute(fake, token, body)
    document: dict[str, Any] = {} if result.data is None else {"data": result.data}
    if result.errors:
        document["errors"] = [_error(error) for error in result.errors]
    return 200, json.dumps(document).encode(), JSON


@functools.cache
def _schema() -> "GraphQLSchema":
    from graphql import build_schema  # takes as long as the rest of a small test, and few tests ask for it

    return build_schema(SCHEMA.read_text())


def _execute(fake: "FakeGitHub", token: "Token", body: Any) -> "ExecutionResult":
    from graphql import GraphQLError, graphql_sync

    def node(number: str) -> dict[str, Any] | GraphQLError:
        found = next((item for item in list(fake.repositories.values()) if f"R_{item.id}" == number), None)
        if found is None or found.gone or not fake.reaches(token, found.owner):
            words = f"Could not resolve to a node with the global id of '{number}'"
            return GraphQLError(words, extensions={"type": "NOT_FOUND"})
        return {"__typename": "Repository", "id": number, "databaseId": found.id, "nameWithOwner": found.full_name}

    def nodes(_: Any, ids: list[str]) -> list[Any]:
        if len(ids) > MAX_IDS:
            words = f"You may not provide more than {MAX_IDS} node ids; you provided {len(ids)}."
            raise GraphQLError(words, extensions={"type": "ARGUMENT_LIMIT"})
        return [node(number) for number in ids]

    return graphql_sync(_schema(), body["query"], {"nodes": nodes}, variable_values=body.get("variables"))


def _error(error: Any) -> dict[str, Any]:
    """Return an error in GitHub's form: its type stands beside the message."""
    document = dict(error.formatted)
    about: dict[str, Any] = document.pop("extensions", {})
    return about | document
