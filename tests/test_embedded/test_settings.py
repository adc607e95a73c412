"""The embedded GitHub tells settings as GitHub does: by its own examples, to those who may read them."""

from typing import Any

import pytest

from embedded import github_settings
from embedded.github import FakeGitHub, FakeRepository
from support.world import World
from test_embedded.test_github import app_jwt, ask

ALL = {
    permission: "write" if permission == "organization_administration" else "read"
    for needed in (*github_settings.PERMISSIONS.values(), *github_settings.OF_OWNER.values())
    for permission in needed
}


@pytest.fixture
def repository(world: World) -> FakeRepository:
    """A repository and an organization that have every setting, and an App that may read them."""
    added = world.add("api")
    github_settings.fill(added.parts)
    github_settings.fill(world.github.owners.setdefault("acme", {}), of_owner=True)
    world.github.app.permissions.update(ALL)
    return added


def token(github: FakeGitHub, **body: Any) -> str:
    number = next(item.id for item in github.installations.values() if item.owner == "acme")
    answer = ask(github, "POST", f"/app/installations/{number}/access_tokens", app_jwt(github), json=body)
    return str(answer.json()["token"])


def test_settings_are_told_as_github_tells_them(github: FakeGitHub, repository: FakeRepository) -> None:
    """Each answer is held to GitHub's OpenAPI description, as all are."""
    credential = token(github)
    for root, parts in (("/repos/acme/api", repository.parts), ("/orgs/acme", github.owners["acme"])):
        for path, expected in parts.items():
            answer = ask(github, "GET", f"{root}/{path}?per_page=100&state=all", credential)
            assert (path, answer.status_code) == (path, 200)
            assert answer.json() == expected
    repository.parts["labels"] *= 60
    first = ask(github, "GET", "/repos/acme/api/labels?per_page=100", credential)
    assert (len(first.json()), "page=2" in first.headers["Link"]) == (100, True)
    assert ask(github, "GET", "/repos/acme/api/milestones?state=closed", credential).json() == []


def test_what_is_not_set_is_empty_or_not_there(github: FakeGitHub, world: World) -> None:
    world.add("api")
    github.app.permissions.update(ALL)
    credential = token(github)
    for path in github_settings.PERMISSIONS:
        status = ask(github, "GET", f"/repos/acme/api/{path.replace('{', '').replace('}', '')}", credential).status_code
        assert (path, status) == (path, 404 if path in github_settings.SINGLE else 200)
    assert ask(github, "GET", "/orgs/acme/teams", credential).json() == []
    assert ask(github, "GET", "/orgs/other/teams", credential).status_code == 404


def test_settings_need_their_permissions(github: FakeGitHub, repository: FakeRepository) -> None:
    credential = token(github, permissions={"metadata": "read"})
    for path in repository.parts:
        status = ask(github, "GET", f"/repos/acme/api/{path}", credential).status_code
        is_open = path.partition("/")[0] in ("collaborators", "properties", "rulesets")
        assert (path, status) == (path, 200 if is_open else 403)
    assert ask(github, "GET", "/orgs/acme/rulesets", token(github)).status_code == 200
    reading = token(github, permissions={"organization_administration": "read"})
    assert ask(github, "GET", "/orgs/acme/rulesets", reading).status_code == 403
