"""A working clone, made of a mirror: its objects stay where they are, and its refs get the names that a clone has."""

import shutil
from collections import Counter
from pathlib import Path

from github_s3_backup.git.mirror import local_refs
from github_s3_backup.git.process import Git, GitError
from github_s3_backup.git.refs import Refs
from github_s3_backup.records.entry import Entry

HEADS, ORIGIN = b"refs/heads/", b"refs/remotes/origin/"
# Replacements change what git shows of a commit. A clone keeps them where git does not obey them.
REPLACE, KEPT = b"refs/replace/", b"refs/kept-replace/"
# Names that are left out and shown in a remark.
SHOWN = 5


def clone_refs(refs: Refs) -> Refs:
    """Return the refs as a clone has them: branches as origin/<branch>, all others under their own names.

    Left out are names that a clone needs itself, and those that conflict with others.
    """
    kept = {_cloned(name): oid for name, oid in refs.items() if not _needed_by_clones(name)}
    return {name: oid for name, oid in kept.items() if not any(folder in kept for folder in _folders(name))}


def _needed_by_clones(name: bytes) -> bool:
    return name == b"refs/heads/HEAD" or name.startswith(b"refs/remotes/")


def _cloned(name: bytes) -> bytes:
    """Return the name that a ref has in a clone."""
    if name.startswith(HEADS):
        return ORIGIN + name.removeprefix(HEADS)
    return KEPT + name.removeprefix(REPLACE) if name.startswith(REPLACE) else name


def _folders(name: bytes) -> list[bytes]:
    parts = name.split(b"/")
    return [b"/".join(parts[:length]) for length in range(2, len(parts))]


def make_clone(git: Git, mirror: Path, clone: Path, entry: Entry, url: str) -> list[str]:
    """Make the mirror a clone, with the default branch checked out. Return what is not as on GitHub, in words.

    A clone without its files, or without a ref, is better than none. Raises GitError.
    """
    shutil.rmtree(clone, ignore_errors=True)
    clone.mkdir()
    refs = local_refs(git, mirror)
    git_dir = mirror.rename(clone / ".git")
    kept = clone_refs(refs)
    _write_refs(git_dir, kept)
    _configure(git, git_dir, entry.default_branch, url)
    remarks = _describe(refs, kept)
    default = f"refs/remotes/origin/{entry.default_branch}"
    if default.encode() in kept:
        at = f"--git-dir={git_dir}"
        git.run(at, "update-ref", f"refs/heads/{entry.default_branch}", kept[default.encode()].decode())
        git.run(at, "symbolic-ref", "refs/remotes/origin/HEAD", default)
        remarks += _check_out(git, clone)
    return remarks


def _write_refs(git_dir: Path, refs: Refs) -> None:
    """Give the repository these refs and no others, all in one file: a name may be too long for a file of its own."""
    shutil.rmtree(git_dir / "refs")
    for folder in ("heads", "tags"):
        (git_dir / "refs" / folder).mkdir(parents=True)
    lines = [oid + b" " + name + b"\n" for name, oid in sorted(refs.items())]
    (git_dir / "packed-refs").write_bytes(b"".join(lines))


def _configure(git: Git, git_dir: Path, branch: str, url: str) -> None:
    settings = {
        "core.bare": "false",
        "core.logAllRefUpdates": "true",
        "core.useReplaceRefs": "false",
        "remote.origin.url": url,
        "remote.origin.fetch": "+refs/heads/*:refs/remotes/origin/*",
        "remote.origin.mirror": "false",
        f"branch.{branch}.remote": "origin",
        f"branch.{branch}.merge": f"refs/heads/{branch}",
    }
    for key, value in settings.items():
        git.run(f"--git-dir={git_dir}", "config", "--replace-all", key, value)


def _check_out(git: Git, clone: Path) -> list[str]:
    try:
        git.run("-C", str(clone), "reset", "--quiet", "--hard")
    except GitError as error:
        if error.disk_full:
            raise
        return [f"some files can't be on this disk: {error}. `git checkout <commit> -- <path>` gets the others"]
    if not _ignores_case(git, clone):
        return []
    names = git.run("-C", str(clone), "ls-files", "-z").rstrip(b"\0").split(b"\0")
    count = Counter(name.lower() for name in names)
    found = sorted(name for name in names if count[name.lower()] > 1)
    return [f"files whose names differ in case alone are one file on this disk: {_shown(found)}"] if found else []


def _ignores_case(git: Git, clone: Path) -> bool:
    answer = git.run("-C", str(clone), "config", "--type=bool", "--default=false", "core.ignoreCase")
    return answer.strip() == b"true"


def _describe(refs: Refs, kept: Refs) -> list[str]:
    lost = sorted(name for name in refs if _needed_by_clones(name) or _cloned(name) not in kept)
    remarks = []
    if lost:
        remarks.append(f"{len(lost)} refs are in no clone ({_shown(lost)}): `fetch --as mirrors` has them")
    if replaced := sum(name.startswith(REPLACE) for name in refs):
        remarks.append(f"{replaced} replacements of objects (refs/replace) are in refs/kept-replace, not obeyed")
    return remarks


def _shown(names: list[bytes]) -> str:
    return ", ".join(name.decode(errors="replace") for name in names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")
