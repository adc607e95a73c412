"""One repository on the target server, reached with git alone. Transient faults are retried."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from structlog.typing import FilteringBoundLogger

from github_s3_backup.git.process import Git, GitError
from github_s3_backup.git.refs import Refs
from github_s3_backup.restore.push.steps import Step
from github_s3_backup.runtime.retry import retrying
from github_s3_backup.runtime.stop import Stop

ATTEMPTS = 4
# GitHub makes the other refs it serves (refs/pull) itself, and refuses to be given them.
PUSHED = (b"refs/heads/", b"refs/tags/", b"refs/notes/")
# Tags that keep the milestones of a large push until it is complete, each followed by its commit. Not branches: GitHub
# would make one of them the default branch and refuse to delete it.
MILESTONES = b"refs/tags/restore-in-progress-"
# Branches that keep what a wiki had before its only page was replaced, each followed by its commit.
REPLACED = b"refs/heads/before-restore-"
# What git says of a ref that the server, or git itself, refuses; and the refusal that may be transient.
REJECTED = re.compile(r"! \[(remote )?rejected\]")
TRANSIENT = "(Internal Server Error)"
# Answers that another attempt does not change. GitHub may answer 404 for a repository that it has just created.
PERMANENT = re.compile(r"error: 4(?!04|08|29)\d\d|Authentication failed|could not read (Username|Password)")
# What git says where there is no repository.
NOT_FOUND = re.compile(r"not found|error: 404|does not appear to be a git repository|does not exist")
# GitHub checks a whole push before it answers. Seconds.
SILENCE = 900


@dataclass(frozen=True)
class Remote:
    """A repository at `url`. `with_token` runs a command with a token, `trace` is a file for git's HTTP headers.

    `is_new`: it may have been made a moment ago, and not be found at once.
    """

    git: Git
    url: str
    with_token: Callable[[Callable[[str | None], bytes]], bytes]
    trace: Path
    is_new: bool
    stop: Stop
    log: FilteringBoundLogger

    def refs(self) -> Refs:
        """Return the refs that a push can change. Raises GitError."""
        lines = self._run("ls-remote", "--quiet", "--", self.url).splitlines()
        pairs = (line.split(b"\t", 1) for line in lines)
        return {name: oid for oid, name in pairs if name.startswith(PUSHED) and not name.endswith(b"^{}")}

    def push(self, git_dir: Path, specs: Iterable[str]) -> None:
        """Push from a local repository. Raises GitError."""
        settings = ("-c", f"http.lowSpeedTime={SILENCE}", f"--git-dir={git_dir}")
        self._run(*settings, "push", "--quiet", "--no-verify", "--", self.url, *specs)

    def fetch(self, git_dir: Path, ref: bytes) -> None:
        """Fetch a ref into a local repository, as FETCH_HEAD. Raises GitError."""
        self._run(f"--git-dir={git_dir}", "fetch", "--quiet", "--", self.url, ref.decode(errors="surrogateescape"))

    def _run(self, *arguments: str) -> bytes:
        loop = retrying(ATTEMPTS, self.stop, self.log)
        return loop(self.with_token, lambda token: self._run_once(arguments, token))

    def _run_once(self, arguments: tuple[str, ...], token: str | None) -> bytes:
        try:
            return self.git.run_remote(*arguments, token=token, trace=self.trace)
        except GitError as error:
            rejected = is_rejected(error) and TRANSIENT not in str(error)
            final = rejected or PERMANENT.search(str(error)) or (not self.is_new and is_not_found(error))
            if error.retry.is_limit:
                raise
            raise error.with_retry(replace(error.retry, permanent=bool(final))) from None


def refspecs(step: Step, overwrite: bool) -> list[str]:
    """Return git's arguments for a step."""
    force = b"+" if overwrite else b""
    # By object id: a ref's name alone can be ambiguous, as with a branch called HEAD.
    specs = [force + oid + b":" + name for name, oid in step.refs.items()]
    specs += [b"+" + oid + b":" + MILESTONES + oid for oid in step.milestones]
    return [spec.decode(errors="surrogateescape") for spec in specs]


def is_rejected(error: GitError) -> bool:
    """Return whether the server took the push and refused a ref."""
    return any(REJECTED.match(line) for line in error.lines)


def is_not_found(error: GitError) -> bool:
    """Return whether the server has no such repository, or does not show it."""
    return bool(NOT_FOUND.search(str(error)))
