"""Restoring to GitHub and to other git servers: everything comes back, and nothing that is there is lost."""

import json
import random
import re
from pathlib import Path

import pytest

from embedded.github import FakeGitHub, FakeRepository, Fault
from embedded.organisation import AWKWARD, RECIPES, SECOND_OWNER, Stream
from embedded.real_git import git, served_refs
from embedded.stack import Stack
from github_s3_backup.git.process import Git
from github_s3_backup.restore.options import parse
from github_s3_backup.runtime.stop import Stop
from support.world import Repositories, World

NEW_OWNER = "acme-restored"
PUSHED = ("refs/heads/", "refs/tags/", "refs/notes/")


@pytest.fixture
def target(world: World) -> FakeGitHub:
    """A GitHub that takes new repositories; the token for it is in the world's variables."""
    world.github.new_repositories = world.folder / "created"
    owners = [NEW_OWNER, "octocat"]
    world.variables["RESTORE_WRITE_LIMITS"] = "none"
    world.variables["RESTORE_TOKEN"] = world.github.personal_token("octocat", owners)
    return world.github


def pushable(path: Path) -> dict[str, str]:
    return {name: oid for name, oid in served_refs(path).items() if name.startswith(PUSHED)}


def restored(github: FakeGitHub, name: str, owner: str = NEW_OWNER) -> FakeRepository:
    found = github.find(owner, name)
    assert found, f"{owner}/{name} was not made"
    return found


def writes(github: FakeGitHub) -> list[str]:
    """Return the requests that change something. One for a repository without a name asks whether it may be made."""
    asked = github.requests("^(POST|PUT|PATCH|DELETE) (?!.*(upload-pack|access_tokens|graphql))")
    found = [(f"{request.method} {request.path}", request.body) for request in asked]
    return [line for line, body in found if not (line.endswith("/repos") and body == {})]


def big(world: World, name: str, commits: int, size: int = 300_000) -> FakeRepository:
    """Add a repository whose history is so many commits of `size` bytes."""
    stream = Stream()
    noisy(stream, "refs/heads/main", commits, size)
    return add_stream(world, name, stream)


def noisy(stream: Stream, ref: str, commits: int, size: int = 300_000, more: dict[str, bytes] | None = None) -> None:
    """Write a history of content that can't be compressed; `more`: other files of each commit."""
    noise, mark = random.Random(ref), None  # noqa: S311
    for number in range(commits):
        mark = stream.commit(ref, {f"{number}.bin": noise.randbytes(size)} | (more or {}), mark)


def add_stream(world: World, name: str, stream: Stream) -> FakeRepository:
    path = world.folder / "sources" / f"{name}.git"
    git("init", "--quiet", "--bare", "--initial-branch=main", path)
    git(f"--git-dir={path}", "-c", "core.compression=0", "fast-import", "--quiet", stdin=bytes(stream.data))
    return world.github.add("acme", name, path)


