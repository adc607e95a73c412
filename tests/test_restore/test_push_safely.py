"""Restoring to GitHub publishes nothing and runs nothing, and says what it leaves out."""

import random

from embedded.github import FakeGitHub, Fault
from embedded.organisation import Stream
from embedded.real_git import git, served_refs
from support.world import World
from test_restore.test_push import (
    NEW_OWNER,
    add_stream,
    again,
    noisy,
    occupied,
    pushable,
    restored,
    source_of,
    stored,
    target,
    writes,
)

__all__ = ["again", "stored", "target"]


# -- nothing is published ------------------------------------------------------------------------


def test_a_private_repository_goes_into_no_public_one_unless_that_is_allowed_by_name(
    again: World, target: FakeGitHub
) -> None:
    for name in ("api", "archived"):
        target.create(NEW_OWNER, name, private=False, settings={})
    arguments = ("push", "acme/api", "acme/archived", "acme/public", "--to", NEW_OWNER)
    planned = again.restore(*arguments, "--dry-run")
    for run in (planned, again.restore(*arguments)):
        assert run.failures.keys() == {"acme/api", "acme/archived"}
        assert "acme/api was private" in run.failures["acme/api"]
        assert "is public: make the target private first" in run.failures["acme/api"]
        assert "--allow-more-readers acme/api" in run.failures["acme/api"]
    assert served_refs(restored(target, "api").path) == {}
    allowed = again.restore(*arguments, "--allow-more-readers", "acme/api")
    assert allowed.failures.keys() == {"acme/archived"}
    assert pushable(restored(target, "api").path) == source_of(again, "api")


def test_a_public_repository_of_that_name_that_is_found_when_it_is_made_gets_nothing(
    again: World, target: FakeGitHub
) -> None:
    target.create(NEW_OWNER, "api", private=False, settings={})
    target.faults.append(Fault(f"GET .*/repos/{NEW_OWNER}/api", status=404, message="Not Found"))
    run = again.restore("push", "acme/api", "--to", NEW_OWNER)
    assert "is public" in run.failures["acme/api"]
    assert served_refs(restored(target, "api").path) == {}


def test_a_repository_that_becomes_public_before_the_push_gets_nothing(again: World, target: FakeGitHub) -> None:
    def publish(method: str, template: str, _status: int, _body: object) -> None:
        if method == "PUT" and template.endswith("/actions/permissions"):
            restored(target, "api").private = False

    target.on_answer = publish
    run = again.restore("push", "acme/api", "--to", NEW_OWNER)
    assert "is public" in run.failures["acme/api"]
    assert served_refs(restored(target, "api").path) == {}


# -- nothing is run ------------------------------------------------------------------------------


def test_actions_are_off_before_a_repository_in_use_changes(world: World, target: FakeGitHub) -> None:
    _, there = occupied(world, target)
    restored(target, "api").actions_enabled = True
    git(f"--git-dir={there}", "update-ref", "-d", "refs/heads/feature/login")
    before = len(target.exchanges)
    arguments = ("push", "--all", "--to", NEW_OWNER, "--overwrite")
    assert "switch Actions off: the branches bring their workflows" in world.restore(*arguments, "--dry-run").stdout
    run = world.restore(*arguments)
    assert run.code == 0, run.stderr
    changes = [
        f"{item.method} {item.path}"
        for item in target.exchanges[before:]
        if item.method in ("PUT", "POST") and item.body
    ]
    order = [change for change in changes if "upload-pack" not in change]
    assert order[0] == f"PUT /api/v3/repos/{NEW_OWNER}/api/actions/permissions"
    assert not restored(target, "api").actions_enabled
    (warning,) = run.named("Actions switched off, switch them on again")
    assert warning["settings"] == f"{target.server_url}/{NEW_OWNER}/api/settings/actions"
    calm = len(writes(target))
    assert world.restore(*arguments).code == 0
    assert len(writes(target)) == calm


def test_where_actions_can_t_be_switched_off_nothing_is_pushed(world: World, target: FakeGitHub) -> None:
    _, there = occupied(world, target)
    before = served_refs(there)
    target.faults.append(Fault("GET .*/actions/permissions", status=403))
    run = world.restore("push", "--all", "--to", NEW_OWNER, "--overwrite")
    assert "Actions must be off" in run.failures["acme/api"]
    assert served_refs(there) == before


