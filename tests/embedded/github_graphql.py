"""The embedded GitHub's GraphQL, held to GitHub's own schema: graphql-core refuses what GitHub would refuse.

Points are counted as GitHub documents it: one for a hundred lists that a query may have to look up.
https://docs.github.com/en/graphql/overview/rate-limits-and-query-limits-for-the-graphql-api
"""

import base64
import functools
import json
from email.message import Message
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embedded import github_json
from embedded.github_issues import TYPES

if TYPE_CHECKING:
    from graphql import ExecutionResult, GraphQLResolveInfo, GraphQLSchema

    from embedded.github import FakeGitHub
    from embedded.github_model import FakeRepository, Token

SCHEMA = Path(__file__).parent.parent / "openapi" / "graphql" / "github.graphql"
JSON = {"Content-Type": "application/json; charset=utf-8"}
MAX_IDS = MAX_PAGE = 100
MAX_NODES = 500_000
LISTS = {"issues": "issues", "pullRequests": "pull_requests", "discussions": "discussions"}
PERMISSIONS = {kind: permission for permission, kind in TYPES.items()}
NOT_FOUND, FORBIDDEN = "NOT_FOUND", "FORBIDDEN"
# Values of what a test did not set, by type.
EMPTY = {"Int": 0, "Boolean": False, "DateTime": github_json.MOMENT, "GitObjectID": "0" * 40}


def answer(fake: "FakeGitHub", headers: Message, body: Any) -> tuple[int, bytes, dict[str, str]]:
    """Return status, body and headers of the answer to a query."""
    token = fake.token(headers.get("Authorization", "").removeprefix("Bearer "))
    if token is None:
        return 401, json.dumps(github_json.error(401, "Bad credentials")).encode(), JSON
    result = _Execution(fake, token, body).run()
    document: dict[str, Any] = {} if result.data is None else {"data": result.data}
    if result.errors:
        document["errors"] = [_error(error) for error in result.errors]
    limits = {
        "x-ratelimit-limit": str(fake.points),
        "x-ratelimit-remaining": str(max(0, fake.points - fake.points_used[token.installation])),
        "x-ratelimit-resource": "graphql",
    }
    return 200, json.dumps(document).encode(), JSON | limits


@functools.cache
def schema() -> "GraphQLSchema":
    """Return GitHub's schema, as far as it is asked for."""
    from graphql import build_schema  # takes as long as the rest of a small test, and few tests ask for it

    return build_schema(SCHEMA.read_text())


class _Execution:
    """One query of a token."""

    def __init__(self, fake: "FakeGitHub", token: "Token", body: Any) -> None:
        self._fake, self._token = fake, token
        self._query, self._variables = body["query"], body.get("variables") or {}

    def run(self) -> "ExecutionResult":
        from graphql import ExecutionResult, GraphQLError, graphql_sync, parse, validate

        try:
            document = parse(self._query)
        except GraphQLError as error:
            return ExecutionResult(None, [error])
        if problems := validate(schema(), document):
            return ExecutionResult(None, problems)
        cost, nodes = _cost(document.definitions[0], len(self._variables.get("ids") or ()) or 1)
        if nodes > self._fake.most_nodes:
            words = "Something went wrong while executing your query. This may be the result of a timeout"
            return ExecutionResult(None, [GraphQLError(words)])
        if nodes > MAX_NODES:
            return ExecutionResult(None, [GraphQLError(f"This query may return {nodes} nodes, more than {MAX_NODES}")])
        used = self._fake.points_used
        if used[self._token.installation] + cost > self._fake.points:
            words = f"API rate limit exceeded for installation ID {self._token.installation}."
            return ExecutionResult(None, [GraphQLError(words, extensions={"type": "RATE_LIMITED"})])
        used[self._token.installation] += cost
        return graphql_sync(
            schema(), self._query, variable_values=self._variables, field_resolver=self._resolve, type_resolver=_type_of
        )

    # -- fields ----------------------------------------------------------------------------------

    def _resolve(self, source: Any, info: "GraphQLResolveInfo[Any]", **arguments: Any) -> Any:
        name = info.field_name
        if source is None:
            return [self._node(number) for number in self._within(arguments["ids"])]
        if name in LISTS and source["__typename"] == "Repository":
            self._require(LISTS[name])
            repository = self._fake.repositories[source["databaseId"]]
            return _page(repository.issues.of(LISTS[name]), name, arguments)
        from graphql import get_named_type

        if get_named_type(info.return_type).name.endswith("Connection"):
            return _page(source.get(name, []), name, arguments)
        return source.get(name, _empty(info.return_type))

    def _within(self, ids: list[str]) -> list[str]:
        if len(ids) > MAX_IDS:
            words = f"You may not provide more than {MAX_IDS} node ids; you provided {len(ids)}."
            raise _graphql_error(words, "ARGUMENT_LIMIT")
        return ids

    def _node(self, number: str) -> Any:
        """Return a node, or the error that GitHub answers in its place."""
        for repository in list(self._fake.repositories.values()):
            node = _repository(repository) if number == f"R_{repository.id}" else repository.issues.nodes.get(number)
            if node and not repository.gone and self._fake.reaches(self._token, repository.owner):
                kind = PERMISSIONS.get(node["__typename"])
                if kind and not self._token.may(kind, "read"):
                    return _graphql_error("Resource not accessible by integration", FORBIDDEN)
                return node
        return _graphql_error(f"Could not resolve to a node with the global id of '{number}'", NOT_FOUND)

    def _require(self, permission: str) -> None:
        if not self._token.may(permission, "read"):
            raise _graphql_error("Resource not accessible by integration", FORBIDDEN)


