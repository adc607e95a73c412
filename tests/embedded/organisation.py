"""A generated organisation with every awkward repository that a backup meets."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from embedded.github import FakeGitHub, FakeRepository
from embedded.real_git import git

OWNER, SECOND_OWNER = "acme", "acme-labs"
WHO = "A U Thor <author@example.com> 1700000000 +0000"
BIG_FILE = 60 * 1024**2
IN_PARTS = 24 * 1024**2
MANY_REFS = 3000
LONG_NAME = "n" * 100
SUBMODULE = "1234567890123456789012345678901234567890"


class Stream:
    """A `git fast-import` stream, built up commit by commit. Marks are numbered from 1."""

    def __init__(self) -> None:
        self.data = bytearray()
        self._mark = 0

    def commit(self, ref: str, files: dict[str, bytes], parent: int | None = None) -> int:
        """Commit files on a ref, on top of an earlier commit's mark, and return the new mark."""
        self._mark += 1
        self._add(f"commit {ref}\nmark :{self._mark}\ncommitter {WHO}\ndata <<END\ncommit {self._mark}\nEND\n")
        if parent:
            self._add(f"from :{parent}\n")
        for path, content in files.items():
            self._add(f"M 100644 inline {path}\ndata {len(content)}\n")
            self.data += content + b"\n"
        self._add("\n")
        return self._mark

    def merge(self, ref: str, parent: int, other: int) -> int:
        """Merge another commit into a ref and return the new mark."""
        self._mark += 1
        self._add(f"commit {ref}\nmark :{self._mark}\ncommitter {WHO}\ndata <<END\nmerge\nEND\n")
        self._add(f"from :{parent}\nmerge :{other}\n\n")
        return self._mark

    def history(self, ref: str, length: int, seed: int = 1) -> int:
        """Commit `length` times on a ref and return the last mark."""
        content, mark = random.Random(seed), 0
        for number in range(length):
            text = "".join(f"line {content.random()}\n" for _ in range(20)).encode()
            mark = self.commit(ref, {f"src/file{number % 7}.txt": text}, mark or None)
        return mark

    def point(self, ref: str, mark: int) -> None:
        """Point a ref at a commit: a branch, a light tag, a pull request's head."""
        self._add(f"reset {ref}\nfrom :{mark}\n\n")

    def tag(self, name: str, mark: int) -> None:
        """Make an annotated tag."""
        self._add(f"tag {name}\nfrom :{mark}\ntagger {WHO}\ndata <<END\nrelease {name}\nEND\n\n")

    def gitlink(self, ref: str, path: str, parent: int) -> int:
        """Commit a submodule."""
        self._mark += 1
        self._add(f"commit {ref}\nmark :{self._mark}\ncommitter {WHO}\ndata <<END\nsubmodule\nEND\nfrom :{parent}\n")
        self._add(f"M 160000 {SUBMODULE} {path}\n\n")
        return self._mark

    def _add(self, text: str) -> None:
        self.data += text.encode()


@dataclass(frozen=True)
class Recipe:
    """How to make one repository and what GitHub says of it."""

    name: str
    fill: Callable[[Stream], None]
    owner: str = OWNER
    head: str = "refs/heads/main"
    object_format: str = "sha1"
    about: dict[str, Any] = field(default_factory=dict)
    after: Callable[[Path], None] = lambda _: None


def _everything(stream: Stream) -> None:
    """Branches, annotated and light tags, notes, a pull request that is on no branch."""
    base = stream.history("refs/heads/main", 12)
    feature = stream.commit("refs/heads/feature/login", {"login.txt": b"login"}, base)
    stream.tag("v1.0.0", base)
    stream.point("refs/tags/light", feature)
    stream.commit("refs/notes/commits", {"ab": b"a note"})
    stream.commit("refs/pull/7/head", {"pull.txt": b"only in the pull request"}, base)
    stream.point("refs/pull/7/merge", feature)


def _shared_commit(stream: Stream) -> None:
    """Default branch `trunk` at the same commit as an older-sounding one: a clone of the bundle guesses wrong."""
    mark = stream.history("refs/heads/trunk", 2)
    stream.point("refs/heads/main", mark)
    stream.point("refs/heads/master", mark)


def _tags_only(stream: Stream) -> None:
    mark = stream.history("refs/tags/first", 2)
    stream.tag("v1", mark)


def _unicode_refs(stream: Stream) -> None:
    mark = stream.history("refs/heads/main", 1)
    for name in ("größe/ключ", "100%/50%25", "fix#42", "emoji-🎉", "a&b;c$d'e", "-dash"):
        stream.point(f"refs/heads/{name}", mark)
        stream.point(f"refs/tags/{name}", mark)


