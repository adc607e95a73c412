"""Getting one repository's mirror, whatever has happened to it since it was listed."""

from collections.abc import Callable
from pathlib import Path

from structlog.typing import FilteringBoundLogger

from git import Git, GitError, Mirror
from github import GitHub
from repository import Repository
from retry import RetryableError, retrying
from stop import Stop

CLONE_ATTEMPTS = 4


def clone(
    listed: Repository, path: Path, github: GitHub, git: Git, stop: Stop, log: Callable[[], FilteringBoundLogger]
) -> tuple[Repository, Mirror]:
    """Clone the repository into `path`; return it as it is called now, and its mirror.

    A fault is tried again with backoff, a rejected token is replaced once, a new name is followed.
    Raises RepositoryGoneError, GitHubError where GitHub blocks it, GitError in all other cases.
    `log` returns the logger of this moment.
    """
    current, tokens, replaced = listed, github.tokens(listed.installation_id), False

    def log_wait(fault: RetryableError, seconds: float, attempt: int) -> None:
        log().warning("trying again", seconds=round(seconds, 1), attempt=attempt, error=str(fault))

    for attempt in retrying(CLONE_ATTEMPTS, stop, log_wait):
        with attempt:
            token = tokens.token()
            try:
                return current, git.mirror(github.clone_url(current), path, token)
            except GitError as error:
                if error.disk_full:
                    error.final = True
                    raise
                if error.unauthorized and not replaced:
                    tokens.replace(token)
                    replaced, error.wait = True, 0
                    raise
                found = github.look_again(current)
                if found.full_name != current.full_name:
                    error.wait = 0
                    log().warning("repository was renamed", new_name=found.full_name)
                elif error.unauthorized:
                    error.final = True
                elif error.rate_limited:
                    github.wait_for_git(current)
                current = found
                raise
    raise AssertionError("tenacity raises the last error")
