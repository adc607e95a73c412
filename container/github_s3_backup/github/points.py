"""The points of GraphQL: how much of an installation's budget is left in this hour.

https://docs.github.com/en/graphql/overview/rate-limits-and-query-limits-for-the-graphql-api
"""

from collections.abc import Mapping


class Points:
    """What is left of an installation's points in this hour, as GitHub's last answer says."""

    def __init__(self) -> None:
        self.share_left = 1.0

    def note(self, headers: Mapping[str, str]) -> None:
        """Note the share that an answer tells. Without its headers, GitHub has no limit."""
        left, limit = headers.get("x-ratelimit-remaining", ""), headers.get("x-ratelimit-limit", "")
        if left.isdecimal() and limit.isdecimal() and int(limit):
            self.share_left = int(left) / int(limit)
