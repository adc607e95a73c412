"""git as the tests use it: stock, and shut off from the machine's configuration."""

import os
import subprocess
from pathlib import Path

ENVIRONMENT = {
    "PATH": os.environ["PATH"],
    "HOME": os.devnull,
    "LC_ALL": "C",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_TERMINAL_PROMPT": "0",
    **{
        f"GIT_{who}_{what}": value
        for who in ("AUTHOR", "COMMITTER")
        for what, value in (("NAME", "A"), ("EMAIL", "a@b.c"))
    },
}


def git(*arguments: object, cwd: Path | None = None, stdin: bytes = b"") -> bytes:
    """Run git and return its output; its error text is in the exception."""
    done = subprocess.run(
        ["git", *map(str, arguments)], cwd=cwd, env=ENVIRONMENT, input=stdin, capture_output=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"git {arguments}: {done.stderr.decode(errors='replace')}")
    return done.stdout


def served_refs(repository: Path) -> dict[str, str]:
    """Return every ref that a server would serve of the repository, HEAD where it resolves, nothing peeled."""
    safe = "safe.directory=*"
    lines = git("-c", safe, "ls-remote", repository).decode(errors="surrogateescape").splitlines()
    pairs = (line.split("\t") for line in lines)
    return {name: oid for oid, name in pairs if not name.endswith("^{}")}


def bundled_refs(bundle: Path) -> dict[str, str]:
    """Return the refs that stock git reads in a bundle, HEAD included.

    git 2.30 has `bundle list-heads` too, and cuts its ids of SHA-256 short.
    """
    lines = git("ls-remote", bundle).decode(errors="surrogateescape").splitlines()
    return {name: oid for oid, name in (line.split("\t", 1) for line in lines)}


def restore(bundle: Path, into: Path) -> dict[str, str]:
    """Restore a bundle as the README says, check every object, and return the refs without HEAD."""
    git("clone", "--quiet", "--mirror", bundle, into)
    git(f"--git-dir={into}", "fsck", "--full")
    return {name: oid for name, oid in served_refs(into).items() if name != "HEAD"}


def restore_changes(full: Path, changes: Path, into: Path) -> dict[str, str]:
    """Restore a bundle of changes and the full one as the README says, and return the refs without HEAD."""
    git("clone", "--quiet", "--mirror", full, into)
    git(f"--git-dir={into}", "fetch", "--quiet", "--prune", changes, "+refs/*:refs/*")
    git(f"--git-dir={into}", "fsck", "--full")
    return {name: oid for name, oid in served_refs(into).items() if name != "HEAD"}
