"""An answer of the embedded GitHub's REST API, and GitHub's form of a refusal."""

from dataclasses import dataclass, field
from typing import Any

from embedded import github_json


@dataclass(frozen=True)
class Answer:
    """An answer; `template` is its path in GitHub's OpenAPI description. A body of None is no body."""

    template: str
    status: int
    body: Any
    headers: dict[str, str] = field(default_factory=dict)


def refusal(template: str, status: int, message: str) -> Answer:
    """Return an error in GitHub's form."""
    return Answer(template, status, github_json.error(status, message))


def invalid(template: str, message: str, field: str, code: str, words: str) -> Answer:
    """Return a 422 about one field of a repository."""
    problem = {"resource": "Repository", "code": code, "field": field, "message": words}
    return Answer(template, 422, github_json.error(422, message, errors=[problem]))