def test_a_branch_that_brings_workflows_of_its_own_is_named(world: World, target: FakeGitHub) -> None:
    stream = Stream()
    base = stream.commit("refs/heads/main", {".github/workflows/ci.yml": b"on: push", "code": b"code"})
    stream.commit("refs/heads/plain", {"other": b"other"}, base)
    stream.commit("refs/heads/forged", {".github/workflows/steal.yml": b"on: push"}, base)
    add_stream(world, "flows", stream)
    world.run()
    assert world.restore("push", "--all", "--to", NEW_OWNER).code == 0
    there = restored(target, "flows").path
    for name in ("plain", "forged"):
        git(f"--git-dir={there}", "update-ref", "-d", f"refs/heads/{name}")
    arguments = ("push", "--all", "--to", NEW_OWNER)
    assert "refs/heads/forged" in world.restore(*arguments, "--dry-run").stdout
    (warning,) = world.restore(*arguments).named("branches bring workflows that the target does not have")
    assert warning["branches"] == "refs/heads/forged"


# -- nothing is lost silently --------------------------------------------------------------------


def test_refs_that_github_keeps_for_itself_are_named_and_pushed_as_branches_if_told(
    world: World, target: FakeGitHub
) -> None:
    stream = Stream()
    base = stream.history("refs/heads/main", 2)
    stream.commit("refs/pins/release", {"pinned": b"pinned"}, base)
    stream.commit("refs/pull/7/head", {"pulled": b"pulled"}, base)
    source = add_stream(world, "hidden", stream)
    alone = Stream()
    alone.commit("refs/pins/only", {"only": b"only"})
    add_stream(world, "only-hidden", alone)
    world.run()
    arguments = ("push", "--all", "--to", NEW_OWNER)
    said = "leave out 2 refs that GitHub reserves: 1 refs/pins, 1 refs/pull"
    assert said in world.restore(*arguments, "--dry-run").stdout
    run = world.restore(*arguments)
    assert run.code == 0, run.stderr
    assert said in [event["note"].partition(" (")[0] for event in run.named("left out")]
    assert pushable(restored(target, "only-hidden").path) == {}
    again = world.restore(*arguments, "--hidden-refs-as", "kept")
    assert again.code == 0, again.stderr
    refs, there = served_refs(source.path), served_refs(restored(target, "hidden").path)
    assert there["refs/heads/kept/pins/release"] == refs["refs/pins/release"]
    assert there["refs/heads/kept/pull/7/head"] == refs["refs/pull/7/head"]
    assert pushable(restored(target, "only-hidden").path).keys() == {"refs/heads/kept/pins/only"}
    assert not again.named("left out")


def test_a_file_that_github_refuses_is_found_without_sending_everything_again(world: World, target: FakeGitHub) -> None:
    stream = Stream()
    noise = random.Random(1)  # noqa: S311
    base = stream.commit("refs/heads/main", {"code": noise.randbytes(400_000)})
    large = stream.commit("refs/heads/large", {"big file.bin": noise.randbytes(600_000)}, base)
    for number in range(30):
        stream.commit(f"refs/heads/good-{number}", {"code": b"%d" % number}, base)
        stream.commit(f"refs/heads/bad-{number}", {"code": b"%d" % number}, large)
    source = add_stream(world, "large", stream)
    world.run()
    target.file_limit = 500_000
    run = world.restore("push", "--all", "--to", NEW_OWNER)
    assert run.code == 1
    said = run.failures["acme/large"]
    assert "31 of 62 refs were refused" in said
    assert "File big file.bin is 0.57 MB" in said
    assert "git lfs migrate import" in said
    good = {name: oid for name, oid in pushable(source.path).items() if "bad" not in name and "large" not in name}
    assert pushable(restored(target, "large").path) == good
    assert len(target.requests("POST .*git-receive-pack")) <= 4  # a refused push, one of the others, and probes
    assert sum(target.pushed) < 1_600_000


def test_what_refuses_a_push_without_naming_anything_does_not_go_on_for_ever(world: World, target: FakeGitHub) -> None:
    stream = Stream()
    for number in range(40):
        noisy(stream, f"refs/heads/{number:02}", 1, 20_000)
    add_stream(world, "refused", stream)
    world.run()
    target.refusal = "nothing but no"
    run = world.restore("push", "--all", "--to", NEW_OWNER)
    assert "40 of 40 refs were refused" in run.failures["acme/refused"]
    assert "nothing but no" in run.failures["acme/refused"]
    assert sum(target.pushed) < 40 * 20_000 * 6
