"""Nothing hangs a run: not a server that sends a byte now and then, and not an endless clone."""

import time
from pathlib import Path

import psutil
import pytest
import requests

from embedded.github import FakeGitHub, Fault
from embedded.organisation import RECIPES
from github_s3_backup.backup.repository.clone import Cloner
from github_s3_backup.git.mirror import Limits, clone_mirror
from github_s3_backup.git.process import GitError
from github_s3_backup.github.transport.http import new_session
from github_s3_backup.github.transport.rest import Api, GitHubError
from github_s3_backup.runtime.patience import LONG, USUAL, Patience
from github_s3_backup.runtime.stop import Stop
from support.changing import add_large, grow
from support.clients import FastStop, Log, git_client, github_client
from support.world import Repositories, World

GB = 1024**3
REFS = r"GET /acme/fork\.git/info/refs"
PACK = r"POST /acme/fork\.git/git-upload-pack"


def descendants() -> set[psutil.Process]:
    """Return what this process has started, and the processes those have started."""
    return {process for process in psutil.Process().children(recursive=True) if _is_alive(process)}


def _is_alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


# -- a run -----------------------------------------------------------------------------------------


def test_changes_that_are_still_arriving_at_the_deadline_are_a_failure(world: World) -> None:
    repository = add_large(world)
    first = world.run().repos["acme/api"]
    grow(repository)
    world.github.faults = [Fault(r"POST /acme/api\.git/git-upload-pack", status=0, drip=0.2)]
    run = world.run(RUN_DEADLINE_HOURS="0.0008")
    assert run.code == 1, run.output
    assert run.manifest is not None
    assert run.manifest["complete"] is True
    assert "the run's deadline (RUN_DEADLINE_HOURS) passed" in run.failures["acme/api"]["error"]
    assert [entry["sha256"] for entry in run.manifest["last_good"]] == [first["sha256"]]
    assert world.run().repos["acme/api"]["base"]["sha256"] == first["sha256"]


def test_at_its_deadline_a_run_fails_what_is_still_going_and_writes_its_manifest(world: World) -> None:
    """The pack comes at 5 bytes a second, which no minimum speed ends within the run's 7 seconds."""
    for name, size in (("fork", 9000), ("api", 10), ("empty", 1)):
        world.add(name, size_kb=size)
    world.github.faults = [Fault(PACK, status=0, drip=0.2, times=99)]
    before, started = descendants(), time.monotonic()
    run = world.run(RUN_DEADLINE_HOURS="0.002")
    assert 7.2 <= time.monotonic() - started < 30
    assert run.code == 1, run.output
    assert run.manifest is not None
    assert run.manifest["complete"] is True
    assert run.repos.keys() == {"acme/api", "acme/empty"}
    assert run.failures.keys() == {"acme/fork"}
    assert "the run's deadline (RUN_DEADLINE_HOURS) passed" in run.failures["acme/fork"]["error"]
    assert run.events[-1]["event"] == "run finished"
    assert world.metrics()["BackupFailure"] == [1]
    assert world.metrics()["BackupSuccess"] == [2]
    assert {process for process in descendants() - before if "git" in process.name()} == set()


def test_a_deadline_during_the_listing_ends_the_run_before_it_started(world: World) -> None:
    world.add("api")
    world.github.faults = [Fault("GET .*/installation/repositories", status=0, delay=60)]
    started = time.monotonic()
    run = world.run(RUN_DEADLINE_HOURS="0.0002")
    assert time.monotonic() - started < 30
    assert run.code == 2
    assert run.problems == ["RUN_DEADLINE_HOURS: the repositories were not listed within 0.0002 hours"]
    assert world.stored_keys() == set()
    assert world.metrics()["BackupFailure"] == [1]


# -- a clone ---------------------------------------------------------------------------------------


@pytest.fixture
def dripping(github: FakeGitHub, repositories: Repositories) -> str:
    """The URL of a repository whose pack comes at 50 bytes a second."""
    github.add("acme", "fork", repositories.path(RECIPES["fork"]), private=False)
    github.faults = [Fault(PACK, status=0, drip=0.02, times=99)]
    return f"{github.server_url}/acme/fork.git"


def test_a_clone_below_the_minimum_speed_is_given_up(tmp_path: Path, github: FakeGitHub, dripping: str) -> None:
    started = time.monotonic()
    with pytest.raises(GitError, match="Operation too slow") as caught:
        clone_mirror(git_client(tmp_path, github), dripping, tmp_path / "mirror.git", "token", Limits(slow_seconds=2))
    assert caught.value.too_slow
    assert not caught.value.permanent, "the server may be counting: it is asked once more, with more patience"
    assert 2 <= time.monotonic() - started < 15
    assert not (tmp_path / "mirror.git").exists()


