"""Clones one repository, whatever has happened to it since it was listed."""

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path

from structlog.typing import FilteringBoundLogger

from github_s3_backup.git.mirror import Limits, Mirror, clone_mirror
from github_s3_backup.git.process import Git, GitError
from github_s3_backup.git.served_refs import ServedRefsError
from github_s3_backup.github.client import GitHub
from github_s3_backup.github.tokens import TokenError
from github_s3_backup.github.transport.rest import GitHubError
from github_s3_backup.repository import Repository
from github_s3_backup.runtime.patience import USUAL, Patience
from github_s3_backup.runtime.retry import AT_ONCE, retrying
from github_s3_backup.runtime.stop import Stop

ATTEMPTS = 4
# GitHub's staff, or the law, has closed the repository.
BLOCKED = (403, 451)
# What git says where its server refuses.
FORBIDDEN = "error: 403"
# Why GitHub's git server may refuse what its API does not.
WHY_FORBIDDEN = (
    "usual causes: the organization has an IP allow list that lacks this task's address, its NAT gateway's; or a proxy "
    "or firewall refuses git"
)


@dataclass(frozen=True)
class Cloner:
    """What it takes to clone a repository."""

    github: GitHub
    git: Git
    stop: Stop
    log: FilteringBoundLogger
    patience: Patience = USUAL

    def clone(self, listed: Repository, path: Path) -> tuple[Repository, Mirror]:
        """Clone a repository into `path`; return it under its present name, and its mirror.

        Faults are retried with backoff or when the server says. A rejected token is replaced, a new name is followed.
        Raises RepositoryGoneError, GitHubError where GitHub blocks it or gives no token, and else GitError.
        """
        current, silences = listed, self.patience.silences
        tokens = self.github.access(listed.installation_id).tokens
        for attempt in retrying(ATTEMPTS, self.stop, self.log):
            with attempt:
                try:
                    return current, tokens.with_token(
                        lambda token: self._clone_once(current, path, token, silences[0])  # noqa: B023
                    )
                except GitError as error:
                    self.github.access(listed.installation_id).limiter.heed(error.retry)
                    if error.permanent or error.disk_full or (error.too_slow and len(silences) == 1):
                        raise error.as_permanent() from None
                    silences = silences[1:] if error.too_slow else silences
                    current, failed = self._look_up(current, error)
                    raise failed from None
        raise AssertionError("tenacity raises the last error")

    def _clone_once(self, repository: Repository, path: Path, token: str, silence: int) -> Mirror:
        """Clone once. An empty mirror is believed only where the server says so in git's protocol."""
        url, limiter = (
            self.github.clone_url(repository),
            self.github.access(repository.installation_id).limiter,
        )
        with limiter.request("GET", url):
            limits = Limits(lambda: self.patience.seconds(_size(path)), silence)
            mirror = clone_mirror(self.git, url, path, token, limits)
        if not mirror.refs and (reason := self._why_not_empty(repository, token)):
            raise GitError(f"git clone found no refs, but the server did not confirm that there are none: {reason}")
        return mirror

    def _why_not_empty(self, repository: Repository, token: str) -> str | None:
        """Return None where the server says that it has no refs. git takes any web page for an empty repository."""
        try:
            return "it serves refs" if self.github.served_refs(repository, token, once=True).refs else None
        except ServedRefsError as error:
            return str(error)

    def _look_up(self, repository: Repository, error: GitError) -> tuple[Repository, GitError]:
        """Return what the repository is now, after a clone failed, and whether to try again.

        Raises `error` where GitHub can't tell, and GitHub's own where it blocks the repository or gives no token.
        """
        try:
            found = self.github.look_up(repository.id, repository.installation_id)
        except TokenError:
            raise
        except GitHubError as unknown:
            if unknown.status in BLOCKED:
                raise
            raise error.as_permanent() from None  # GitHub was asked often enough to know that it is down
        found = found.wiki if repository.is_wiki else found
        if found.full_name != repository.full_name:
            self.log.warning("repository was renamed", new_name=found.full_name)
            return found, error.with_retry(AT_ONCE)
        if error.unauthorized:
            return found, error.as_permanent()
        if FORBIDDEN in str(error) and not error.retry.is_limit:
            return found, self._explained(found, error).as_permanent()
        return found, error

    def _explained(self, repository: Repository, error: GitError) -> GitError:
        """Return the error of a git server that refuses what the API does not, with the words of its answer."""
        words = WHY_FORBIDDEN
        try:
            token = self.github.access(repository.installation_id).tokens.token()
            self.github.served_refs(repository, token, once=True)
        except (GitHubError, ServedRefsError) as refusal:
            words = f"{refusal}; {words}"
        return GitError(f"{error} ({words})", error.returncode, error.lines)


def _size(folder: Path) -> int:
    """Return the bytes of a clone in progress. Files come and go meanwhile."""
    size = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                size += (Path(parent) / name).stat().st_size
    return size