@pytest.fixture(scope="session")
def stored(stack: Stack, repositories: Repositories, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return a bucket with backups that nobody writes to."""
    with FakeGitHub() as github:
        folder = tmp_path_factory.mktemp("stored")
        world = World(stack, github, repositories, folder, stack.s3.new_bucket(folder.name), "s")
        for name in ("api", "archived", "public", "empty"):
            world.add(name)
        world.add("api", owner=SECOND_OWNER)
        assert world.run().code == 0
        return world.bucket


@pytest.fixture
def again(world: World, stored: str) -> World:
    """A world whose backups are made already."""
    world.bucket = stored
    return world


def source_of(world: World, name: str) -> dict[str, str]:
    return pushable(world.repositories.path(RECIPES[name]))


# -- everything comes back -----------------------------------------------------------------------


def test_the_whole_organisation_is_pushed_to_another_owner(world: World, target: FakeGitHub) -> None:
    sources = {
        recipe.name: world.add(recipe.name) for recipe in AWKWARD if recipe.owner == "acme" and recipe.name != "sha256"
    }
    assert world.run().code == 0
    run = world.restore("push", "--all", "--to", NEW_OWNER)
    assert run.code == 0, run.stderr
    for name, source in sources.items():
        there = restored(target, name)
        assert pushable(there.path) == pushable(source.path), name
        assert there.private
        assert there.archived == source.archived
        assert not there.actions_enabled
        if default := pushable(source.path).get(f"refs/heads/{source.default_branch}"):
            assert there.default_branch == source.default_branch
            work = world.folder / f"work-{name}"
            git("clone", "--quiet", there.path, work)
            assert git("-C", work, "status", "--porcelain") == b""
            assert git("-C", work, "rev-parse", "HEAD").decode().strip() == default
    before = len(writes(target))
    again = world.restore("push", "--all", "--to", NEW_OWNER)
    assert again.code == 0, again.stderr
    assert len(again.named("already there")) == len(sources)
    assert len(writes(target)) == before


def test_what_the_target_refuses_does_not_stop_the_others(world: World, target: FakeGitHub) -> None:
    """GitHub takes no SHA-256 repositories."""
    world.add("sha256")
    world.add("api")
    world.run()
    run = world.restore("push", "acme", "--to", NEW_OWNER)
    assert run.code == 1
    assert list(run.failures) == ["acme/sha256"]
    assert "a sha256 repository, which the server does not support" in run.failures["acme/sha256"]
    assert not target.find(NEW_OWNER, "sha256")
    assert len(pushable(restored(target, "api").path)) == 5


def test_an_archived_flag_is_the_last_thing_that_is_restored(world: World, target: FakeGitHub) -> None:
    world.add("archived")
    world.run()
    assert world.restore("push", "--all", "--to", NEW_OWNER).code == 0
    assert writes(target)[-1] == f"PATCH /api/v3/repos/{NEW_OWNER}/archived"
    assert target.requests("PATCH ")[-1].body == {"archived": True}


def test_a_person_s_account_takes_repositories_too(world: World, target: FakeGitHub) -> None:
    world.add("api")
    world.run()
    run = world.restore("push", "acme/api", "--to", "octocat")
    assert run.code == 0, run.stderr
    assert len(pushable(restored(target, "api", "octocat").path)) == 5


def test_a_restore_app_of_its_own_writes(world: World, target: FakeGitHub) -> None:
    world.add("api")
    world.run()
    app = target.add_app("654321")
    target.install(NEW_OWNER, app=app)
    key = world.folder / "restore.pem"
    key.write_text(app.pem())
    as_app: dict[str, str | None] = {
        "RESTORE_TOKEN": None,
        "RESTORE_APP_ID": "654321",
        "RESTORE_APP_KEY_FILE": str(key),
    }
    run = world.restore("push", "--all", "--to", NEW_OWNER, **as_app)
    assert run.code == 0, run.stderr
    assert len(pushable(restored(target, "api").path)) == 5
    elsewhere = world.restore("push", "--all", "--to", "octocat", **as_app)
    assert "the restore App is not installed at octocat" in json.dumps(elsewhere.problems)


def test_any_git_server_takes_repositories_that_are_there(world: World) -> None:
    source = world.add("api")
    world.add("gitlinks")
    world.run()
    server = world.folder / "server"
    git("init", "--quiet", "--bare", server / "acme" / "api.git")
    run = world.restore("push", "--all", "--url", f"file://{server}/{{owner}}/{{name}}.git")
    assert run.code == 1
    assert "create the repository on the server first" in run.failures["acme/gitlinks"]
    assert pushable(server / "acme" / "api.git") == pushable(source.path)


def test_a_server_that_is_reached_by_ssh_gets_the_agent_and_the_command(again: World) -> None:
    server, told = again.folder / "server", again.folder / "told"
    git("init", "--quiet", "--bare", server / "acme" / "api.git")
    ssh = again.folder / "fake-ssh"
    # git asks with -G which ssh it is; the last argument is the command for the server.
    ssh.write_text(
        f'#!/bin/sh\n[ "$1" = -G ] && exit 1\necho "$* $SSH_AUTH_SOCK" >> {told}\n'
        f'for last in "$@"; do :; done\ncd {server} && eval "$last"\n'
    )
    ssh.chmod(0o755)
    url = f"ssh://git@git.example.com{server}/{{owner}}/{{name}}.git"
    variables = {"GIT_SSH_COMMAND": str(ssh), "SSH_AUTH_SOCK": "/run/agent"}
    run = again.restore("push", "acme/api", "--url", url, RESTORE_TOKEN=None, **variables)
    assert run.code == 0, run.stderr
    assert pushable(server / "acme" / "api.git") == source_of(again, "api")
    lines = told.read_text().splitlines()
    assert lines
    assert all(line.startswith("git@git.example.com ") and line.endswith(" /run/agent") for line in lines)


@pytest.mark.parametrize(("url", "inherited"), [("ssh://git.example.com", True), ("https://git.example.com", False)])
def test_the_agent_is_for_ssh_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str, inherited: bool) -> None:
    monkeypatch.setenv("SSH_AUTH_SOCK", "/run/agent")
    environment = Git(tmp_path, url, Stop()).run("-c", "alias.environment=!env", "environment").decode()
    assert ("SSH_AUTH_SOCK=/run/agent" in environment) is inherited


def test_a_token_that_github_rejects_in_between_is_replaced(again: World, target: FakeGitHub) -> None:
    app = target.add_app("654321")
    target.install(NEW_OWNER, app=app)
    key = again.folder / "restore.pem"
    key.write_text(app.pem())
    as_app: dict[str, str | None] = {
        "RESTORE_TOKEN": None,
        "RESTORE_APP_ID": "654321",
        "RESTORE_APP_KEY_FILE": str(key),
    }
    target.faults += [Fault("GET .*/repos/", status=401), Fault("GET .*git-receive-pack", status=401, times=2)]
    run = again.restore("push", "acme/api", "--to", NEW_OWNER, **as_app)
    assert run.code == 0, run.stderr
    assert pushable(restored(target, "api").path) == source_of(again, "api")
    assert len(target.requests("POST .*access_tokens")) >= 2


# -- large ones ----------------------------------------------------------------------------------


def test_a_repository_above_the_limit_of_a_push_goes_in_steps(world: World, target: FakeGitHub) -> None:
    source = big(world, "big", 12)
    world.run()
    target.push_limit = 1_100_000
    whole = world.restore("push", "--all", "--to", NEW_OWNER)
    assert whole.code == 1
    assert "pack exceeds maximum allowed size" in whole.failures["acme/big"]
    run = world.restore("push", "--all", "--to", NEW_OWNER, "--step-size", "1")
    assert run.code == 0, run.stderr
    assert len(run.named("pushing")) == 4
    there = restored(target, "big")
    assert served_refs(there.path) == served_refs(source.path)
    assert there.default_branch == "main"


def test_a_restore_that_was_broken_off_goes_on_where_it_was(world: World, target: FakeGitHub) -> None:
    source = big(world, "big", 12)
    world.run()
    target.faults.append(Fault("POST .*git-receive-pack", status=403, message="not now", after=4))
    broken = world.restore("push", "--all", "--to", NEW_OWNER, "--step-size", "1")
    assert broken.code == 1
    assert any("restore-in-progress" in name for name in served_refs(restored(target, "big").path))
    target.faults.clear()
    run = world.restore("push", "--all", "--to", NEW_OWNER, "--step-size", "1")
    assert run.code == 0, run.stderr
    assert len(run.named("pushing")) < 4
    assert served_refs(restored(target, "big").path) == served_refs(source.path)


def test_a_fault_that_passes_is_tried_again(world: World, target: FakeGitHub) -> None:
    world.add("api")
    world.run()
    target.faults.append(Fault("git-receive-pack", status=502, message="Bad Gateway"))
    run = world.restore("push", "--all", "--to", NEW_OWNER)
    assert run.code == 0, run.stderr
    assert run.named("retrying")


@pytest.mark.parametrize("status", [403, 429])
def test_a_push_waits_as_long_as_the_server_asks(again: World, target: FakeGitHub, status: int) -> None:
    target.faults.append(Fault("git-receive-pack", status=status, headers={"Retry-After": "2"}))
    run = again.restore("push", "acme/api", "--to", NEW_OWNER)
    assert run.code == 0, run.stderr
    assert [event["seconds"] for event in run.named("retrying")] == [2]


def test_what_another_try_does_not_change_is_not_uploaded_again(again: World, target: FakeGitHub) -> None:
    target.faults.append(Fault("POST .*git-receive-pack", status=413, message="too large"))
    run = again.restore("push", "acme/api", "--to", NEW_OWNER)
    assert "error: 413" in run.failures["acme/api"]
    assert not run.named("retrying")


def test_milestones_are_removed_where_there_is_no_branch_to_be_the_default_one(
    world: World, target: FakeGitHub
) -> None:
    stream = Stream()
    noisy(stream, "refs/tags/v1", 8)
    source = add_stream(world, "tags", stream)
    world.run()
    run = world.restore("push", "--all", "--to", NEW_OWNER, "--step-size", "1")
    assert run.code == 0, run.stderr
    assert len(run.named("pushing")) > 1
    assert served_refs(restored(target, "tags").path) == served_refs(source.path)


def test_a_ref_that_is_refused_keeps_no_other_from_being_pushed(world: World, target: FakeGitHub) -> None:
    stream = Stream()
    noisy(stream, "refs/heads/a", 1, 600_000, {".github/workflows/ci.yml": b"on: push"})
    noisy(stream, "refs/heads/main", 1, 600_000)
    noisy(stream, "refs/heads/z", 1, 600_000)
    source = add_stream(world, "parts", stream)
    world.run()
    rights = {"administration": "write", "contents": "write", "metadata": "read"}
    token = target.personal_token("octocat", [NEW_OWNER], rights)
    step = ("--step-size", "1")
    run = world.restore("push", "--all", "--to", NEW_OWNER, *step, RESTORE_TOKEN=token)
    assert run.code == 1
    assert "1 of 3 refs were refused (refs/heads/a): " in run.failures["acme/parts"]
    assert "without `workflows` permission" in run.failures["acme/parts"]
    assert pushable(restored(target, "parts").path).keys() == {"refs/heads/main", "refs/heads/z"}
    assert restored(target, "parts").default_branch == "main"
    assert not run.named("retrying")
    assert world.restore("push", "--all", "--to", NEW_OWNER, *step).code == 0
    assert served_refs(restored(target, "parts").path) == served_refs(source.path)


@pytest.mark.parametrize(
    "moment",
    [
        Fault("PUT .*actions/permissions", status=403),
        Fault("POST .*git-receive-pack", status=403),
        Fault("PATCH ", status=403),
        Fault("PATCH ", status=403, after=1),
    ],
    ids=["before Actions are off", "before the push", "before the default branch", "before it is archived"],
)
def test_a_restore_that_broke_off_at_any_moment_is_completed(again: World, target: FakeGitHub, moment: Fault) -> None:
    target.faults.append(moment)
    assert again.restore("push", "acme/archived", "--to", NEW_OWNER).code == 1
    before = len(writes(target))
    run = again.restore("push", "acme/archived", "--to", NEW_OWNER)
    assert run.code == 0, run.stderr
    there = restored(target, "archived")
    assert pushable(there.path) == source_of(again, "archived")
    assert there.archived
    assert not there.actions_enabled
    assert there.default_branch == "main"
    assert not [request for request in writes(target)[before:] if request.startswith("POST /api")]


def test_a_repository_that_was_made_although_the_answer_got_lost_is_filled(again: World, target: FakeGitHub) -> None:
    target.faults.append(Fault("POST .*/repos", status=502, message="Bad Gateway", after_all=True))
    run = again.restore("push", "acme/api", "--to", NEW_OWNER)
    assert run.code == 0, run.stderr
    assert pushable(restored(target, "api").path) == source_of(again, "api")
    assert not restored(target, "api").actions_enabled


def test_a_name_that_is_taken_by_something_invisible_is_said(again: World, target: FakeGitHub) -> None:
    assert again.restore("push", "acme/empty", "--to", NEW_OWNER).code == 0
    target.faults.append(Fault(f"GET .*/repos/{NEW_OWNER}/empty", status=404, message="Not Found", times=9))
    run = again.restore("push", "acme/empty", "--to", NEW_OWNER)
    assert "name already exists on this account" in run.failures["acme/empty"]


# -- nothing that is there is lost ---------------------------------------------------------------


def occupied(world: World, target: FakeGitHub) -> tuple[FakeRepository, Path]:
    """Return a repository that was backed up, and another one of that name at the target."""
    source = world.add("api")
    world.run()
    assert world.restore("push", "--all", "--to", NEW_OWNER).code == 0
    there = restored(target, "api").path
    tree = git(f"--git-dir={there}", "rev-parse", "main^{tree}").decode().strip()
    commit = git(f"--git-dir={there}", "commit-tree", "-m", "later work", "-p", "main", tree).decode().strip()
    git(f"--git-dir={there}", "update-ref", "refs/heads/main", commit)
    git(f"--git-dir={there}", "update-ref", "refs/heads/of-their-own", commit)
    return source, there


def test_a_repository_with_other_refs_is_left_alone_unless_told(world: World, target: FakeGitHub) -> None:
    source, there = occupied(world, target)
    before, requests = served_refs(there), len(writes(target))
    run = world.restore("push", "--all", "--to", NEW_OWNER)
    assert run.code == 1
    assert re.search(r"2 of its refs .*refs/heads/main, refs/heads/of-their-own.*--overwrite", run.failures["acme/api"])
    assert served_refs(there) == before
    assert len(writes(target)) == requests
    told = world.restore("push", "--all", "--to", NEW_OWNER, "--overwrite")
    assert told.code == 0, told.stderr
    after = served_refs(there)
    assert after.pop("refs/heads/of-their-own") == before["refs/heads/of-their-own"]
    assert {name: oid for name, oid in after.items() if name.startswith(PUSHED)} == pushable(source.path)


def test_a_half_restored_target_is_completed(world: World, target: FakeGitHub) -> None:
    source = world.add("api")
    world.run()
    assert world.restore("push", "--all", "--to", NEW_OWNER).code == 0
    there = restored(target, "api").path
    git(f"--git-dir={there}", "update-ref", "-d", "refs/heads/feature/login")
    git(f"--git-dir={there}", "update-ref", "-d", "refs/tags/v1.0.0")
    run = world.restore("push", "--all", "--to", NEW_OWNER)
    assert run.code == 0, run.stderr
    assert pushable(there) == pushable(source.path)


def test_two_repositories_that_would_go_to_one_place_go_nowhere(world: World, target: FakeGitHub) -> None:
    world.add("api")
    world.add("api", owner="acme-labs", name="API")
    world.add("gitlinks")
    world.run()
    run = world.restore("push", "--all", "--to", NEW_OWNER)
    assert run.code == 1
    assert set(run.failures) == {"acme/api", "acme-labs/API"}
    assert target.find(NEW_OWNER, "gitlinks")
    assert not target.find(NEW_OWNER, "api")


def test_a_target_that_is_archived_and_lacks_something_is_said(world: World, target: FakeGitHub) -> None:
    world.add("api")
    world.run()
    assert world.restore("push", "--all", "--to", NEW_OWNER).code == 0
    there = restored(target, "api")
    git(f"--git-dir={there.path}", "update-ref", "-d", "refs/tags/v1.0.0")
    there.archived = True
    run = world.restore("push", "--all", "--to", NEW_OWNER)
    assert "is archived and lacks refs of the backup: unarchive it first" in run.failures["acme/api"]


def test_two_repositories_that_would_go_to_one_url_go_nowhere(again: World) -> None:
    server = again.folder / "server.git"
    git("init", "--quiet", "--bare", server)
    run = again.restore("push", "acme/api", "acme-labs/api", "acme/public", "--url", f"file://{server}")
    assert set(run.failures) == {"acme/api", "acme-labs/api", "acme/public"}
    assert served_refs(server) == {}


def test_somebody_s_tag_that_looks_like_a_milestone_stays(again: World, target: FakeGitHub) -> None:
    assert again.restore("push", "acme/api", "--to", NEW_OWNER).code == 0
    there = restored(target, "api").path
    for name in ("refs/tags/restore-in-progress-mine", "refs/heads/restore-in-progress/mine"):
        git(f"--git-dir={there}", "update-ref", name, "main")
    before = served_refs(there)
    run = again.restore("push", "acme/api", "--to", NEW_OWNER)
    assert "2 of its refs differ from the backup" in run.failures["acme/api"]
    assert again.restore("push", "acme/api", "--to", NEW_OWNER, "--overwrite").code == 0
    assert served_refs(there) == before


def test_refs_beside_which_git_can_t_keep_the_backup_s_are_named(again: World, target: FakeGitHub) -> None:
    assert again.restore("push", "acme/api", "--to", NEW_OWNER).code == 0
    there = restored(target, "api").path
    git(f"--git-dir={there}", "update-ref", "-d", "refs/heads/feature/login")
    git(f"--git-dir={there}", "update-ref", "refs/heads/feature", "main")
    git(f"--git-dir={there}", "update-ref", "-d", "refs/tags/light")
    git(f"--git-dir={there}", "update-ref", "refs/tags/light/house", "main")
    before = served_refs(there)
    run = again.restore("push", "acme/api", "--to", NEW_OWNER, "--overwrite")
    assert "has refs/heads/feature, refs/tags/light/house, which conflict with" in run.failures["acme/api"]
    assert served_refs(there) == before


# -- said before it is done ----------------------------------------------------------------------


def test_a_dry_run_says_what_would_be_done_and_does_nothing(world: World, target: FakeGitHub) -> None:
    world.add("shared-commit")
    world.add("archived")
    world.add("empty")
    world.run()
    run = world.restore("push", "--all", "--to", NEW_OWNER, "--dry-run")
    assert run.code == 0, run.stderr
    assert writes(target) == []
    assert not target.find(NEW_OWNER, "archived")
    date = run.stdout.split(" of ")[1][:10]
    url = f"{target.server_url}/{NEW_OWNER}"
    blocks = re.sub(r"\([\d.]+ kB\)", "(SIZE)", run.stdout).strip().split("\nacme/")
    assert blocks[2] == (
        f"shared-commit of {date} -> {url}/shared-commit.git\n"
        f"  create {NEW_OWNER}/shared-commit: private, Actions off\n  push 3 heads (SIZE)\n"
        "  set the default branch to trunk"
    )
    assert blocks[0].endswith("push 1 heads, 1 tags (SIZE)\n  set the default branch to main\n  archive it")
    assert blocks[1] == f"empty of {date} -> {url}/empty.git\n  create {NEW_OWNER}/empty: private, Actions off"


def test_a_dry_run_tells_what_would_be_overwritten(world: World, target: FakeGitHub) -> None:
    _, there = occupied(world, target)
    before = served_refs(there)
    run = world.restore("push", "--all", "--to", NEW_OWNER, "--overwrite", "--dry-run")
    assert "overwrite 1 refs: refs/heads/main" in run.stdout
    assert served_refs(there) == before


# -- who may write -------------------------------------------------------------------------------


@pytest.mark.usefixtures("target")
@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"RESTORE_TOKEN": None}, "set one of RESTORE_TOKEN and RESTORE_APP_ID (neither is set)"),
        ({"RESTORE_TOKEN": "ghp_a b"}, "RESTORE_TOKEN contains spaces"),
        ({"RESTORE_APP_ID": "654321"}, "(both are set)"),
        ({"RESTORE_TOKEN": None, "RESTORE_APP_ID": "123456"}, "RESTORE_APP_ID is the App that makes the backups"),
        (
            {"RESTORE_TOKEN": None, "RESTORE_APP_ID": "1"},
            "set one of RESTORE_APP_KEY_FILE and RESTORE_APP_KEY_SECRET_ARN",
        ),
        ({"GITHUB_API_URL": "nonsense"}, "GITHUB_API_URL must be a URL"),
    ],
)
def test_wrong_credentials_are_named(world: World, variables: dict[str, str | None], words: str) -> None:
    world.add("api")
    world.run()
    run = world.restore("push", "--all", "--to", NEW_OWNER, **variables)
    assert run.code == 1
    assert words in json.dumps(run.problems)


def test_a_token_that_may_not_write_is_said_in_github_s_words(world: World, target: FakeGitHub) -> None:
    world.add("api")
    world.run()
    token = target.personal_token("octocat", ["acme"], permissions={"metadata": "read"})
    for arguments in ((), ("--dry-run",)):
        run = world.restore("push", "--all", "--to", NEW_OWNER, *arguments, RESTORE_TOKEN=token)
        assert run.code == 1
        (problem,) = run.problems
        assert f"the token may not create repositories at {NEW_OWNER}: give it Administration, Contents" in problem
    wrong = world.restore("push", "--all", "--to", NEW_OWNER, RESTORE_TOKEN="ghp_" + "x" * 36)
    assert "Bad credentials" in json.dumps(wrong.problems)
    nowhere = world.restore("push", "--all", "--to", "no-such-owner", "--dry-run")
    assert "there is no owner no-such-owner to push to" in json.dumps(nowhere.problems)


def test_what_stands_in_the_way_of_a_push_is_said_before_it(world: World, target: FakeGitHub) -> None:
    world.add("api")
    world.add("api", owner="second", name="tool")
    world.run()
    target.repositories.clear()
    target.installations.clear()
    run = world.restore("push", "--all", RESTORE_TOKEN=target.personal_token("octocat", ["acme"]))
    assert run.code == 1
    (line,) = run.named("target can't be used")
    assert (line["owner"], "there is no owner second" in line["error"]) == ("second", True)
    assert run.failures.keys() == {"second/tool"}
    assert restored(target, "api", "acme").owner == "acme"
    (ahead,) = run.named("about to push")
    assert ahead["git"].endswith("kB")
    assert {line["token_of"] for line in run.named("target found")} == {"octocat"}

    stranger = world.restore("push", "--all", "--to", "octocat", RESTORE_TOKEN=target.personal_token("hubot", ["x"]))
    assert "octocat is a person, and only a token of octocat can create repositories there" in stranger.problems[0]
    target.scopes = "repo, gist"
    scoped = world.restore("push", "--all", "--to", NEW_OWNER, "--dry-run")
    assert "the token has the scopes repo, gist: it needs workflow too" in scoped.problems[0]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--to", "acme/labs"), "--to must be an owner"),
        (("--to", "../x"), "--to must be an owner"),
        (("--to", ""), "--to must be an owner"),
        (("--to", "../x", "--url", "file:///srv/{owner}/{name}.git"), "--to must be an owner"),
        (("--url", "https://me:secret@git.example.com/{owner}/{name}.git"), "must not contain a user name"),
        (("--url", "https://me@git.example.com/{owner}/{name}.git"), "must not contain a user name"),
        (("--url", "https://{owner}.example.com/{name}.git"), "no other braces"),
        (("--url", "https://git.example.com/{owner}/{repo}.git"), "no other braces"),
        (("--url", "git@git.example.com:{owner}/{name}.git"), "--url must start with one of https://"),
        (("--url", "ext::sh -c {name}"), "--url must start with one of https://"),
        (("--url", "/srv/{owner}/{name}.git"), "--url must start with one of https://"),
    ],
)
def test_a_wrong_target_is_named_before_anything_is_done(
    arguments: tuple[str, ...], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        parse(["push", "--all", "--bucket", "b", *arguments])
    said = capsys.readouterr().err
    assert words in said
    assert "secret" not in said


def test_a_group_in_a_group_is_an_owner_on_another_server() -> None:
    arguments = ["--to", "acme/labs", "--url", "ssh://git@git.example.com/{owner}/{name}.git"]
    assert parse(["push", "--all", "--bucket", "b", *arguments]).to == "acme/labs"


def test_a_dry_run_says_which_repository_was_public_and_that_actions_go_off(again: World, target: FakeGitHub) -> None:
    target.faults.append(Fault("PUT .*actions/permissions", status=403))
    again.restore("push", "acme/api", "--to", NEW_OWNER)
    run = again.restore("push", "acme/api", "acme/public", "--to", NEW_OWNER, "--dry-run")
    assert f"create {NEW_OWNER}/public: private (it was public), Actions off" in run.stdout
    assert "/api.git\n  switch Actions off\n  push 2 heads" in run.stdout


def test_a_default_branch_that_git_can_t_set_is_said(again: World) -> None:
    server = again.folder / "server.git"
    git("init", "--quiet", "--bare", "--initial-branch=other", server)
    arguments = ("push", "acme/api", "--url", f"file://{server}")
    assert "check that the default branch is main" in again.restore(*arguments, "--dry-run").stdout
    run = again.restore(*arguments)
    assert run.named("set the default branch by hand")[0]["default_branch"] == "main"
    git(f"--git-dir={server}", "symbolic-ref", "HEAD", "refs/heads/main")
    assert "nothing: everything is already there" in again.restore(*arguments, "--dry-run").stdout
    assert not again.restore(*arguments).named("set the default branch by hand")