def test_a_clone_beyond_its_deadline_is_killed_with_its_children(
    tmp_path: Path, github: FakeGitHub, dripping: str
) -> None:
    before = descendants()
    with pytest.raises(GitError, match="git clone was killed after 1 s, the deadline for this repository") as caught:
        clone_mirror(git_client(tmp_path, github), dripping, tmp_path / "mirror.git", "token", Limits(lambda: 1))
    assert caught.value.permanent
    assert {process for process in descendants() - before if "git-remote" in process.name()} == set()


def test_git_that_hangs_is_killed_with_what_it_started(tmp_path: Path, github: FakeGitHub) -> None:
    started = time.monotonic()
    with pytest.raises(GitError, match="was killed after 1 s"):
        git_client(tmp_path, github).run("-c", "alias.hang=!sleep 71.5", "hang", deadline=lambda: 1)
    assert time.monotonic() - started < 10
    assert [process for process in descendants() if "71.5" in " ".join(process.cmdline())] == []


def test_the_deadline_of_a_clone_grows_with_what_has_arrived() -> None:
    """GitHub's size may be wrong: a repository of 100 GB may be listed with 0."""
    assert 10 * 60 <= USUAL.seconds(0) <= 30 * 60
    assert USUAL.seconds(100 * GB) > 100 * GB / 1_000_000, "a connection of 1 MB/s is no fault"
    assert LONG.seconds(0) > 10 * USUAL.seconds(0)


def test_git_goes_on_for_as_long_as_its_deadline_moves_on(tmp_path: Path, github: FakeGitHub) -> None:
    deadlines = iter([1, 2, 60])
    git_client(tmp_path, github).run("-c", "alias.slow=!sleep 3", "slow", deadline=lambda: next(deadlines, 60))
    assert next(deadlines, None) is None


def test_what_took_too_long_gets_far_more_time_from_the_next_run(world: World) -> None:
    """The server's words are those of git where it is silent for too long."""
    world.add("fork")
    silent = Fault(REFS, status=503, raw="Operation too slow.", headers={"Content-Type": "text/plain"}, times=99)
    world.github.faults = [silent]
    run = world.run()
    assert run.failures["acme/fork"]["timed_out"] is True
    world.yesterday()
    world.github.faults = [Fault(PACK, status=0, delay=3)]
    process = world.start()
    seen: set[str] = set()
    while process.poll() is None:
        seen |= {part for each in descendants() for part in cmdline(each) if part.startswith("http.lowSpeedTime=")}
        time.sleep(0.1)
    assert world.end(process).code == 0
    assert f"http.lowSpeedTime={LONG.silences[0]}" in seen
    assert LONG.silences[0] >= 10 * USUAL.silences[0]


def cmdline(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.NoSuchProcess:
        return []


@pytest.mark.parametrize("silences", [(1, 3), (1,)])
def test_a_server_that_is_silent_for_too_long_is_asked_once_more_with_more_patience(
    tmp_path: Path, github: FakeGitHub, repositories: Repositories, silences: tuple[int, ...]
) -> None:
    github.add("acme", "fork", repositories.path(RECIPES["fork"]))
    github.faults = [Fault(PACK, status=0, delay=2.2)]
    log, stop = Log(), FastStop()
    client = github_client(github, log, stop)
    (listed,) = client.repositories(client.installations.all()[0]).repositories
    cloner = Cloner(client, git_client(tmp_path, github), stop, log.logger, Patience(60.0, silences))
    if len(silences) == 1:
        with pytest.raises(GitError, match="Operation too slow") as caught:
            cloner.clone(listed, tmp_path / "mirror.git")
        assert caught.value.timed_out
        assert caught.value.permanent
    else:
        assert cloner.clone(listed, tmp_path / "mirror.git")[1].refs


# -- an answer of the API --------------------------------------------------------------------------


def test_an_answer_that_drips_is_given_up_and_asked_for_again(github: FakeGitHub) -> None:
    github.faults = [Fault("GET .*/app/installations", status=500, drip=0.02)]
    api = Api(github.api_url, new_session(None, 2), Stop(), Log().logger, answer_seconds=1)
    started = time.monotonic()
    with pytest.raises(GitHubError, match="the answer took longer than 1 s") as caught:
        api.send_once("GET", f"{github.api_url}/app/installations", github_authorization)
    assert 1 <= time.monotonic() - started < 10
    assert not caught.value.permanent


def github_authorization() -> str:
    return "Bearer nobody"


def test_a_short_answer_that_drips_is_an_answer(github: FakeGitHub) -> None:
    raw = "[]"
    github.faults = [Fault("GET .*/app/installations", status=200, raw=raw, drip=0.02)]
    api = Api(github.api_url, new_session(None, 2), Stop(), Log().logger, answer_seconds=10)
    answer: requests.Response = api.send_once("GET", f"{github.api_url}/app/installations", github_authorization)
    assert answer.json() == []
