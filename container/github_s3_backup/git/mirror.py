"""Mirrors: bare clones with every ref that the server serves."""

import contextlib
import shutil
from dataclasses import dataclass
from pathlib import Path

from github_s3_backup.git.process import SLOW_SECONDS, Deadline, Git, GitError
from github_s3_backup.git.refs import Refs, branch_name, parse_refs

# Protocol 2 asks for the refs in a request of its own, which saves nothing where every ref is wanted. What arrives
# stays one pack, however small: a bundle is made of it (see bundle.py).
CLONE = ("-c", "protocol.version=0", "-c", "fetch.unpackLimit=1", "clone", "--mirror", "--quiet", "--template=")


@dataclass(frozen=True)
class Mirror:
    """A bare clone. `refs` holds HEAD too, where it resolves, and `head` is the branch that it points at."""

    path: Path
    refs: Refs
    object_format: str
    head: str | None = None


@dataclass(frozen=True)
class Limits:
    """When a clone is given up: at a deadline, and where the transfer is slow for so many seconds."""

    deadline: Deadline | None = None
    slow_seconds: int = SLOW_SECONDS


USUAL = Limits()


def clone_mirror(git: Git, url: str, path: Path, token: str, limits: Limits = USUAL) -> Mirror:
    """Clone every ref of `url` into the new bare repository `path`.

    An empty repository gives a mirror without refs. Raises GitError.
    """
    shutil.rmtree(path, ignore_errors=True)  # what an earlier attempt may have left
    slow = ("-c", f"http.lowSpeedTime={limits.slow_seconds}")
    trace = path.with_suffix(".trace")
    git.run_remote(*slow, *CLONE, "--", url, str(path), token=token, trace=trace, deadline=limits.deadline)
    git_dir = f"--git-dir={path}"
    refs, head = local_refs(git, path), None
    with contextlib.suppress(GitError):  # it ends with 128 where HEAD does not resolve, or is no branch
        refs |= parse_refs(git.run(git_dir, "show-ref", "--verify", "HEAD"))
        head = branch_name(git.run(git_dir, "symbolic-ref", "HEAD").rstrip(b"\n"))
    object_format = git.run(git_dir, "rev-parse", "--show-object-format").decode().strip()
    return Mirror(path, refs, object_format, head)


def local_refs(git: Git, path: Path) -> Refs:
    """Return the refs of a repository on this disk, without HEAD. Raises GitError."""
    return parse_refs(git.run(f"--git-dir={path}", "for-each-ref", "--format=%(objectname) %(refname)"))
