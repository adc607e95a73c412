"""Pushing in steps: a server that takes no more than so many bytes at once gets everything in the end."""

import random
from collections.abc import Iterable
from pathlib import Path

import pytest

from embedded.organisation import Stream
from embedded.real_git import git, served_refs
from github_s3_backup.git.process import Git
from github_s3_backup.restore.push.steps import History, Step, plan_steps
from github_s3_backup.runtime.stop import Stop

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
    "fill", [linear, many_branches, merged_histories, tagged_only, small], ids=lambda function: function.__name__
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


def test_few_questions_to_git_are_enough_for_many_refs(git_program: Git, tmp_path: Path) -> None:
    """Each question makes git walk a history that is larger than the limit."""

    class Asked(History):
        questions = 0

        def size(self, wanted: Iterable[bytes], there: Iterable[bytes]) -> int:
            Asked.questions += 1
            return super().size(wanted, there)

    mirror = tmp_path / "mirror.git"
    git("init", "--quiet", "--bare", "--initial-branch=main", mirror)
    stream, content = Stream(), Content()
    for number in range(300):
        stream.commit(f"refs/heads/b{number}", content.file(5 * KB))
    git(f"--git-dir={mirror}", "-c", "core.compression=0", "fast-import", "--quiet", stdin=bytes(stream.data))
    wanted = {name.encode(): oid.encode() for name, oid in served_refs(mirror).items() if name != "HEAD"}
    steps = plan_steps(Asked(git_program, mirror), wanted, {}, LIMIT)
    assert [name for step in steps for name in step.refs] == list(wanted)
    assert len(steps) == 4
    assert Asked.questions <= 50


def test_tags_of_files_and_folders_do_not_hinder_the_steps(git_program: Git, tmp_path: Path) -> None:
    mirror, server = tmp_path / "mirror.git", tmp_path / "server.git"
    stream = Stream()
    linear(stream, Content())
    for path in (mirror, server):
        git("init", "--quiet", "--bare", "--initial-branch=main", path)
    git(f"--git-dir={mirror}", "-c", "core.compression=0", "fast-import", "--quiet", stdin=bytes(stream.data))
    for number in range(3):
        content = Content().file(LIMIT + number).popitem()[1]
        blob = git(f"--git-dir={mirror}", "hash-object", "-w", "--stdin", stdin=content).decode().strip()
        git(f"--git-dir={mirror}", "update-ref", f"refs/tags/blob{number}", blob)
    tree = git(f"--git-dir={mirror}", "rev-parse", "main^{tree}").decode().strip()
    git(f"--git-dir={mirror}", "update-ref", "refs/tags/a-tree", tree)
    git(f"--git-dir={mirror}", "tag", "-a", "-m", "x", "nested", "v1")
    wanted = {name.encode(): oid.encode() for name, oid in served_refs(mirror).items() if name != "HEAD"}
    for step in plan_steps(History(git_program, mirror), wanted, {}, LIMIT):
        push(mirror, step, server)
    there = {name.encode(): oid.encode() for name, oid in served_refs(server).items()}
    assert {name: oid for name, oid in there.items() if name in wanted} == wanted
    assert plan_steps(History(git_program, mirror), wanted, there, LIMIT) == []
    del there[b"refs/heads/main"]
    assert plan_steps(History(git_program, mirror), wanted, there, LIMIT) == [
        Step({b"refs/heads/main": wanted[b"refs/heads/main"]})
    ]
