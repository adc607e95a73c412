"""Repositories made and changed through the embedded GitHub's REST API, as a restore does.

Modelled from docs.github.com, REST API: "Repositories" (create, get, update), "GitHub Actions permissions",
"Users", and from "Permissions required for GitHub Apps": everything that changes a repository here needs
Administration: write, and an installation can't create a repository in a person's account. The words of
refusals are those that GitHub's users quote.
"""

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from embedded import github_json
from embedded.github_answer import Answer, invalid, refusal
from embedded.real_git import git

if TYPE_CHECKING:
    from embedded.github import FakeGitHub
    from embedded.github_model import FakeRepository, Token

REPOSITORY = "/repos/{owner}/{repo}"
# Kept and given back, with no effect here.
MERGES = {f"allow_{kind}" for kind in ("squash_merge", "merge_commit", "rebase_merge", "auto_merge")}
WORDS = {f"{kind}_commit_{part}" for kind in ("merge", "squash_merge") for part in ("title", "message")}
SETTINGS = (
    {"delete_branch_on_merge", "description", "homepage", "is_template", "has_issues", "has_projects", "has_wiki"}
    | MERGES
    | WORDS
)
CREATE_FIELDS = SETTINGS | {"name", "private", "visibility"}
CHANGE_FIELDS = SETTINGS | {"private", "visibility", "archived", "default_branch"}


def answer(fake: "FakeGitHub", token: "Token", method: str, path: str, body: dict[str, Any]) -> Answer | None:
    """Return the answer to a request of this file's endpoints, None where it is none of them."""
    for asked, template, handle in ROUTES:
        pattern = re.sub(r"\{\w+\}", "([^/]+)", template)
        if method == asked and (match := re.fullmatch(pattern, path)):
            return handle(fake, token, template, body, *map(unquote, match.groups()))
    return None


def branches(repository: "FakeRepository") -> list[str]:
    """Return a repository's branches, in git's order."""
    lines = git(f"--git-dir={repository.path}", "for-each-ref", "--format=%(refname)", "refs/heads")
    return [line.removeprefix("refs/heads/") for line in lines.decode(errors="surrogateescape").splitlines()]


def set_default_branch(repository: "FakeRepository", branch: str) -> None:
    """Make a branch the default one, for the API and for git."""
    repository.default_branch = branch
    git(f"--git-dir={repository.path}", "symbolic-ref", "HEAD", f"refs/heads/{branch}")


def follow_push(repository: "FakeRepository") -> None:
    """Take a pushed branch as the default one where that does not exist, as GitHub does after a first push.

    Which one it takes of several is not documented: here the first by name.
    """
    pushed = branches(repository)
    if pushed and repository.default_branch not in pushed:
        set_default_branch(repository, pushed[0])


def _create_in_organisation(
    fake: "FakeGitHub", token: "Token", template: str, body: dict[str, Any], organisation: str
) -> Answer:
    owner = fake.account(organisation)
    if owner is None or fake.owner_type(owner) == "User" or not fake.reaches(token, owner):
        return refusal(template, 404, "Not Found")
    return _create(fake, token, template, body, owner)


def _create_for_user(fake: "FakeGitHub", token: "Token", template: str, body: dict[str, Any]) -> Answer:
    if token.installation is not None or not fake.reaches(token, token.login):
        return not_accessible(template, token)
    return _create(fake, token, template, body, token.login)


def _create(fake: "FakeGitHub", token: "Token", template: str, body: dict[str, Any], owner: str) -> Answer:
    if not token.may("administration", "write"):
        return not_accessible(template, token)
    if unknown := body.keys() - CREATE_FIELDS:
        return not_modelled(template, unknown)
    if not body.get("name"):
        return refusal(template, 422, 'Invalid request.\n\n"name" wasn\'t supplied.')
    settings = {name: body[name] for name in SETTINGS & body.keys()}
    repository = fake.create(owner, body["name"], private=_private(body, False), settings=settings)
    if repository is None:
        words = "name already exists on this account"
        return invalid(template, "Repository creation failed.", "name", "custom", words)
    return Answer(template, 201, _full(fake, token, repository))


def _get(fake: "FakeGitHub", token: "Token", template: str, _: dict[str, Any], owner: str, name: str) -> Answer:
    repository = fake.find(owner, name)
    if repository is None or (repository.private and not fake.reaches(token, repository.owner)):
        return refusal(template, 404, "Not Found")
    if repository.name.lower() != name.lower():
        moved = {"Location": f"{fake.api_url}/repositories/{repository.id}"}
        return Answer(template, 301, github_json.error(301, "Moved Permanently", url=moved["Location"]), moved)
    return fake.show(token, repository)


