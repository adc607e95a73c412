"""The embedded GitHub is as strict as GitHub, and its answers have GitHub's own form."""

import time
from datetime import timedelta
from typing import Any

import jwt
import pytest
import requests

from embedded.github import FakeGitHub
from support import github_contract
from support.world import World


def app_jwt(github: FakeGitHub, key: Any = None, **changes: Any) -> str:
    now = int(time.time())
    claims = {"iat": now - 60, "exp": now + 540, "iss": github.app_id} | changes
    return jwt.encode(claims, key or github.key, "HS256" if isinstance(key, str) else "RS256")


def ask(github: FakeGitHub, method: str, path: str, credential: str, **options: Any) -> requests.Response:
    return requests.request(
        method, github.api_url + path, headers={"Authorization": f"Bearer {credential}"}, timeout=10, **options
    )


def test_a_sound_jwt_is_accepted(github: FakeGitHub) -> None:
    assert ask(github, "GET", "/app/installations", app_jwt(github)).status_code == 200


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"exp": lambda: time.time() + 700}, 401),
        ({"exp": lambda: time.time() - 1}, 401),
        ({"iat": lambda: time.time() + 300}, 401),
        ({"iss": "999"}, 404),
        ({"key": "somebody else's secret, long enough to sign with"}, 401),
    ],
    ids=["lives too long", "expired", "from the future", "another App", "another key"],
)
def test_a_wrong_jwt_is_refused(github: FakeGitHub, changes: dict[str, Any], status: int) -> None:
    now = {name: int(value()) if callable(value) else value for name, value in changes.items()}
    assert ask(github, "GET", "/app/installations", app_jwt(github, **now)).status_code == status


def test_tokens_expire_and_see_only_their_installation(world: World) -> None:
    github = world.github
    world.add("api")
    other = world.add("experiments")
    github.token_life = timedelta(seconds=2)
    installation = next(item for item in github.installations.values() if item.owner == "acme")
    path = f"/app/installations/{installation.id}/access_tokens"
    token = ask(github, "POST", path, app_jwt(github)).json()["token"]
    assert ask(github, "GET", "/installation/repositories", token).json()["total_count"] == 1
    assert ask(github, "GET", f"/repositories/{other.id}", token).status_code == 404
    time.sleep(2.1)
    assert ask(github, "GET", "/installation/repositories", token).status_code == 401


def test_more_permissions_than_were_granted_are_refused(github: FakeGitHub) -> None:
    number = github.install("acme").id
    body = {"permissions": {"contents": "write"}}
    assert (
        ask(github, "POST", f"/app/installations/{number}/access_tokens", app_jwt(github), json=body).status_code == 422
    )


def test_answers_are_held_to_githubs_openapi_description(world: World) -> None:
    """Every answer of every test is; here each endpoint is asked once, and a wrong answer is found."""
    github, seen = world.github, []
    judge = github.on_answer
    github.on_answer = lambda *answer: (seen.append(answer), judge(*answer))[0]  # type: ignore[func-returns-value]
    repository = world.add("api")
    world.run()
    token = github.issued[0]
    ask(github, "GET", f"/repositories/{repository.id}", token)
    ask(github, "GET", "/repositories/1", token)
    templates = {(method, template, status) for method, template, status, _ in seen}
    assert templates == {
        ("GET", "/app/installations", 200),
        ("POST", "/app/installations/{installation_id}/access_tokens", 201),
        ("GET", "/installation/repositories", 200),
        ("GET", "/repos/{owner}/{repo}", 200),
        ("GET", "/repos/{owner}/{repo}", 404),
        ("GET", "/repos/{owner}/{repo}/releases", 200),
    }
    listing = next(body for _, template, _, body in seen if template == "/installation/repositories")
    wrong = listing | {"repositories": [listing["repositories"][0] | {"private": "yes"}]}
    assert github_contract.problems("GET", "/installation/repositories", 200, wrong) != []
    del wrong["repositories"][0]["owner"]
    assert any(
        "owner" in problem for problem in github_contract.problems("GET", "/installation/repositories", 200, wrong)
    )
