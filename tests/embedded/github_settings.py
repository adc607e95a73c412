"""Settings of the embedded GitHub's repositories and organisations, as its REST API tells them.

What a test does not set is empty, or answers 404 as on GitHub. `fill` sets what GitHub's own examples say
(tests/openapi/examples.json). The permissions are from docs.github.com, "Permissions required for GitHub Apps".
"""

import copy
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from embedded.github_answer import Answer, Request, blocked, refusal
from embedded.github_write import not_accessible

if TYPE_CHECKING:
    from embedded.github import FakeGitHub
    from embedded.github_model import Token

EXAMPLES: dict[str, Any] = json.loads((Path(__file__).parent.parent / "openapi" / "examples.json").read_text())
REPOSITORY, OWNER = "/repos/{owner}/{repo}/", "/orgs/{org}/"
# What a token needs one of, by path below the repository or the organisation.
PERMISSIONS = {
    "actions/permissions": ("administration",),
    "actions/permissions/selected-actions": ("administration",),
    "actions/permissions/workflow": ("administration",),
    "actions/secrets": ("secrets",),
    "actions/variables": ("actions_variables",),
    "autolinks": ("administration",),
    "branches": ("contents",),
    "branches/{branch}/protection": ("administration",),
    "collaborators": ("metadata",),
    "environments": ("actions",),
    "environments/{environment_name}/secrets": ("environments",),
    "environments/{environment_name}/variables": ("environments",),
    "hooks": ("repository_hooks",),
    "keys": ("administration",),
    "labels": ("issues", "pull_requests"),
    "milestones": ("issues", "pull_requests"),
    "pages": ("pages",),
    "properties/values": ("metadata",),
    "rulesets": ("metadata",),
    "rulesets/{ruleset_id}": ("metadata",),
    "teams": ("administration",),
}
OF_OWNER = {
    "rulesets": ("organization_administration",),
    "rulesets/{ruleset_id}": ("organization_administration",),
    "teams": ("members",),
    "teams/{team_slug}/members": ("members",),
}
# GitHub gives organisations' rulesets only to those who may write them.
WRITERS_ONLY = OF_OWNER["rulesets"]
# What is not there is 404; everything else is an empty list.
SINGLE = ("actions/permissions/selected-actions", "branches/{branch}/protection", "pages", "rulesets/{ruleset_id}")
# Lists that come with their length, and the name of the list.
COUNTED = {"environments": "environments", "secrets": "secrets", "variables": "variables"}
_WORKFLOW = {"default_workflow_permissions": "read", "can_approve_pull_request_reviews": False}
WORDS = {"branches/{branch}/protection": "Branch not protected"}


def fill(parts: dict[str, Any], of_owner: bool = False) -> None:
    """Set everything that there is, as GitHub's examples say: `fill(repository.parts)`, `fill(github.owners["acme"])`.

    Paths are those that are asked for: parts["rulesets/42"], parts["branches/master/protection"], parts["labels"].
    """
    prefix, known = (OWNER, OF_OWNER) if of_owner else (REPOSITORY, PERMISSIONS)
    examples = {below: EXAMPLES[prefix + below] for below in known if prefix + below in EXAMPLES}
    for below, example in copy.deepcopy(examples).items():
        listing, _, rest = below.partition("/{")
        for name in _names(examples[listing]) if rest else ():
            about = {"id": name} if below.startswith("rulesets") else {}
            parts[f"{listing}/{name}{rest.partition('}')[2]}"] = example | about if about else example
        if not rest:
            parts[below] = example


def _names(listing: Any) -> list[Any]:
    """Return what the items of a list are called in paths."""
    items = listing if isinstance(listing, list) else listing["environments"]
    return [item.get("slug") or (item["id"] if "enforcement" in item else item["name"]) for item in items]


def answer(fake: "FakeGitHub", token: "Token", asked: Request) -> Answer | None:
    """Return the answer to a question about settings, None where it is about something else."""
    if asked.method != "GET":
        return None
    for prefix, permissions in ((REPOSITORY, PERMISSIONS), (OWNER, OF_OWNER)):
        for below, needed in permissions.items():
            if match := re.fullmatch(_pattern(prefix) + f"({_pattern(below)})".replace("([^/]+)", "[^/]+"), asked.path):
                *owner, path = map(unquote, match.groups())
                found = _of_repository if prefix == REPOSITORY else _of_owner
                parts = found(fake, token, prefix + below, *owner)
                if isinstance(parts, Answer):
                    return parts
                level = "write" if needed == WRITERS_ONLY else "read"
                if not any(token.may(permission, level) for permission in needed):
                    return not_accessible(prefix + below, token)
                return _said(fake, asked, (prefix, below), path, parts)
    return None


def _pattern(template: str) -> str:
    return re.sub(r"\{\w+\}", "([^/]+)", template)


def _of_repository(fake: "FakeGitHub", token: "Token", template: str, owner: str, name: str) -> dict[str, Any] | Answer:
    repository = fake.find(owner, name)
    if repository is None or not fake.reaches(token, repository.owner):
        return refusal(template, 404, "Not Found")
    if repository.blocked:
        return blocked(template, repository.blocked)
    actions = {"enabled": repository.actions_enabled, "allowed_actions": "all"}
    return {"actions/permissions": actions, "actions/permissions/workflow": _WORKFLOW} | repository.parts


def _of_owner(fake: "FakeGitHub", token: "Token", template: str, owner: str) -> dict[str, Any] | Answer:
    name = fake.account(owner)
    if name is None or fake.owner_type(name) != "Organization" or not fake.reaches(token, name):
        return refusal(template, 404, "Not Found")
    return fake.owners.get(name, {})


def _said(fake: "FakeGitHub", asked: Request, template: tuple[str, str], path: str, parts: dict[str, Any]) -> Answer:
    """Return what is set at a path: one page of it where it is a list."""
    whole, below = "".join(template), template[1]
    counted = COUNTED.get(below.rpartition("/")[2])
    if path not in parts and below in SINGLE:
        return refusal(whole, 404, WORDS.get(below, "Not Found"))
    said = parts.get(path, {"total_count": 0, counted: []} if counted else [])
    items = said[counted] if counted else said
    if not isinstance(items, list):
        return Answer(whole, 200, said)
    items = [item for item in items if _wanted(item, below, asked.query)]
    page = fake.page(asked.path, items, asked.query, None)
    body = said | {"total_count": len(items), counted: page.body} if counted else page.body
    return Answer(whole, 200, body, page.headers)


def _wanted(item: dict[str, Any], below: str, query: dict[str, list[str]]) -> bool:
    """Return whether a filter of the query leaves an item."""
    if below == "milestones":
        return query.get("state", ["open"])[0] in ("all", item["state"])
    if below == "branches" and "protected" in query:
        return bool(item["protected"]) == (query["protected"][0] == "true")
    if below == "rulesets" and query.get("includes_parents", ["true"])[0] == "false":
        return item.get("source_type") != "Organization"
    return True
