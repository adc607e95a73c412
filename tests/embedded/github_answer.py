"""An answer of the embedded GitHub's REST API, and GitHub's form of a refusal."""

from dataclasses import dataclass, field
from email.message import Message
from typing import Any

from embedded import github_json


@dataclass(frozen=True)
class Answer:
    """An answer; `template` is its path in GitHub's OpenAPI description. A body of None is no body."""

    template: str
    status: int
    body: Any
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Request:
    """A request to the REST API: its path is without the API's own, its token has been found good."""

    method: str
    path: str
    query: dict[str, list[str]]
    headers: Message
    body: dict[str, Any]


def refusal(template: str, status: int, message: str) -> Answer:
    """Return an error in GitHub's form."""
    return Answer(template, status, github_json.error(status, message))


def invalid(
    template: str, message: str, field: str, code: str, words: str | None, resource: str = "Repository"
) -> Answer:
    """Return a 422 about one field of a repository, or of something else."""
    problem = {"resource": resource, "code": code, "field": field} | ({"message": words} if words else {})
    return Answer(template, 422, github_json.error(422, message, errors=[problem]))


def blocked(template: str, status: int) -> Answer:
    """Return what GitHub says of a repository that it has closed: 451 by law, 403 by its staff."""
    reason = {451: "dmca", 403: "tos"}[status]
    block = {"reason": reason, "created_at": github_json.MOMENT, "html_url": f"https://github.com/{reason}"}
    return Answer(template, status, github_json.error(status, "Repository access blocked", block=block))
