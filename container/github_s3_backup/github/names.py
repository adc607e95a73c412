"""The present names of repositories, asked for by the hundred.

https://docs.github.com/en/graphql/reference/queries#nodes
"""

from collections.abc import Sequence
from typing import Any

from github_s3_backup.github.transport.rest import Api, GitHubError, as_documented

# GitHub takes no more ids in one request.
BATCH_SIZE = 100
QUERY = "query($ids: [ID!]!) { nodes(ids: $ids) { ... on Repository { databaseId nameWithOwner } } }"


def graphql_url(api_url: str) -> str:
    """Return where GraphQL is: next to the API's v3 on GitHub Enterprise Server, below the API elsewhere."""
    return f"{api_url.removesuffix('/v3')}/graphql"


def ask(api: Api, token: str, node_ids: Sequence[str]) -> dict[int, str]:
    """Return the full names of the repositories that up to BATCH_SIZE node ids stand for, by their ids.

    One that GitHub does not find is missing in the answer. Raises GitHubError.
    """
    url = graphql_url(api.url)
    body = {"query": QUERY, "variables": {"ids": list(node_ids)}}
    answer = api.send("POST", url, lambda: f"Bearer {token}", json=body)
    with as_documented(url):
        found = answer.json()
        if not isinstance(found.get("data"), dict):
            raise GitHubError(f"GitHub refused a query: {_words(found)}", answer.status_code)
        nodes = [node for node in found["data"]["nodes"] if node]
        return {int(node["databaseId"]): str(node["nameWithOwner"]) for node in nodes}


def _words(answer: dict[str, Any]) -> str:
    return "; ".join(str(error.get("message")) for error in answer["errors"])
