"""Repositories with more than git data, for the embedded GitHub: LFS pointers in the history, a wiki, releases."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from embedded.github import FakeRepository
from embedded.github_lfs import LfsStore
from embedded.github_releases import FakeFile, FakeRelease
from embedded.organisation import Recipe, Stream, make_repository
from embedded.real_git import git
from support.world import World

ATTRIBUTES = b"*.bin filter=lfs diff=lfs merge=lfs -text\n"


@dataclass
class LfsHistory:
    """A repository's LFS objects, by where a pointer to each stands."""

    store: LfsStore
    on_main: str
    only_in_the_past: str
    on_a_branch: str
    in_a_pull_request: str

    @property
    def oids(self) -> set[str]:
        return {self.on_main, self.only_in_the_past, self.on_a_branch, self.in_a_pull_request}


def add_with_lfs(world: World, name: str = "game", **about: Any) -> tuple[FakeRepository, LfsHistory]:
    """Add a repository whose refs point at LFS objects, one of them only in an old commit."""
    store = LfsStore(world.folder / f"lfs-{name}")
    oids = [store.add(os.urandom(size)) for size in (1000, 20_000, 3, 0)]
    pointers = [store.pointer(oid) for oid in oids]

    def fill(stream: Stream) -> None:
        old = stream.commit("refs/heads/main", {".gitattributes": ATTRIBUTES, "a.bin": pointers[1]})
        new = stream.commit("refs/heads/main", {".gitattributes": ATTRIBUTES, "a.bin": pointers[0]}, old)
        stream.commit("refs/heads/level/two", {"b.bin": pointers[2]}, new)
        stream.commit("refs/pull/1/head", {"c.bin": pointers[3]}, new)
        stream.point("refs/tags/v1", old)

    repository = add(world, name, fill, lfs=store, **about)
    return repository, LfsHistory(store, *oids)


def add_with_everything(world: World, name: str = "game") -> FakeRepository:
    """Add a repository with LFS objects, a wiki, and a release with a file."""
    repository, _ = add_with_lfs(world, name)
    repository.wiki = make_wiki(world.folder / "git", name, {"Home.md": b"# Home\n"})
    repository.releases = [release(Numbers(), "v1", {"game.zip": b"a game " * 1000})]
    return repository


def add(world: World, name: str, fill: Any, **about: Any) -> FakeRepository:
    """Add a repository of the test's own."""
    path = make_repository(world.folder / "git", Recipe(name, fill))
    return world.github.add("acme", name, path, **about)


def push(path: Path, files: dict[str, bytes], ref: str = "refs/heads/main") -> None:
    """Commit files on top of a ref of a git directory, as somebody who pushes."""
    lines = [f"commit {ref}\ncommitter A <a@b.c> 1700000000 +0000\ndata 4\npush\nfrom {ref}^0".encode()]
    lines += [f"M 100644 inline {name}\ndata {len(content)}\n".encode() + content for name, content in files.items()]
    git(f"--git-dir={path}", "fast-import", "--quiet", stdin=b"\n".join(lines) + b"\n")


def make_wiki(folder: Path, name: str, pages: dict[str, bytes], branch: str = "master") -> Path:
    """Make a wiki's git directory below a folder."""
    recipe = Recipe(f"{name}.wiki", lambda stream: _pages(stream, branch, pages), head=f"refs/heads/{branch}")
    return make_repository(folder, recipe)


def _pages(stream: Stream, branch: str, pages: dict[str, bytes]) -> None:
    if pages:
        stream.commit(f"refs/heads/{branch}", pages)


@dataclass
class Numbers:
    """Ids for releases and their files."""

    last: int = field(default=500)

    def next(self) -> int:
        self.last += 1
        return self.last


def release(numbers: Numbers, tag: str, files: dict[str, bytes], **about: Any) -> FakeRelease:
    """Return a release with files of this content; `digests=False`: GitHub does not know their SHA-256."""
    has_digest = about.pop("digests", True)
    made = [FakeFile(numbers.next(), name, body, has_digest=has_digest) for name, body in files.items()]
    return FakeRelease(numbers.next(), tag, name=f"Release {tag}", body=f"Notes of {tag}", files=made, **about)


def when_releases_are_listed(world: World, do: Any) -> None:
    """Do something once, before GitHub answers with a repository's releases."""
    seen = world.github.on_answer

    def answer(method: str, template: str, status: int, body: Any) -> None:
        seen(method, template, status, body)
        if template == "/repos/{owner}/{repo}/releases":
            do()

    world.github.on_answer = answer
