"""Restoring to GitHub and to other git servers: everything comes back, and nothing that is there is lost."""

import json
import random
import re
from pathlib import Path

import pytest

from embedded.github import FakeGitHub, FakeRepository, Fault
from embedded.organisation import AWKWARD, Stream
from embedded.real_git import git, served_refs
from world import World

NEW_OWNER = "acme-restored"
PUSHED = ("refs/heads/", "refs/tags/", "refs/notes/")


@pytest.fixture
def target(world: World) -> FakeGitHub:
    """A GitHub that takes new repositories; the token for it is in the world's variables."""
    world.github.new_repositories = world.folder / "created"
    owners = [NEW_OWNER, "octocat"]
    world.variables["RESTORE_TOKEN"] = world.github.personal_token("octocat", owners)
    return world.github


def pushable(path: Path) -> dict[str, str]:
    return {name: oid for name, oid in served_refs(path).items() if name.startswith(PUSHED)}


def restored(github: FakeGitHub, name: str, owner: str = NEW_OWNER) -> FakeRepository:
    found = github.find(owner, name)
    assert found, f"{owner}/{name} was not made"
    return found


def writes(github: FakeGitHub) -> list[str]:
    """Return the requests that change something."""
    asked = github.requests("^(POST|PUT|PATCH|DELETE) (?!.*(upload-pack|access_tokens))")
    return [f"{one.method} {one.path}" for one in asked]


def big(world: World, name: str, commits: int, size: int = 300_000) -> FakeRepository:
    """Add a repository whose history is so many commits of `size` bytes."""
    noise, mark, stream = random.Random(1), None, Stream()  # noqa: S311
    for number in range(commits):
        mark = stream.commit("refs/heads/main", {f"{number}.bin": noise.randbytes(size)}, mark)
    path = world.folder / "sources" / f"{name}.git"
    git("init", "--quiet", "--bare", "--initial-branch=main", path)
    git(f"--git-dir={path}", "-c", "core.compression=0", "fast-import", "--quiet", stdin=bytes(stream.data))
    return world.github.add("acme", name, path)


# -- everything comes back -----------------------------------------------------------------------


def test_the_whole_organisation_is_pushed_to_another_owner(world: World, target: FakeGitHub) -> None:
    sources = {one.name: world.add(one.name) for one in AWKWARD if one.owner == "acme" and one.name != "sha256"}
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
    assert len(again.named("was there already")) == len(sources)
    assert len(writes(target)) == before


def test_what_the_target_refuses_does_not_stop_the_others(world: World, target: FakeGitHub) -> None:
    """GitHub takes no SHA-256 repositories."""
    world.add("sha256")
    world.add("api")
    world.run()
    run = world.restore("push", "acme", "--to", NEW_OWNER)
    assert run.code == 1
    assert list(run.failures) == ["acme/sha256"]
    assert "a sha256 repository, which this server does not take" in run.failures["acme/sha256"]
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
    assert "the restore App is not installed at octocat" in elsewhere.failures["acme/api"]


def test_any_git_server_takes_repositories_that_are_there(world: World) -> None:
    source = world.add("api")
    world.add("gitlinks")
    world.run()
    server = world.folder / "server"
    git("init", "--quiet", "--bare", server / "acme" / "api.git")
    run = world.restore("push", "--all", "--url", f"file://{server}/{{owner}}/{{name}}.git")
    assert run.code == 1
    assert "make the repository on the server first" in run.failures["acme/gitlinks"]
    assert pushable(server / "acme" / "api.git") == pushable(source.path)


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
    assert run.named("trying again")


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
        ({"RESTORE_TOKEN": "ghp_a b"}, "RESTORE_TOKEN holds blanks"),
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
    run = world.restore("push", "--all", "--to", NEW_OWNER, RESTORE_TOKEN=token)
    assert run.code == 1
    assert f"is there an organisation {NEW_OWNER} that the token may write to?" in run.failures["acme/api"]
    wrong = world.restore("push", "--all", "--to", NEW_OWNER, RESTORE_TOKEN="ghp_" + "x" * 36)
    assert "Bad credentials" in wrong.failures["acme/api"]
