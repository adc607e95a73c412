"""The present names of repositories, asked for by the hundred.

https://docs.github.com/en/graphql/reference/queries#nodes
"""

from collections.abc import Sequence

from github_s3_backup.github import graphql
from github_s3_backup.github.installations import Access
from github_s3_backup.github.transport.rest import as_documented

# GitHub takes no more ids in one request.
BATCH_SIZE = 100
QUERY = "query($ids: [ID!]!) { nodes(ids: $ids) { ... on Repository { databaseId nameWithOwner } } }"


def ask(to: Access, node_ids: Sequence[str]) -> dict[int, str]:
    """Return the full names of the repositories that up to BATCH_SIZE node ids stand for, by their ids.

    One that GitHub does not find is missing in the answer. Raises GitHubError.
    """
    found = graphql.ask_nodes(to, QUERY, node_ids)
    with as_documented(graphql.graphql_url(to.api.url)):
        return {int(node["databaseId"]): str(node["nameWithOwner"]) for node in found if isinstance(node, dict)}