def _change(fake: "FakeGitHub", token: "Token", template: str, body: dict[str, Any], owner: str, name: str) -> Answer:
    repository = fake.find(owner, name)
    if refused := _refuse_change(fake, token, template, repository):
        return refused
    assert repository
    if unknown := body.keys() - CHANGE_FIELDS:
        return not_modelled(template, unknown)
    if repository.archived and body.get("archived") is not False:
        return refusal(template, 403, "Repository was archived so is read-only.")
    branch = body.get("default_branch", repository.default_branch)
    if branch != repository.default_branch:
        if problem := _branch_problem(repository, branch):
            return invalid(template, "Validation Failed", "default_branch", "invalid", problem)
        set_default_branch(repository, branch)
    repository.private = _private(body, repository.private)
    repository.archived = body.get("archived", repository.archived)
    repository.settings |= {key: body[key] for key in SETTINGS & body.keys()}
    return Answer(template, 200, _full(fake, token, repository))


def _set_actions(
    fake: "FakeGitHub", token: "Token", template: str, body: dict[str, Any], owner: str, name: str
) -> Answer:
    repository = fake.find(owner, name)
    if refused := _refuse_change(fake, token, template, repository):
        return refused
    assert repository
    if not isinstance(body.get("enabled"), bool):
        return refusal(template, 422, 'Invalid request.\n\n"enabled" wasn\'t supplied.')
    if repository.archived:
        return refusal(template, 403, "Repository was archived so is read-only.")
    repository.actions_enabled = body["enabled"]
    return Answer(template, 204, None)


def _set_topics(
    fake: "FakeGitHub", token: "Token", template: str, body: dict[str, Any], owner: str, name: str
) -> Answer:
    repository = fake.find(owner, name)
    if refused := _refuse_change(fake, token, template, repository):
        return refused
    assert repository
    if not all(re.fullmatch("[a-z0-9][a-z0-9-]{0,49}", topic) for topic in body["names"]):
        return refusal(template, 422, "Validation Failed")
    repository.settings["topics"] = body["names"]
    return Answer(template, 200, {"names": body["names"]})


def _refuse_change(
    fake: "FakeGitHub", token: "Token", template: str, repository: "FakeRepository | None"
) -> Answer | None:
    seen = repository is not None and (not repository.private or fake.reaches(token, repository.owner))
    if repository is None or not seen:
        return refusal(template, 404, "Not Found")
    if not fake.reaches(token, repository.owner) or not token.may("administration", "write"):
        return not_accessible(template, token)
    if not repository.writable:
        return refusal(template, 501, "This repository is shared by tests, which only read it.")
    return None


def _branch_problem(repository: "FakeRepository", branch: str) -> str | None:
    existing = branches(repository)
    if not existing:
        return "Cannot update default branch for an empty repository. Please init the repository and push first."
    if branch not in existing:
        return f"The branch {branch} was not found. Please push that ref first or create it via the Git Data API."
    return None


def _private(body: dict[str, Any], otherwise: bool) -> bool:
    if "visibility" in body:
        return bool(body["visibility"] != "public")
    return bool(body.get("private", otherwise))


def not_accessible(template: str, token: "Token") -> Answer:
    """Refuse what a token has no permission for."""
    who = "personal access token" if token.installation is None else "integration"
    return refusal(template, 403, f"Resource not accessible by {who}")


def not_modelled(template: str, fields: set[str]) -> Answer:
    """Refuse fields that GitHub knows and the embedded one does not, so that no test passes by them."""
    return refusal(template, 501, f"The embedded GitHub does not know these fields: {', '.join(sorted(fields))}")


def _full(fake: "FakeGitHub", token: "Token", repository: "FakeRepository") -> dict[str, Any]:
    body: dict[str, Any] = fake.show(token, repository).body
    return body


def _get_user(fake: "FakeGitHub", token: "Token", template: str, _: dict[str, Any]) -> Answer:
    if token.installation is not None:
        return not_accessible(template, token)
    headers = {"x-oauth-scopes": fake.scopes} if fake.scopes else {}
    return Answer(template, 200, github_json.public_account(fake.api_url, 1000, token.login, "User"), headers)


def _get_account(fake: "FakeGitHub", _: "Token", template: str, __: dict[str, Any], login: str) -> Answer:
    known = fake.account(login)
    if known is None:
        return refusal(template, 404, "Not Found")
    return Answer(template, 200, github_json.public_account(fake.api_url, 1000, known, fake.owner_type(known)))


ROUTES: tuple[tuple[str, str, Callable[..., Answer]], ...] = (
    ("POST", "/orgs/{org}/repos", _create_in_organisation),
    ("POST", "/user/repos", _create_for_user),
    ("GET", REPOSITORY, _get),
    ("PATCH", REPOSITORY, _change),
    ("PUT", "/repos/{owner}/{repo}/actions/permissions", _set_actions),
    ("PUT", "/repos/{owner}/{repo}/topics", _set_topics),
    ("GET", "/user", _get_user),
    ("GET", "/users/{username}", _get_account),
)
