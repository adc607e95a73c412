"""Which files in a repository's history are pointers to LFS objects: as git-lfs sees it, in every ref."""

import os
import shutil
import subprocess
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from embedded.github import FakeGitHub
from embedded.github_lfs import pointer
from embedded.organisation import Recipe, Stream, make_repository
from embedded.real_git import ENVIRONMENT, git
from github_s3_backup.git.lfs_pointers import find_pointers
from support.clients import git_client

needs_git_lfs = pytest.mark.skipif(
    shutil.which("git-lfs") is None, reason="git-lfs is not installed: nothing to compare with"
)


def oid(number: int) -> str:
    return f"{number:064x}"


def lines(*texts: str, end: str = "\n") -> bytes:
    return "".join(text + end for text in texts).encode()


VERSION = "version https://git-lfs.github.com/spec/v1"
EXTENSIONS = ("ext-0-foo sha256:" + "a" * 64, "ext-1-bar sha256:" + "b" * 64)
# Files that are pointers, by their name: each to the object whose OID is its place in this list, of that size.
POINTERS: dict[str, Callable[[str, int], bytes]] = {
    "plain": pointer,
    "empty": lambda oid, _: pointer(oid, 0),
    "huge": lambda oid, _: pointer(oid, 10**15),
    "of-2014": lambda oid, size: lines(
        "version https://hawser.github.com/spec/v1", f"oid sha256:{oid}", f"size {size}"
    ),
    "of-2013": lambda oid, size: lines("version http://git-media.io/v/2", f"oid sha256:{oid}", f"size {size}"),
    "extended": lambda oid, size: lines(VERSION, *EXTENSIONS, f"oid sha256:{oid}", f"size {size}"),
    "of-windows": lambda oid, size: lines(VERSION, f"oid sha256:{oid}", f"size {size}", end="\r\n"),
    "extended-of-windows": lambda oid, size: lines(
        VERSION, *EXTENSIONS, f"oid sha256:{oid}", f"size {size}", end="\r\n"
    ),
    "unended": lambda oid, size: pointer(oid, size).rstrip(),
    "blanks-behind": lambda oid, size: pointer(oid, size) + b"\n \n\t",
    "blanks-before": lambda oid, size: b"\n  " + pointer(oid, size),
    "blank-lines-between": lambda oid, size: pointer(oid, size).replace(b"\n", b"\n\n"),
    "of-1023-bytes": lambda oid, size: pointer(oid, size).ljust(1023, b"\n"),
}
# Files that are none.
OTHERS = {
    "README.md": b"A pointer looks like this:\n\n" + pointer(oid(901), 5),
    "quoted": b"".join(b"    " + line for line in pointer(oid(902), 5).splitlines(keepends=True)),
    "of-1024-bytes": pointer(oid(903), 5).ljust(1024, b"\n"),
    "rubbish-behind": pointer(oid(904), 5) + b"and more\n",
    "two": pointer(oid(905), 5) + pointer(oid(906), 5),
    "short-oid": pointer(oid(907)[1:], 5),
    "no-hex": pointer("g" + oid(908)[1:], 5),
    "sha-1": pointer(oid(909), 5).replace(b"sha256:", b"sha1:"),
    "negative": pointer(oid(910), -5),
    "no-size": pointer(oid(911), 5).replace(b"size 5\n", b""),
    "words-for-a-size": pointer(oid(912), 5).replace(b"size 5", b"size five"),
    "of-somebody-else": pointer(oid(913), 5).replace(b"git-lfs.github.com", b"example.com"),
    "of-the-future": pointer(oid(914), 5).replace(b"spec/v1", b"spec/v2"),
    "size-first": lines(VERSION, "size 5", f"oid sha256:{oid(915)}"),
    "no-version": lines(f"oid sha256:{oid(916)}", "size 5", " " * 30),
    "nothing": b"",
    "binary": bytes(range(130)),
}
WANTED = {oid(number): {"empty": 0, "huge": 10**15}.get(name, number) for number, name in enumerate(POINTERS, 100)}
FILES = {name: write(oid(number), number) for number, (name, write) in enumerate(POINTERS.items(), 100)} | OTHERS


def mirror_of(folder: Path, fill: Callable[[Stream], object], object_format: str = "sha1") -> Path:
    def fill_it(stream: Stream) -> None:
        fill(stream)

    return make_repository(folder / "git", Recipe("mirror", fill_it, object_format=object_format))


def found(folder: Path, github: FakeGitHub, mirror: Path) -> dict[str, int]:
    """Return the only size that is given for each object."""
    return {oid: size for oid, (size,) in find_pointers(git_client(folder, github), mirror).items()}


def test_the_pointers_are_found_and_nothing_else(tmp_path: Path, github: FakeGitHub) -> None:
    mirror = mirror_of(tmp_path, lambda stream: stream.commit("refs/heads/main", FILES))
    assert found(tmp_path, github, mirror) == WANTED


