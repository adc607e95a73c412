"""Reads issues, pull requests, and discussions: how many there are, which changed, and everything of these.

They are asked for by GraphQL, which returns fifty of them with their comments and events for what one costs in REST.
See docs/decisions/0010-issues-are-read-by-graphql.md.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from github_s3_backup.github.graphql import Hidden, ask_nodes, graphql_url
from github_s3_backup.github.installations import Access
from github_s3_backup.github.issues.queries import (
    NODES,
    Connection,
    details_query,
    listing_query,
    overview_query,
    rest_query,
)
from github_s3_backup.github.transport.rest import GitHubError, as_documented
from github_s3_backup.records.content import IssueKind

# Nodes whose lists are asked for at once. GitHub gives up a query after ten seconds; then fewer are asked for.
DETAILS_AT_ONCE = 25
# Pages of one list.
MAX_PAGES = 10_000


@dataclass(frozen=True)
class Seen:
    """How many of one kind a repository has, and when the last one changed; None where there are none."""

    total: int
    updated_at: str | None


@dataclass(frozen=True)
class Listed:
    """One that changed: its id for GraphQL, its number, and when it changed."""

    node_id: str
    number: int
    updated_at: str


@dataclass(frozen=True)
class Listing:
    """What changed, the oldest change first, and how many there are in all."""

    items: tuple[Listed, ...]
    total: int


def overview(to: Access, node_ids: Sequence[str], kinds: frozenset[IssueKind]) -> list[dict[IssueKind, Seen] | Hidden]:
    """Return what up to PAGE_SIZE repositories have, in their order. Raises GitHubError."""
    found = ask_nodes(to, overview_query(kinds), node_ids)
    with as_documented(graphql_url(to.api.url)):
        return [node if isinstance(node, Hidden) else {kind: _seen(node[kind]) for kind in kinds} for node in found]


def _seen(answer: Any) -> Seen:
    newest = [str(node["updatedAt"]) for node in answer["nodes"]]
    return Seen(int(answer["totalCount"]), newest[0] if newest else None)


class IssueReader:
    """Reads one kind in one repository."""

    def __init__(self, to: Access, repository_id: str, kind: IssueKind) -> None:
        self._to, self._id, self._kind = to, repository_id, kind

    def listing(self, since: str | None) -> Listing:
        """Return what changed at this moment (as GitHub writes it) or later, or all. Raises GitHubError."""
        items: dict[int, Listed] = {}
        after, total = None, 0
        for _ in range(MAX_PAGES):
            page = self._page(listing_query(self._kind), self._id, "listed", after)
            with as_documented(graphql_url(self._to.api.url)):
                total = max(total, int(page["totalCount"]))
                found = [Listed(str(n["id"]), int(n["number"]), str(n["updatedAt"])) for n in page["nodes"] if n]
                items = {item.number: item for item in found if since is None or item.updated_at >= since} | items
                is_last = not page["pageInfo"]["hasNextPage"] or any(i.updated_at < (since or "") for i in found)
                if is_last:
                    return Listing(tuple(sorted(items.values(), key=lambda item: item.updated_at)), total)
                after = str(page["pageInfo"]["endCursor"])
        raise GitHubError(f"GitHub's list of {self._kind} does not end after {MAX_PAGES} pages")

    def details(self, node_ids: Sequence[str]) -> Iterator[dict[str, Any]]:
        """Yield everything of each, lists as lists. One that was deleted meanwhile is left out. Raises GitHubError."""
        for start in range(0, len(node_ids), DETAILS_AT_ONCE):
            nodes = self._ask(node_ids[start : start + DETAILS_AT_ONCE])
            with as_documented(graphql_url(self._to.api.url)):
                self._add_lists(nodes)
            yield from nodes

    def _add_lists(self, nodes: Sequence[dict[str, Any]]) -> None:
        """Put whole lists in the place of their first pages."""
        asked = NODES[self._kind]
        for name, connection in asked.connections.items():
            for node in nodes:
                node[name] = self._items(node["id"], asked.type, name, connection, node[name])
            self._add_below(connection, [item for node in nodes for item in node[name]])

    def _ask(self, node_ids: Sequence[str]) -> list[dict[str, Any]]:
        """Return the nodes, each list with its first page. Where GitHub can't answer, half of them are asked for."""
        try:
            found = ask_nodes(self._to, details_query(self._kind), node_ids)
        except GitHubError as error:
            if error.retry.is_limit or error.status in (401, 403) or len(node_ids) == 1:
                raise
            half = len(node_ids) // 2
            return self._ask(node_ids[:half]) + self._ask(node_ids[half:])
        return [node for node in found if isinstance(_shown(node), dict)]  # type: ignore[misc]

    def _add_below(self, connection: Connection, items: Sequence[dict[str, Any]]) -> None:
        """Add to each item the list that belongs to it."""
        below = connection.below
        if below is None:
            return
        counts = {item["id"]: item[below.name]["totalCount"] for item in items}
        found: dict[str, list[Any]] = {}
        wanted = [node_id for node_id, count in counts.items() if count]
        for start in range(0, len(wanted), DETAILS_AT_ONCE):
            ids = wanted[start : start + DETAILS_AT_ONCE]
            query = rest_query(below.owner, below.name, below.connection)
            for node in map(_shown, ask_nodes(self._to, query, ids)):
                if node:
                    page = node[below.name]
                    found[node["id"]] = self._items(node["id"], below.owner, below.name, below.connection, page)
        for item in items:
            item[below.name] = found.get(item["id"], [])

    def _items(self, node_id: str, owner: str, name: str, connection: Connection, page: Any) -> list[Any]:
        """Return the items of a list whose first page is there. What the App may not see is left out."""
        items, seen = [item for item in page["nodes"] if item], set[str]()
        while page["pageInfo"]["hasNextPage"]:
            after = str(page["pageInfo"]["endCursor"])
            if after in seen:
                raise GitHubError(f"GitHub's pages of {name} do not end")
            seen.add(after)
            page = self._page(rest_query(owner, name, connection), node_id, name, after)
            items += [item for item in page["nodes"] if item]
        return items

    def _page(self, query: str, node_id: str, name: str, after: str | None) -> Any:
        (node,) = ask_nodes(self._to, query, [node_id], after)
        if isinstance(node, Hidden):
            raise GitHubError(f"GitHub does not return {node_id} any more: {node.words}", 404 if node.is_gone else 403)
        with as_documented(graphql_url(self._to.api.url)):
            return node[name]


def _shown(node: dict[str, Any] | Hidden) -> dict[str, Any] | None:
    """Return a node, None where it is gone. Raises GitHubError where GitHub does not show it."""
    if not isinstance(node, Hidden):
        return node
    if node.is_gone:
        return None
    raise GitHubError(f"GitHub does not show what it listed: {node.words}", 403)
