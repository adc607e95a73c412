"""Getting one repository's mirror, whatever has happened to it since it was listed."""

from pathlib import Path

from structlog.typing import FilteringBoundLogger

from github_s3_backup.git.process import Git, GitError, Mirror
from github_s3_backup.git.served_refs import ServedRefsError
from github_s3_backup.github.app import GitHub, TokenError
from github_s3_backup.github.rest import GitHubError
from github_s3_backup.repository import Repository
from github_s3_backup.retry import RetryableError, retrying
from github_s3_backup.stop import Stop

CLONE_ATTEMPTS = 4
# The statuses of a repository that GitHub's staff or the law has closed.
BLOCKED = (403, 451)


def clone(
    listed: Repository, path: Path, github: GitHub, git: Git, stop: Stop, log: FilteringBoundLogger
) -> tuple[Repository, Mirror]:
    """Clone the repository into `path`; return it as it is called now, and its mirror.

    A fault is tried again with backoff or when the server says, a rejected token is replaced once, a new
    name is followed. Raises RepositoryGoneError, GitHubError where GitHub blocks it or gives no token, GitError in all
    other cases.
    """
    current, tokens, replaced = listed, github.tokens(listed.installation_id), False

    def log_wait(fault: RetryableError, seconds: float, attempt: int) -> None:
        told_by = fault.told_by or "backoff"
        log.warning("trying again", seconds=round(seconds, 1), told_by=told_by, attempt=attempt, error=str(fault))

    for attempt in retrying(CLONE_ATTEMPTS, stop, log_wait):
        with attempt:
            token = tokens.token()
            try:
                return current, _mirror(current, path, github, git, token)
            except GitError as error:
                if error.disk_full:
                    error.final = True
                    raise
                if error.unauthorized and not replaced:
                    tokens.replace(token)
                    replaced, error.wait = True, 0
                    raise
                found = _look_again(current, github, error)
                if found.full_name != current.full_name:
                    error.wait = 0
                    log.warning("repository was renamed", new_name=found.full_name)
                elif error.unauthorized:
                    error.final = True
                current = found
                raise
    raise AssertionError("tenacity raises the last error")


def _look_again(repository: Repository, github: GitHub, error: GitError) -> Repository:
    """Return what the repository is now. Where GitHub does not answer either, git's own words are what is known."""
    try:
        return github.look_again(repository)
    except TokenError:
        raise
    except GitHubError as unknown:
        if unknown.status in BLOCKED:
            raise
        error.final = True  # GitHub was asked often enough to know that it is down
        raise error from None


def _mirror(repository: Repository, path: Path, github: GitHub, git: Git, token: str) -> Mirror:
    """Clone once. That there is nothing to clone is believed only when the server says so as a git server."""
    mirror = git.mirror(github.clone_url(repository), path, token)
    if not mirror.refs and (reason := _why_not_empty(repository, github, token)):
        raise GitError(f"git clone found no refs, and the server did not say that there are none: {reason}")
    return mirror


def _why_not_empty(repository: Repository, github: GitHub, token: str) -> str | None:
    """Return None where the server says that there are no refs. git takes any web page for an empty repository."""
    try:
        return "it serves refs" if github.served_refs(repository, token, once=True) else None
    except ServedRefsError as error:
        return str(error)
