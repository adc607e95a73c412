"""The embedded GitHub takes a restore as GitHub does: repositories through the API, refs through stock git."""

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests

from embedded.github import FakeApp, FakeGitHub, FakeRepository
from embedded.github_model import ISSUES, READ
from embedded.organisation import Stream
from embedded.real_git import ENVIRONMENT, git
from support.world import World
from test_embedded.test_github import app_jwt as backup_jwt
from test_embedded.test_github import ask

WRITE_CONTENTS = {"contents": "write", "metadata": "read"}


@pytest.fixture
def target(github: FakeGitHub, tmp_path: Path) -> FakeGitHub:
    """A GitHub with the organisation acme, where new repositories may be made."""
    github.new_repositories = tmp_path / "created"
    github.install("acme")
    return github


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A repository with two branches, a tag, a note and a pull request's ref."""
    path = tmp_path / "source.git"
    stream = Stream()
    mark = stream.history("refs/heads/main", 3)
    stream.commit("refs/heads/feature/login", {"login.txt": b"login"}, mark)
    stream.tag("v1", mark)
    stream.commit("refs/notes/commits", {"ab": b"a note"})
    stream.point("refs/pull/7/head", mark)
    return fill(path, stream)


def fill(path: Path, stream: Stream) -> Path:
    git("init", "--quiet", "--bare", "--initial-branch=main", path)
    git(f"--git-dir={path}", "fast-import", "--quiet", stdin=bytes(stream.data))
    return path


@dataclass(frozen=True)
class Pushed:
    code: int
    words: str