def _repository(repository: "FakeRepository") -> dict[str, Any]:
    return {
        "__typename": "Repository",
        "id": f"R_{repository.id}",
        "databaseId": repository.id,
        "nameWithOwner": repository.full_name,
    }


def _page(items: list[Any], name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """Return a page of a list. A cursor says how many items are before it."""
    first = arguments.get("first")
    if first is not None and first > MAX_PAGE:
        words = f"Requesting {first} records on the `{name}` connection exceeds the `first` limit of {MAX_PAGE}."
        raise _graphql_error(words, "EXCESSIVE_PAGINATION")
    start = int(base64.b64decode(arguments["after"])) if arguments.get("after") else 0
    end = start + (first or 0)
    cursor = base64.b64encode(str(end).encode()).decode()
    info = {"hasNextPage": end < len(items), "endCursor": cursor if items else None}
    return {"totalCount": len(items), "nodes": items[start:end], "pageInfo": info}


def _empty(kind: Any) -> Any:
    """Return the value of a field that nothing was set for: None where it may be that."""
    from graphql import GraphQLEnumType, is_list_type, is_non_null_type

    if not is_non_null_type(kind):
        return None
    inner = kind.of_type
    if is_list_type(inner):
        return []
    if isinstance(inner, GraphQLEnumType):
        return next(iter(inner.values))
    return EMPTY.get(inner.name, "" if not hasattr(inner, "fields") else {"__typename": inner.name})


def _type_of(value: dict[str, Any], *_: Any) -> str:
    return str(value["__typename"])


def _cost(operation: Any, ids: int) -> tuple[int, int]:
    """Return the points of a query, and how many nodes it may return."""

    def lists(selection: Any, parents: int) -> tuple[int, int]:
        requests, nodes = 0, 0
        for field in selection.selections if selection else ():
            arguments = {argument.name.value: argument.value for argument in getattr(field, "arguments", None) or ()}
            size = int(arguments["first"].value) if "first" in arguments else None
            requests, nodes = requests + (parents if size else 0), nodes + (parents * size if size else 0)
            below = lists(field.selection_set, parents * (size or 1))
            requests, nodes = requests + below[0], nodes + below[1]
        return requests, nodes

    (root,) = operation.selection_set.selections
    requests, nodes = lists(root.selection_set, ids)
    return max(1, round(requests / 100)), ids + nodes


def _graphql_error(words: str, kind: str) -> Any:
    from graphql import GraphQLError

    return GraphQLError(words, extensions={"type": kind})


def _error(error: Any) -> dict[str, Any]:
    """Return an error in GitHub's form: its type stands beside the message."""
    document = dict(error.formatted)
    about: dict[str, Any] = document.pop("extensions", {})
    return about | document