def _ambiguous_refs(stream: Stream) -> None:
    """Branches that someone named HEAD and refs/heads/main: `git bundle create` drops what they shadow."""
    mark = stream.history("refs/heads/main", 2)
    stream.point("refs/heads/HEAD", mark)
    stream.commit("refs/heads/refs/heads/main", {"x": b"x"}, mark)
    stream.point("refs/tags/heads/main", mark)


def _many_refs(stream: Stream) -> None:
    mark = stream.history("refs/heads/main", 3)
    for number in range(MANY_REFS - 1):
        stream.point(f"refs/heads/branch-{number:04}", mark)


def _gitlinks(stream: Stream) -> None:
    stream.gitlink("refs/heads/main", "vendor/library", stream.history("refs/heads/main", 1))


def _big_file(stream: Stream, size: int = BIG_FILE) -> None:
    stream.commit("refs/heads/main", {"video.bin": random.Random(size).randbytes(size)})


def _odd_tags(path: Path) -> None:
    """Tags of a blob and of a tree: allowed, rare, and refs all the same."""
    blob = git(f"--git-dir={path}", "hash-object", "-w", "--stdin", stdin=b"a blob").decode().strip()
    git(f"--git-dir={path}", "update-ref", "refs/tags/blob", blob)
    git(
        f"--git-dir={path}",
        "update-ref",
        "refs/tags/tree",
        git(f"--git-dir={path}", "rev-parse", "main^{tree}").decode().strip(),
    )


def _plain(seed: int) -> Callable[[Stream], None]:
    def fill(stream: Stream) -> None:
        mark = stream.history("refs/heads/main", 3 + seed % 5, seed)
        stream.tag(f"v{seed}", mark)

    return fill


AWKWARD = (
    Recipe("api", _everything),
    Recipe("shared-commit", _shared_commit, head="refs/heads/trunk", about={"default_branch": "trunk"}),
    Recipe("head-at-missing-branch", _plain(1), head="refs/heads/gone", about={"default_branch": "gone"}),
    Recipe("empty", lambda _: None, about={"size_kb": 0}),
    Recipe("tags-only", _tags_only),
    Recipe("unicode-refs", _unicode_refs),
    Recipe("ambiguous-refs", _ambiguous_refs),
    Recipe("odd-tags", _plain(2), after=_odd_tags),
    Recipe("sha256", _plain(3), object_format="sha256"),
    Recipe("gitlinks", _gitlinks),
    Recipe("archived", _plain(4), about={"archived": True}),
    Recipe("fork", _plain(5), about={"fork": True}),
    Recipe("public", _plain(6), about={"private": False}),
    Recipe(".github", _plain(7)),
    Recipe("_under.score-", _plain(8)),
    Recipe(LONG_NAME, _plain(9)),
    Recipe("experiments", _everything, owner=SECOND_OWNER),
)
LARGE = (
    # Larger than one part of an upload.
    Recipe("in-parts", lambda stream: _big_file(stream, IN_PARTS), about={"size_kb": IN_PARTS // 1024}),
    Recipe("big-file", _big_file, about={"size_kb": BIG_FILE // 1024}),
    Recipe("many-refs", _many_refs),
)


def plain(number: int, owner: str = OWNER) -> list[Recipe]:
    """Return recipes of so many ordinary repositories."""
    return [Recipe(f"service-{index:03}", _plain(index), owner) for index in range(number)]


RECIPES = {item.name: item for item in (*AWKWARD, *LARGE, *plain(30))}


def make_repository(folder: Path, recipe: Recipe) -> Path:
    """Make the repository on disk, below `folder`, and return its git directory."""
    path = folder / recipe.owner / f"{recipe.name}.git"
    git("init", "--quiet", "--bare", "--template=", f"--object-format={recipe.object_format}", path)
    git(f"--git-dir={path}", "symbolic-ref", "HEAD", recipe.head)
    stream = Stream()
    recipe.fill(stream)
    if stream.data:
        # A pack even where there is little to pack, and no try to compress random content.
        settings = ("-c", "fastimport.unpackLimit=0", "-c", "core.compression=0")
        git(f"--git-dir={path}", *settings, "fast-import", "--quiet", stdin=bytes(stream.data))
    recipe.after(path)
    return path


def add_repository(github: FakeGitHub, folder: Path, recipe: Recipe) -> FakeRepository:
    """Make the repository on disk and add it to the embedded GitHub."""
    return github.add(recipe.owner, recipe.name, make_repository(folder, recipe), **recipe.about)
