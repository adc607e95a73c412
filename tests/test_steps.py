"""Pushing in steps: a server that takes no more than so many bytes at once gets everything in the end."""

import random
from pathlib import Path

import pytest

from embedded.organisation import Stream
from embedded.real_git import git, served_refs
from git import Git
from steps import History, Step, plan_steps
from stop import Stop

KB = 1024
LIMIT = 500 * KB


class Content:
    """Files that can't be compressed, so that bytes in are bytes pushed."""

    def __init__(self) -> None:
        self._random = random.Random(1)  # noqa: S311

    def file(self, size: int = 100 * KB) -> dict[str, bytes]:
        return {f"{self._random.random()}.bin": self._random.randbytes(size)}


def chain(stream: Stream, content: Content, ref: str, length: int, parent: int | None = None) -> int:
    for _ in range(length):
        parent = stream.commit(ref, content.file(), parent)
    assert parent
    return parent


def linear(stream: Stream, content: Content) -> None:
    stream.tag("v1", chain(stream, content, "refs/heads/main", 23))


def many_branches(stream: Stream, content: Content) -> None:
    base = chain(stream, content, "refs/heads/main", 3)
    for number in range(12):
        stream.point(f"refs/heads/b{number}", chain(stream, content, "refs/heads/tip", 2, base))


def merged_histories(stream: Stream, content: Content) -> None:
    """The first commit on main that is not there is a merge of a history larger than the limit."""
    side = chain(stream, content, "refs/heads/side", 17)
    main = chain(stream, content, "refs/heads/main", 1)
    merge = stream.merge("refs/heads/main", main, side)
    chain(stream, content, "refs/heads/main", 3, merge)


def tagged_only(stream: Stream, content: Content) -> None:
    stream.tag("v1", chain(stream, content, "refs/tags/light", 12))


def small(stream: Stream, content: Content) -> None:
    chain(stream, content, "refs/heads/main", 2)


@pytest.fixture
def git_program(tmp_path: Path) -> Git:
    (tmp_path / "scratch").mkdir()
    return Git(tmp_path / "scratch", "file:///", Stop())


def push(mirror: Path, step: Step, server: Path) -> None:
    specs = [f"{name.decode()}:{name.decode()}" for name in step.refs]
    specs += [f"{oid.decode()}:refs/heads/milestones/{oid.decode()}" for oid in step.milestones]
    git(f"--git-dir={mirror}", "push", "--quiet", server, *specs)


@pytest.mark.parametrize(
    "fill", [linear, many_branches, merged_histories, tagged_only, small], ids=lambda one: one.__name__
)
def test_no_step_is_larger_than_the_limit(fill, git_program: Git, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    mirror, server = tmp_path / "mirror.git", tmp_path / "server.git"
    stream = Stream()
    fill(stream, Content())
    git("init", "--quiet", "--bare", "--initial-branch=main", mirror)
    git(f"--git-dir={mirror}", "-c", "core.compression=0", "fast-import", "--quiet", stdin=bytes(stream.data))
    git("init", "--quiet", "--bare", "--initial-branch=main", server)
    git("-C", server, "config", "receive.maxInputSize", str(int(LIMIT * 1.1)))
    wanted = {name.encode(): oid.encode() for name, oid in served_refs(mirror).items() if name != "HEAD"}
    steps = plan_steps(History(git_program, mirror), wanted, {}, LIMIT)
    assert (len(steps) == 1) == (fill is small)
    assert len(steps) <= 14
    for step in steps:
        push(mirror, step, server)
    there = {name.encode(): oid.encode() for name, oid in served_refs(server).items()}
    assert {name: oid for name, oid in there.items() if name in wanted} == wanted
    assert plan_steps(History(git_program, mirror), wanted, there, LIMIT) == []


def test_one_commit_that_is_larger_than_the_limit_is_a_step_of_its_own(git_program: Git, tmp_path: Path) -> None:
    mirror = tmp_path / "mirror.git"
    stream, content = Stream(), Content()
    mark = chain(stream, content, "refs/heads/main", 2)
    mark = stream.commit("refs/heads/main", content.file(3 * LIMIT), mark)
    chain(stream, content, "refs/heads/main", 2, mark)
    git("init", "--quiet", "--bare", "--initial-branch=main", mirror)
    git(f"--git-dir={mirror}", "-c", "core.compression=0", "fast-import", "--quiet", stdin=bytes(stream.data))
    wanted = {b"refs/heads/main": served_refs(mirror)["refs/heads/main"].encode()}
    steps = plan_steps(History(git_program, mirror), wanted, {}, LIMIT)
    assert [len(step.milestones) for step in steps] == [1, 1, 0]


def test_many_refs_are_pushed_a_thousand_at_a_time(git_program: Git, tmp_path: Path) -> None:
    mirror = tmp_path / "mirror.git"
    git("init", "--quiet", "--bare", "--initial-branch=main", mirror)
    stream = Stream()
    mark = stream.history("refs/heads/main", 1)
    for number in range(2500):
        stream.point(f"refs/heads/b{number:04}", mark)
    git(f"--git-dir={mirror}", "fast-import", "--quiet", stdin=bytes(stream.data))
    wanted = {name.encode(): oid.encode() for name, oid in served_refs(mirror).items() if name != "HEAD"}
    steps = plan_steps(History(git_program, mirror), wanted, {}, LIMIT)
    assert [len(step.refs) for step in steps] == [1000, 1000, 501]