def push(github: FakeGitHub, token: str, source: Path, name: str, *refs: str) -> Pushed:
    """Push with stock git, which is asked for the token, and return what it said."""
    settings = {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "credential.helper", "TOKEN": token}
    settings["GIT_CONFIG_VALUE_0"] = '!f() { echo username=x-access-token; echo "password=$TOKEN"; }; f'
    done = subprocess.run(
        ["git", f"--git-dir={source}", "push", f"{github.server_url}/{name}.git", *refs],
        env=os.environ | ENVIRONMENT | settings,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return Pushed(done.returncode, done.stderr)


def restore_app(github: FakeGitHub, owner: str = "acme") -> FakeApp:
    app = github.add_app("654321")
    github.install(owner, app=app)
    return app


def app_jwt(github: FakeGitHub, app: FakeApp) -> str:
    return backup_jwt(github, app.key, iss=app.id)


def app_token(github: FakeGitHub, app: FakeApp, permissions: dict[str, str] | None = None) -> requests.Response:
    number = ask(github, "GET", "/app/installations", app_jwt(github, app)).json()[0]["id"]
    body = {"permissions": permissions} if permissions else None
    return ask(github, "POST", f"/app/installations/{number}/access_tokens", app_jwt(github, app), json=body)


def created(github: FakeGitHub, token: str, name: str, **about: Any) -> FakeRepository:
    answer = ask(github, "POST", "/orgs/acme/repos", token, json={"name": name, "private": True} | about)
    assert answer.status_code == 201, answer.text
    return github.repositories[answer.json()["id"]]


def refs_of(path: Path | str) -> dict[str, str]:
    lines = git("ls-remote", path).decode().splitlines()
    return {name: oid for oid, name in (line.split("\t") for line in lines)}


# -- pushes ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("with_app", [True, False], ids=["restore App", "personal token"])
def test_branches_tags_and_notes_are_pushed(target: FakeGitHub, source: Path, with_app: bool) -> None:
    token = target.personal_token("octocat", ["acme"])
    if with_app:
        token = app_token(target, restore_app(target)).json()["token"]
    repository = created(target, token, "api", private=False)
    refs = ("refs/heads/*:refs/heads/*", "refs/tags/*:refs/tags/*", "refs/notes/*:refs/notes/*")
    pushed = push(target, token, source, "ACME/Api", *refs)
    assert pushed.code == 0, pushed.words
    wanted = {name: oid for name, oid in refs_of(source).items() if not name.startswith("refs/pull/")}
    assert len(wanted) == 6
    assert refs_of(f"{target.server_url}/acme/api.git") == wanted
    assert repository.default_branch == "main"
    assert token in target.issued
    assert target.requests("POST .*git-receive-pack")[-1].status == 200


def test_a_pushed_branch_becomes_the_default_where_there_was_none(target: FakeGitHub, source: Path) -> None:
    token = target.personal_token("octocat", ["acme"])
    repository = created(target, token, "api")
    assert push(target, token, source, "acme/api", "refs/tags/v1").code == 0
    assert repository.default_branch == "main"
    assert push(target, token, source, "acme/api", "feature/login").code == 0
    assert git(f"--git-dir={repository.path}", "symbolic-ref", "HEAD") == b"refs/heads/feature/login\n"
    assert push(target, token, source, "acme/api", "main").code == 0
    assert ask(target, "GET", "/repos/acme/api", token).json()["default_branch"] == "feature/login"


def test_hidden_refs_are_refused_and_the_others_taken(target: FakeGitHub, source: Path) -> None:
    token = target.personal_token("octocat", ["acme"])
    repository = created(target, token, "api")
    pushed = push(target, token, source, "acme/api", "--mirror")
    assert pushed.code == 1
    assert "refs/pull/7/head -> refs/pull/7/head (deny updating a hidden ref)" in pushed.words
    assert refs_of(repository.path).keys() >= {"refs/heads/main", "refs/heads/feature/login", "refs/tags/v1"}
    assert not any(name.startswith("refs/pull/") for name in refs_of(repository.path))


@pytest.mark.parametrize("size", [200_000, 8_000_000], ids=["one request", "chunks"])
def test_a_pack_over_the_limit_is_refused(target: FakeGitHub, tmp_path: Path, size: int) -> None:
    stream = Stream()
    stream.commit("refs/heads/main", {"big": os.urandom(size)})
    source = fill(tmp_path / "big.git", stream)
    token = target.personal_token("octocat", ["acme"])
    repository = created(target, token, "api")
    target.push_limit = 100_000
    pushed = push(target, token, source, "acme/api", "main")
    assert pushed.code == 1
    assert "fatal: pack exceeds maximum allowed size" in pushed.words
    assert "main -> main (unpacker error)" in pushed.words
    assert refs_of(repository.path) == {}
    target.push_limit = 2 * size
    assert push(target, token, source, "acme/api", "main").code == 0


def test_an_archived_repository_takes_no_push(target: FakeGitHub, source: Path) -> None:
    token = target.personal_token("octocat", ["acme"])
    created(target, token, "api").archived = True
    pushed = push(target, token, source, "acme/api", "main")
    assert "remote: This repository was archived so it is read-only." in pushed.words
    assert "The requested URL returned error: 403" in pushed.words


def test_a_token_that_may_only_read_takes_no_push(target: FakeGitHub, source: Path) -> None:
    created(target, target.personal_token("octocat", ["acme"]), "api")
    token = app_token(target, target.app).json()["token"]
    pushed = push(target, token, source, "acme/api", "main")
    assert "remote: Permission to acme/api.git denied to backup[bot]." in pushed.words
    assert "The requested URL returned error: 403" in pushed.words


def test_a_repository_out_of_reach_is_not_found(target: FakeGitHub, source: Path) -> None:
    created(target, target.personal_token("octocat", ["acme"]), "api")
    token = app_token(target, restore_app(target, "acme-labs")).json()["token"]
    assert "remote: Repository not found." in push(target, token, source, "acme/api", "main").words
    assert "remote: Repository not found." in push(target, token, source, "acme-labs/api", "main").words


def test_a_wrong_token_takes_no_push(target: FakeGitHub, source: Path) -> None:
    created(target, target.personal_token("octocat", ["acme"]), "api", private=False)
    assert "remote: Invalid username or token." in push(target, "ghs_wrong", source, "acme/api", "main").words


def test_workflow_files_need_their_own_permission(target: FakeGitHub, source: Path, tmp_path: Path) -> None:
    app = restore_app(target)
    whole, part = (app_token(target, app, item).json()["token"] for item in (None, WRITE_CONTENTS))
    repository = created(target, whole, "api")
    assert push(target, part, source, "acme/api", "main", "feature/login", "v1").code == 0
    stream = Stream()
    stream.commit("refs/heads/ci", {".github/workflows/x.yml": b"on: push"})
    stream.commit("refs/heads/docs", {"README.md": b"read me"})
    work = fill(tmp_path / "ci.git", stream)
    pushed = push(target, part, work, "acme/api", "ci", "docs")
    assert pushed.code == 1
    words = "refusing to allow a GitHub App to create or update workflow `.github/workflows/x.yml`"
    assert f"ci -> ci ({words} without `workflows` permission)" in pushed.words
    assert refs_of(repository.path).keys() >= {"refs/heads/docs", "refs/heads/main"}
    assert "refs/heads/ci" not in refs_of(repository.path)
    assert push(target, whole, work, "acme/api", "ci").code == 0
    assert push(target, part, work, "acme/api", "ci:refs/heads/again").code == 0


def test_a_repository_that_tests_share_is_never_written(world: World, source: Path) -> None:
    world.add("api")
    token = world.github.personal_token("octocat", ["acme"])
    assert push(world.github, token, source, "acme/api", "main:refs/heads/new").code != 0
    change = ask(world.github, "PATCH", "/repos/acme/api", token, json={"default_branch": "feature/login"})
    assert change.status_code == 501


# -- the API -----------------------------------------------------------------------------------------


def test_a_new_repository_is_as_it_was_asked_for(target: FakeGitHub) -> None:
    token = target.personal_token("octocat", ["acme", "octocat"])
    body = {"name": "Api", "private": True, "description": "restored", "has_wiki": False}
    answer = ask(target, "POST", "/orgs/ACME/repos", token, json=body).json()
    seen = ask(target, "GET", "/repos/acme/api", token).json()
    assert seen == answer
    assert (seen["full_name"], seen["private"], seen["archived"]) == ("acme/Api", True, False)
    assert (seen["default_branch"], seen["description"], seen["has_wiki"]) == ("main", "restored", False)
    assert seen["permissions"]["admin"] is seen["permissions"]["push"] is True
    repository = target.repositories[seen["id"]]
    assert repository.actions_enabled is True
    assert git(f"--git-dir={repository.path}", "symbolic-ref", "HEAD") == b"refs/heads/main\n"
    own = ask(target, "POST", "/user/repos", token, json={"name": "dotfiles"}).json()
    assert (own["full_name"], own["private"], own["owner"]["type"]) == ("octocat/dotfiles", False, "User")


def test_a_name_is_taken_whatever_its_case(target: FakeGitHub) -> None:
    token = target.personal_token("octocat", ["acme"])
    created(target, token, "api")
    answer = ask(target, "POST", "/orgs/acme/repos", token, json={"name": "API"})
    assert answer.status_code == 422
    assert answer.json()["message"] == "Repository creation failed."
    assert answer.json()["errors"][0]["message"] == "name already exists on this account"


def test_who_may_not_create_a_repository(target: FakeGitHub) -> None:
    elsewhere = target.personal_token("octocat", ["acme-labs"])
    reader = target.personal_token("octocat", ["acme"], {"contents": "write", "metadata": "read"})
    app = app_token(target, restore_app(target)).json()["token"]
    backup = app_token(target, target.app).json()["token"]
    attempts = [
        (elsewhere, "/orgs/acme/repos", 404, "Not Found"),
        (app, "/orgs/octocat/repos", 404, "Not Found"),
        (reader, "/orgs/acme/repos", 403, "Resource not accessible by personal access token"),
        (elsewhere, "/user/repos", 403, "Resource not accessible by personal access token"),
        (app, "/user/repos", 403, "Resource not accessible by integration"),
        (backup, "/orgs/acme/repos", 403, "Resource not accessible by integration"),
        ("github_pat_wrong", "/orgs/acme/repos", 401, "Bad credentials"),
    ]
    for token, path, status, message in attempts:
        answer = ask(target, "POST", path, token, json={"name": "api"})
        assert (answer.status_code, answer.json()["message"]) == (status, message)
    assert target.repositories == {}


def test_the_default_branch_must_be_there(target: FakeGitHub, source: Path) -> None:
    token = target.personal_token("octocat", ["acme"])
    repository = created(target, token, "api")

    def change(branch: str) -> requests.Response:
        return ask(target, "PATCH", "/repos/acme/api", token, json={"default_branch": branch})

    empty = change("feature/login")
    assert empty.status_code == 422
    assert "Cannot update default branch for an empty repository." in empty.json()["errors"][0]["message"]
    push(target, token, source, "acme/api", "main", "feature/login")
    missing = change("gone")
    assert missing.status_code == 422
    assert "The branch gone was not found." in missing.json()["errors"][0]["message"]
    assert change("feature/login").json()["default_branch"] == "feature/login"
    assert git(f"--git-dir={repository.path}", "symbolic-ref", "HEAD") == b"refs/heads/feature/login\n"


def test_an_archived_repository_can_only_be_unarchived(target: FakeGitHub) -> None:
    token = target.personal_token("octocat", ["acme"])
    repository = created(target, token, "api")
    path = "/repos/acme/api"
    assert ask(target, "PATCH", path, token, json={"private": False, "archived": True}).json()["archived"] is True
    assert repository.private is False
    for refused in (
        ask(target, "PATCH", path, token, json={"private": True}),
        ask(target, "PUT", f"{path}/actions/permissions", token, json={"enabled": False}),
    ):
        assert (refused.status_code, refused.json()["message"]) == (403, "Repository was archived so is read-only.")
    assert repository.private is False
    assert repository.actions_enabled is True
    assert ask(target, "PATCH", path, token, json={"archived": False}).json()["archived"] is False


def test_actions_are_switched_off(target: FakeGitHub) -> None:
    token = target.personal_token("octocat", ["acme"])
    repository = created(target, token, "api")
    path = "/repos/acme/api/actions/permissions"
    assert ask(target, "PUT", path, token, json={}).status_code == 422
    answer = ask(target, "PUT", path, token, json={"enabled": False})
    assert (answer.status_code, answer.content) == (204, b"")
    assert repository.actions_enabled is False


def test_who_may_not_change_a_repository(target: FakeGitHub) -> None:
    created(target, target.personal_token("octocat", ["acme"]), "api")
    reader = app_token(target, target.app).json()["token"]
    elsewhere = target.personal_token("octocat", ["acme-labs"])
    for method, path in (("PATCH", "/repos/acme/api"), ("PUT", "/repos/acme/api/actions/permissions")):
        assert ask(target, method, path, reader, json={"enabled": True}).status_code == 403
        assert ask(target, method, path, elsewhere, json={"enabled": True}).status_code == 404
    assert ask(target, "GET", "/repos/acme/api", reader).json()["permissions"]["push"] is False
    assert ask(target, "GET", "/repos/acme/api", elsewhere).status_code == 404


def test_a_renamed_repository_is_found_by_its_old_name(target: FakeGitHub, source: Path) -> None:
    token = target.personal_token("octocat", ["acme"])
    repository = created(target, token, "api")
    repository.name, repository.old_name = "gateway", "api"
    assert ask(target, "GET", "/repos/acme/api", token, allow_redirects=False).status_code == 301
    assert ask(target, "GET", "/repos/acme/api", token).json()["full_name"] == "acme/gateway"
    assert push(target, token, source, "acme/api", "main").code == 0
    assert created(target, token, "api").id != repository.id


def test_accounts(target: FakeGitHub) -> None:
    person = target.personal_token("octocat", ["acme"])
    app = app_token(target, restore_app(target)).json()["token"]
    assert ask(target, "GET", "/user", person).json()["login"] == "octocat"
    assert ask(target, "GET", "/user", app).status_code == 403
    assert ask(target, "GET", "/users/ACME", app).json()["type"] == "Organization"
    assert ask(target, "GET", "/users/octocat", app).json()["type"] == "User"
    assert ask(target, "GET", "/users/nobody", app).status_code == 404
    assert ask(target, "GET", "/installation/repositories", person).status_code == 403


# -- Apps --------------------------------------------------------------------------------------------


def test_each_app_has_its_own_key_and_installations(target: FakeGitHub) -> None:
    app = restore_app(target)
    target.people.add("octocat")
    target.install("octocat", app=app)
    jwt = app_jwt(target, app)
    found = ask(target, "GET", "/orgs/Acme/installation", jwt).json()
    assert (found["app_id"], found["app_slug"]) == (654321, "restore")
    assert found["permissions"]["contents"] == "write"
    assert ask(target, "GET", "/users/octocat/installation", jwt).json()["target_type"] == "User"
    assert ask(target, "GET", "/orgs/octocat/installation", jwt).status_code == 404
    backup = ask(target, "GET", "/orgs/acme/installation", backup_jwt(target)).json()
    assert backup["permissions"] == READ | ISSUES
    assert backup["id"] != found["id"]
    assert ask(target, "POST", f"/app/installations/{backup['id']}/access_tokens", jwt).status_code == 404
    assert ask(target, "GET", "/app/installations", backup_jwt(target, iss=app.id)).status_code == 401
    listed = ask(target, "GET", "/app/installations", backup_jwt(target)).json()
    assert [item["id"] for item in listed] == [backup["id"]]


def test_an_app_gets_what_it_was_granted_and_no_more(target: FakeGitHub) -> None:
    app = restore_app(target)
    answer = app_token(target, app, {"contents": "read", "administration": "write"})
    assert answer.json()["permissions"] == {"contents": "read", "administration": "write"}
    assert answer.json()["token"] in target.issued
    assert app_token(target, app, {"contents": "write", "secrets": "read"}).status_code == 422
    assert app_token(target, target.app, WRITE_CONTENTS).status_code == 422
