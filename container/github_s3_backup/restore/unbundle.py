"""A bundle back into a repository: nothing but git, and every ref compared."""

import re
import shutil
from pathlib import Path

from github_s3_backup.git.bundle import BundleError, Header, read_header
from github_s3_backup.git.process import Git, GitError, Refs, fingerprint, parse_refs
from github_s3_backup.manifest import Entry

# What `git fsck` says of an object that is whole and was written by a careless program: GitHub serves many.
BADLY_WRITTEN = re.compile(r"(error|warning) in (commit|tree|tag|blob) [0-9a-f]+: .*")
# What it says of refs besides, and what is as it was at GitHub: a default branch without commits, no branch at all.
NOTICE = "notice: "
# fsck's exit code adds up: 1 for what it says of loose objects, 4 of those in a pack, 2 where one is missing.
BAD_OBJECTS_ONLY = (1, 4, 5)


class UnbundleError(Exception):
    """The bundle is not the repository that the manifest describes."""


def read_refs(path: Path, entry: Entry) -> Refs:
    """Return the refs in the bundle, HEAD included. Raises UnbundleError unless they are those of the manifest."""
    try:
        with path.open("rb") as file:
            header: Header = read_header(file)
    except BundleError as error:
        raise UnbundleError(str(error)) from None
    if fingerprint(header.refs) != entry.refs_sha256:
        raise UnbundleError("the refs in the bundle are not those that the manifest counted")
    return header.refs


def make_mirror(git: Git, bundle: Path, entry: Entry, path: Path) -> None:
    """Clone the bundle into the new bare repository `path`, and point its HEAD at the default branch.

    git checks the hash of each object on the way. Raises UnbundleError and GitError.
    """
    refs = read_refs(bundle, entry)
    shutil.rmtree(path, ignore_errors=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    git.run("clone", "--mirror", "--quiet", "--template=", "--", str(bundle), str(path))
    found = local_refs(git, path)
    wrong = sorted(name for name in refs if name != b"HEAD" and found.get(name) != refs[name])
    if wrong:
        names = ", ".join(name.decode(errors="replace") for name in wrong[:5])
        raise UnbundleError(f"{len(wrong)} refs did not come back from the bundle: {names}")
    point_head(git, path, entry)


def make_empty(git: Git, entry: Entry, path: Path) -> None:
    """Make the bare repository of an entry that has no commits."""
    shutil.rmtree(path, ignore_errors=True)
    git.run("init", "--bare", "--quiet", "--template=", "--", str(path))
    point_head(git, path, entry)


def point_head(git: Git, path: Path, entry: Entry) -> None:
    """Make the default branch what HEAD means: a bundle holds the commit of HEAD and not its name."""
    git.run(f"--git-dir={path}", "symbolic-ref", "HEAD", f"refs/heads/{entry.default_branch}")


def local_refs(git: Git, path: Path) -> Refs:
    """Return the refs of a repository on this disk, without HEAD. Raises GitError."""
    return parse_refs(git.run(f"--git-dir={path}", "for-each-ref", "--format=%(objectname) %(refname)"))


def check_objects(git: Git, path: Path) -> list[str]:
    """Return what fsck remarks on objects that are whole. Raises UnbundleError where one is missing or broken."""
    try:
        git.run(f"--git-dir={path}", "fsck", "--full", "--no-dangling", "--no-progress")
    except GitError as error:
        remarks = [line for line in error.lines if not line.startswith(NOTICE)]
        if error.returncode not in BAD_OBJECTS_ONLY or not all(BADLY_WRITTEN.fullmatch(line) for line in remarks):
            raise UnbundleError(str(error)) from None
        return remarks
    return []
