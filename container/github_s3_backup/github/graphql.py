"""GitHub's GraphQL: one query about some nodes, and its answer.

https://docs.github.com/en/graphql/guides/using-global-node-ids
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from github_s3_backup.github.installations import Access
from github_s3_backup.github.transport.rest import GitHubError, as_documented
from github_s3_backup.runtime.redaction import printable
from github_s3_backup.runtime.retry import PERMANENT, Retry

# Errors about one node: it is gone, or the App may not see it. Any other is about the query.
NOT_FOUND, NOT_SHOWN = "NOT_FOUND", "FORBIDDEN"
OK, FORBIDDEN = 200, 403


@dataclass(frozen=True)
class Hidden:
    """A node that GitHub does not return, and GitHub's words. `is_gone`: it does not find it."""

    words: str
    is_gone: bool


def graphql_url(api_url: str) -> str:
    """Return where GraphQL is: next to the API's v3 on GitHub Enterprise Server, below the API elsewhere."""
    return f"{api_url.removesuffix('/v3')}/graphql"


def ask_nodes(to: Access, query: str, ids: Sequence[str], after: str | None = None) -> list[dict[str, Any] | Hidden]:
    """Return what a query finds of each node, by its variables $ids and $after.

    Raises GitHubError, also where only a part of the query was answered.
    """
    url = graphql_url(to.api.url)
    body = {"query": query, "variables": {"ids": list(ids), "after": after}}
    answer = to.tokens.with_token(lambda token: to.api.send("POST", url, lambda: f"Bearer {token}", json=body))
    to.points.note(answer.headers)
    with as_documented(url):
        found = answer.json()
        errors = found.get("errors") or []
        if not isinstance(found.get("data"), dict) or not all(e.get("type") in (NOT_FOUND, NOT_SHOWN) for e in errors):
            raise _refusal(errors)
        nodes = found["data"]["nodes"]
        if len(nodes) != len(ids):
            raise ValueError(f"{len(nodes)} nodes instead of {len(ids)}")
        hidden = {error["path"][1]: error for error in errors if len(error.get("path") or ()) > 1}
        return [node or _hidden(hidden.get(place, {})) for place, node in enumerate(nodes)]


def _hidden(error: dict[str, Any]) -> Hidden:
    words = printable(str(error.get("message", "GitHub returned nothing for it")))
    return Hidden(words, error.get("type") != NOT_SHOWN)


def _refusal(errors: list[dict[str, Any]]) -> GitHubError:
    """Return the error of a query that was not answered, or not wholly."""
    words = "; ".join(dict.fromkeys(printable(str(error.get("message"))) for error in errors)) or "no explanation"
    is_limit = any(error.get("type") == "RATE_LIMITED" for error in errors)
    is_forbidden = bool(errors) and all(error.get("type") == NOT_SHOWN for error in errors)
    retry = Retry(permanent=True, is_limit=True) if is_limit else PERMANENT
    return GitHubError(f"GitHub refused a query: {words}", FORBIDDEN if is_forbidden or is_limit else OK, retry)
