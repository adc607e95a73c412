"""The generated repositories: the same bytes each time, made once where a folder keeps them."""

import random
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.plan import MB, Plan
from embedded.organisation import WHO, Recipe, Stream, make_repository, plain
from embedded.real_git import ENVIRONMENT, git

# Random content does not get smaller, and has nothing in common with other content: trying only takes time.
SETTINGS = ("-c", "fastimport.unpackLimit=0", "-c", "core.compression=0", "-c", "core.bigFileThreshold=1m")
LARGE_FILE, CHANGE = 10 * MB, 100_000


@dataclass(frozen=True)
class Generated:
    """One repository on two days: `changed` has one commit more on its main branch."""

    name: str
    path: Path
    changed: Path


def compared(folder: Path, plan: Plan) -> list[Generated]:
    """Return small, medium and large repositories, and one with blobs of hundreds of megabytes."""
    shutil.rmtree(folder / "unfinished", ignore_errors=True)  # what a benchmark that was stopped left behind
    made = [generated(folder, small) for small in plain(plan.small)]
    made += [generated(folder, medium(number, plan.medium_commits)) for number in range(plan.medium)]
    files = [LARGE_FILE] * (plan.large // LARGE_FILE)
    made.append(large(folder, f"large-{plan.large // MB}", files))
    made.append(large(folder, f"blobs-{sum(plan.blobs) // MB}", list(plan.blobs)))
    return made


def tiny(folder: Path, plan: Plan) -> list[Generated]:
    """Return repositories of a few commits, each with a second day."""
    recipes = [Recipe(f"tiny-{number:03}", Filling(2 + number % 3, number)) for number in range(plan.tiny)]
    return [generated(folder, recipe) for recipe in recipes]


@dataclass(frozen=True)
class Filling:
    """So many commits of random lines."""

    commits: int
    seed: int

    def __call__(self, stream: Stream) -> None:
        stream.tag("v1", stream.history("refs/heads/main", self.commits, self.seed))


def medium(number: int, commits: int) -> Recipe:
    """Return the recipe of a repository of some megabytes in many commits."""
    return Recipe(f"medium-{number}-{commits}", Filling(commits, number))


def generated(folder: Path, recipe: Recipe) -> Generated:
    """Make a repository and its second day, unless they are there."""
    path = folder / recipe.owner / f"{recipe.name}.git"
    if not path.exists():
        make_repository(folder / "unfinished", recipe)
        settle(folder / "unfinished" / recipe.owner / path.name, path)
    return Generated(recipe.name, path, with_another_commit(path))


def large(folder: Path, name: str, files: list[int]) -> Generated:
    """Make a repository of random files, one a commit. The second day is the same as the first."""
    path = folder / "large" / f"{name}.git"
    if not path.exists():
        unfinished = folder / "unfinished" / path.name
        git("init", "--quiet", "--bare", "--template=", unfinished)
        git(f"--git-dir={unfinished}", "symbolic-ref", "HEAD", "refs/heads/main")
        fast_import(unfinished, commits(files))
        settle(unfinished, path)
    return Generated(name, path, path)


def changing(folder: Path, seed: int, size: int, number: int) -> Generated:
    """Make a repository of files of a tenth of a megabyte, and its second day with so many commits more."""
    path = folder / "changing" / f"changing-{seed:02}-{size}.git"
    files = [CHANGE] * (size // CHANGE)
    if not path.exists():
        unfinished = folder / "unfinished" / path.name
        git("init", "--quiet", "--bare", "--template=", unfinished)
        git(f"--git-dir={unfinished}", "symbolic-ref", "HEAD", "refs/heads/main")
        fast_import(unfinished, commits(files, seed * 10_000))
        settle(unfinished, path)
    more = list(commits([CHANGE // 2] * number, seed * 10_000 + len(files), b"from refs/heads/main^0\n"))
    return Generated(path.stem, path, with_more(path, more))


def commits(files: list[int], seed: int = 0, parent: bytes = b"") -> Iterator[bytes]:
    """Yield a fast-import stream of one commit for each file's size, the first on top of `parent`."""
    for number, size in enumerate(files, seed):
        content = random.Random(number)  # noqa: S311  (the same each time is the point)
        yield f"commit refs/heads/main\ncommitter {WHO}\ndata 4\nfile\n".encode() + (parent if number == seed else b"")
        yield f"M 100644 inline file-{number}.bin\ndata {size}\n".encode()
        yield from (content.randbytes(min(MB, size - start)) for start in range(0, size, MB))
        yield b"\n"


def fast_import(path: Path, stream: Iterable[bytes]) -> None:
    """Feed the stream to `git fast-import`."""
    command = ["git", f"--git-dir={path}", *SETTINGS, "fast-import", "--quiet"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, env=ENVIRONMENT) as process:
        assert process.stdin
        process.stdin.writelines(stream)
        process.stdin.close()
    if process.returncode:
        raise RuntimeError(f"git fast-import ended with {process.returncode}")


def with_another_commit(path: Path) -> Path:
    """Return a copy of the repository that has one commit more."""
    commit = f"commit refs/heads/main\ncommitter {WHO}\ndata 7\nchanged\nfrom refs/heads/main^0\n"
    return with_more(path, [f"{commit}M 100644 inline changed.txt\ndata 8\nchanged\n\n".encode()])


def with_more(path: Path, stream: list[bytes]) -> Path:
    """Return a copy of the repository into which a stream was imported."""
    changed = path.with_name(f"{path.stem}-changed.git")
    if not changed.exists():
        unfinished = path.parent.parent / "unfinished" / changed.name
        shutil.copytree(path, unfinished)
        fast_import(unfinished, stream)
        settle(unfinished, changed)
    return changed


def settle(unfinished: Path, path: Path) -> None:
    """Put a finished repository in its place, so that a folder that is kept never holds half of one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished.rename(path)