def test_every_size_is_found_that_is_given_for_an_object(tmp_path: Path, github: FakeGitHub) -> None:
    damaged = {"a": pointer(oid(1), 50), "b": pointer(oid(1), 7), "c": pointer(oid(1), 50), "d": pointer(oid(2), 3)}
    mirror = mirror_of(tmp_path, lambda stream: stream.commit("refs/heads/main", damaged))
    assert find_pointers(git_client(tmp_path, github), mirror) == {oid(1): (7, 50), oid(2): (3,)}


def test_what_a_replace_ref_hides_is_found_and_what_it_shows_is_not_taken_for_it(
    tmp_path: Path, github: FakeGitHub
) -> None:
    """A replace ref may hide one file behind another; git obeys it unless it is told not to."""
    mirror = mirror_of(tmp_path, lambda stream: stream.commit("refs/heads/main", {"a": pointer(oid(1), 5)}))
    hidden = git(f"--git-dir={mirror}", "rev-parse", "refs/heads/main:a").decode().strip()
    other = git(f"--git-dir={mirror}", "hash-object", "-w", "--stdin", stdin=b"no pointer " * 20).decode().strip()
    git(f"--git-dir={mirror}", "update-ref", f"refs/replace/{hidden}", other)
    assert found(tmp_path, github, mirror) == {oid(1): 5}


def test_an_oid_in_upper_case_is_none(tmp_path: Path, github: FakeGitHub) -> None:
    """git-lfs takes it for one, and no server has an object of that name: the specification wants lower case."""
    upper = pointer("ABCDEF" + oid(1)[6:], 5)
    mirror = mirror_of(tmp_path, lambda stream: stream.commit("refs/heads/main", {"upper": upper}))
    assert found(tmp_path, github, mirror) == {}


@needs_git_lfs
def test_git_lfs_sees_the_same_pointers(tmp_path: Path, github: FakeGitHub) -> None:
    mirror = mirror_of(tmp_path, lambda stream: stream.commit("refs/heads/main", FILES))
    listed = git(f"--git-dir={mirror}", "lfs", "ls-files", "--all", "--long").decode().splitlines()
    empty = next(oid for oid, size in WANTED.items() if size == 0)  # which ls-files leaves out
    assert found(tmp_path, github, mirror).keys() == {line.split(" ")[0] for line in listed} | {empty}


@needs_git_lfs
@pytest.mark.parametrize("name", FILES)
def test_git_lfs_judges_each_file_alike(tmp_path: Path, name: str) -> None:
    checked = subprocess.run(
        ["git", "lfs", "pointer", "--check", "--stdin"], cwd=tmp_path, env=ENVIRONMENT, input=FILES[name], check=False
    )
    takes_it = checked.returncode == 0 and FILES[name] != b""
    assert takes_it == (name in POINTERS or name == "of-1024-bytes")  # which is given whole here, and cut off in git


@pytest.mark.parametrize("object_format", ["sha1", "sha256"])
def test_they_are_found_in_the_history_of_every_ref(tmp_path: Path, github: FakeGitHub, object_format: str) -> None:
    refs = ("heads/main", "heads/a/b", "tags/light", "notes/commits", "pull/7/head", "pull/7/merge", "custom/x")

    def fill(stream: Stream) -> None:
        for number, ref in enumerate(refs):
            old = stream.commit(f"refs/{ref}", {"deep/folder/a.bin": pointer(oid(2 * number), 7)})
            stream.commit(f"refs/{ref}", {"deep/folder/a.bin": pointer(oid(2 * number + 1), 8)}, old)
        stream.tag("v1", stream.commit("refs/heads/temporary", {"a": pointer(oid(50), 9)}))

    mirror = mirror_of(tmp_path, fill, object_format)
    git(f"--git-dir={mirror}", "update-ref", "-d", "refs/heads/temporary")
    blob = git(f"--git-dir={mirror}", "hash-object", "-w", "--stdin", stdin=pointer(oid(51), 9)).decode().strip()
    git(f"--git-dir={mirror}", "update-ref", "refs/tags/of-a-blob", blob)
    wanted = {oid(number): 7 + number % 2 for number in range(2 * len(refs))} | {oid(50): 9, oid(51): 9}
    assert found(tmp_path, github, mirror) == wanted


def test_a_repository_without_objects_has_none(tmp_path: Path, github: FakeGitHub) -> None:
    assert found(tmp_path, github, mirror_of(tmp_path, lambda _: None)) == {}


@pytest.mark.exhaustive
def test_a_hundred_thousand_small_files_pass_through_little_memory(tmp_path: Path, github: FakeGitHub) -> None:
    """Each is as large as a pointer: 30 MB in all."""
    filler = os.urandom(120).hex().encode()
    files = {f"{number // 1000}/{number}": b"%060d" % number + filler for number in range(100_000)}
    mirror = mirror_of(tmp_path, lambda stream: stream.commit("refs/heads/main", files | {"a": pointer(oid(1), 5)}))
    files.clear()
    tracemalloc.start()
    try:
        assert found(tmp_path, github, mirror) == {oid(1): 5}
        assert tracemalloc.get_traced_memory()[1] < 8 * 1024**2
    finally:
        tracemalloc.stop()
    assert not list(mirror.glob("tmp*"))
