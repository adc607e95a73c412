"""The issues, pull requests and discussions of the embedded GitHub's repositories: what people do with them.

Each is a dictionary with the names of GitHub's GraphQL. Its lists are lists here; github_graphql.py serves them in
pages. What a test does not set has the value that its type begins with.
"""

import itertools
from datetime import UTC, datetime, timedelta
from typing import Any

# People are made when they write something.
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
# Between two things that happen.
STEP = timedelta(minutes=5)
STORES = itertools.count(1)
TYPES = {"issues": "Issue", "pull_requests": "PullRequest", "discussions": "Discussion"}


class FakeIssues:
    """What people wrote in one repository."""

    def __init__(self) -> None:
        self.by_number: dict[int, dict[str, Any]] = {}
        # Everything that has an id of its own, by that id.
        self.nodes: dict[str, dict[str, Any]] = {}
        self._store, self._numbers, self._ids = next(STORES), itertools.count(1), itertools.count(1)
        self._clock = BEGIN

    def of(self, kind: str) -> list[dict[str, Any]]:
        """Return all of a kind, what changed last first."""
        found = [item for item in list(self.by_number.values()) if item["__typename"] == TYPES[kind]]
        return sorted(found, key=lambda item: (item["updatedAt"], item["number"]), reverse=True)

    # -- what people do --------------------------------------------------------------------------

    def open(self, title: str, kind: str = "issues", author: str = "ann", **fields: Any) -> dict[str, Any]:
        """Open an issue, a pull request, or a discussion."""
        number = next(self._numbers)
        item = self._written(TYPES[kind], author, fields.pop("body", f"The text of {title}."))
        item |= {"number": number, "title": title, "state": "OPEN"} | fields
        if kind == "pull_requests":
            item |= {"baseRefName": "main", "headRefName": f"branch-{number}", "baseRefOid": "1" * 40} | fields
            item |= {"headRefOid": f"{number:040x}"} | fields
        if kind == "discussions":
            item |= {"category": {"name": "Q&A", "slug": "q-a", "isAnswerable": True, "emoji": ":pray:"}} | fields
        self.by_number[number] = item
        return item

    def comment(self, item: dict[str, Any], body: str, author: str = "ben") -> dict[str, Any]:
        """Comment on something, or reply to a comment of a discussion."""
        is_discussion = item["__typename"].startswith("Discussion")
        comment = self._written("DiscussionComment" if is_discussion else "IssueComment", author, body)
        item.setdefault("replies" if item["__typename"] == "DiscussionComment" else "comments", []).append(comment)
        self.touch(item)
        return comment

    def review(self, item: dict[str, Any], body: str, state: str = "COMMENTED", author: str = "cleo") -> dict[str, Any]:
        """Review a pull request."""
        review = self._written("PullRequestReview", author, body)
        review |= {"state": state, "submittedAt": self._now()}
        item.setdefault("reviews", []).append(review)
        self.touch(item)
        return review

    def thread(self, item: dict[str, Any], path: str, line: int, *bodies: str) -> dict[str, Any]:
        """Discuss a line of a pull request."""
        thread = self._node("PullRequestReviewThread", path=path, line=line)
        written = [self._written("PullRequestReviewComment", "cleo", body) for body in bodies]
        thread["comments"] = [one | {"path": path, "line": line, "diffHunk": "@@ -1 +1 @@"} for one in written]
        item.setdefault("reviewThreads", []).append(thread)
        self.touch(item)
        return thread

    def event(self, item: dict[str, Any], kind: str, **fields: Any) -> None:
        """Let something happen that its timeline tells."""
        event = self._node(kind, createdAt=self._now(), actor=person("ann"), **fields)
        item.setdefault("timelineItems", []).append(event)
        self.touch(item)

    def close(self, item: dict[str, Any], reason: str = "COMPLETED") -> None:
        """Close an issue."""
        item |= {"state": "CLOSED", "stateReason": reason, "closedAt": self._now()}
        self.event(item, "ClosedEvent", stateReason=reason)

    def label(self, item: dict[str, Any], name: str) -> None:
        """Give it a label."""
        item.setdefault("labels", []).append(self._node("Label", name=name, color="d73a4a"))
        self.event(item, "LabeledEvent", label={"name": name})

    def edit(self, item: dict[str, Any], **fields: Any) -> None:
        """Change its fields."""
        item |= fields
        self.touch(item)

    def edit_comment(self, comment: dict[str, Any], body: str) -> None:
        """Change a comment. Nothing else tells of it."""
        comment |= {"body": body, "updatedAt": self._now(), "lastEditedAt": self._now()}

    def delete(self, item: dict[str, Any]) -> None:
        """Delete it: nothing tells that it was there."""
        del self.by_number[item["number"]], self.nodes[item["id"]]

    def touch(self, item: dict[str, Any]) -> None:
        """Note that it changed now."""
        item["updatedAt"] = self._now()

    def fill(self, count: int, comments: int = 0, kind: str = "issues") -> None:
        """Open many at once, with as many comments each."""
        for number in range(count):
            item = self.open(f"Number {number}", kind)
            for place in range(comments):
                self.comment(item, f"Comment {place} of {number}, which says what people say in two or three lines.")

    # -- how they are made -----------------------------------------------------------------------

    def _written(self, kind: str, author: str, body: str) -> dict[str, Any]:
        moment = self._now()
        times = {"createdAt": moment, "updatedAt": moment}
        return self._node(kind, author=person(author), authorAssociation="MEMBER", body=body, **times)

    def _node(self, kind: str, **fields: Any) -> dict[str, Any]:
        number = next(self._ids)
        node: dict[str, Any] = {
            "__typename": kind,
            "id": f"{kind}_{self._store}_{number}",
            "databaseId": number,
        } | fields
        self.nodes[node["id"]] = node
        return node

    def _now(self) -> str:
        self._clock += STEP
        return f"{self._clock:%Y-%m-%dT%H:%M:%SZ}"


def person(login: str) -> dict[str, Any]:
    """Return an account."""
    return {"__typename": "User", "login": login, "databaseId": sum(login.encode()), "name": login.title()}
