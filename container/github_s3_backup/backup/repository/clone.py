"""Clones one repository, whatever has happened to it since it was listed."""

from dataclasses import dataclass
from pathlib import Path

from structlog.typing import FilteringBoundLogger

from github_s3_backup.git.mirror import Mirror, clone_mirror
from github_s3_backup.git.process import SLOW_SECONDS, Git, GitError
from github_s3_backup.git.served_refs import ServedRefsError
from github_s3_backup.github.client import GitHub
from github_s3_backup.github.rest import GitHubError
from github_s3_backup.github.tokens import TokenError
from github_s3_backup.repository import Repository
from github_s3_backup.runtime.retry import retrying
from github_s3_backup.runtime.stop import Stop

ATTEMPTS = 4
# After a transfer that was too slow, the next one may be slow for this long: a server may count for minutes first.
PATIENT_SECONDS = 5 * SLOW_SECONDS
# The deadline of one clone: a base, and what the size takes at a speed that a working connection exceeds.
DEADLINE_BASE, DEADLINE_BYTES_PER_SECOND = 15 * 60.0, 250_000
# GitHub's staff, or the law, has closed the repository.
BLOCKED = (403, 451)


@dataclass(frozen=True)
class Cloner:
    """What it takes to clone a repository."""

    github: GitHub
    git: Git
    stop: Stop
    log: FilteringBoundLogger

    def clone(self, listed: Repository, size: int, path: Path) -> tuple[Repository, Mirror]:
        """Clone a repository of about `size` bytes into `path`; return it under its present name, and its mirror.

        Faults are retried with backoff or when the server says. A rejected token is replaced, a new name is followed.
        Raises RepositoryGoneError, GitHubError where GitHub blocks it or gives no token, and else GitError.
        """
        current, slow_seconds = listed, SLOW_SECONDS
        tokens = self.github.tokens(listed.installation_id)
        for attempt in retrying(ATTEMPTS, self.stop, self.log):
            with attempt:
                try:
                    return current, tokens.with_token(
                        lambda token: self._clone_once(current, size, path, token, slow_seconds)  # noqa: B023
                    )
                except GitError as error:
                    if error.disk_full:
                        error.permanent = True
                    if error.permanent:
                        raise
                    if error.too_slow:
                        error.permanent, slow_seconds = slow_seconds == PATIENT_SECONDS, PATIENT_SECONDS
                    current = self._look_up(current, error)
                    raise
        raise AssertionError("tenacity raises the last error")

    def _clone_once(self, repository: Repository, size: int, path: Path, token: str, slow_seconds: int) -> Mirror:
        """Clone once. An empty mirror is believed only where the server says so in git's protocol."""
        url, timeout = self.github.clone_url(repository), clone_deadline(size)
        mirror = clone_mirror(self.git, url, path, token, timeout, slow_seconds)
        if not mirror.refs and (reason := self._why_not_empty(repository, token)):
            raise GitError(f"git clone found no refs, but the server did not confirm that there are none: {reason}")
        return mirror

    def _why_not_empty(self, repository: Repository, token: str) -> str | None:
        """Return None where the server says that it has no refs. git takes any web page for an empty repository."""
        try:
            return "it serves refs" if self.github.served_refs(repository, token, once=True).refs else None
        except ServedRefsError as error:
            return str(error)

    def _look_up(self, repository: Repository, error: GitError) -> Repository:
        """Return what the repository is now, after a clone failed. Raises `error` where GitHub can't tell."""
        try:
            found = self.github.look_up(repository.id, repository.installation_id)
        except TokenError:
            raise
        except GitHubError as unknown:
            if unknown.status in BLOCKED:
                raise
            error.permanent = True  # GitHub was asked often enough to know that it is down
            raise error from None
        found = found.wiki if repository.is_wiki else found
        if found.full_name != repository.full_name:
            error.wait = 0
            self.log.warning("repository was renamed", new_name=found.full_name)
        elif error.unauthorized:
            error.permanent = True
        return found


def clone_deadline(size: int) -> float:
    """Return the seconds after which a clone of about `size` bytes is given up."""
    return DEADLINE_BASE + size / DEADLINE_BYTES_PER_SECOND
