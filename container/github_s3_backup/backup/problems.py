"""What keeps a task from starting: everything that is wrong is collected, and said at once."""

import contextlib
from collections.abc import Iterator

from botocore.exceptions import BotoCoreError

from github_s3_backup.backup.plan.listing import NothingListedError
from github_s3_backup.git.process import GitError
from github_s3_backup.github.app_key import AppKeyError
from github_s3_backup.github.transport.rest import GitHubError
from github_s3_backup.records.signing import SigningError
from github_s3_backup.s3.errors import S3Error


class StartError(Exception):
    """The task can't start, or can't list; one sentence a problem."""

    def __init__(self, *problems: str) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


class Problems:
    """What is wrong at the start."""

    def __init__(self) -> None:
        self.found: list[str] = []

    @contextlib.contextmanager
    def of(self, where: str) -> Iterator[None]:
        """Keep what goes wrong in this block."""
        try:
            yield
        except NothingListedError as error:
            self.found.extend(error.problems)
        except (S3Error, SigningError, AppKeyError, GitHubError) as error:
            self.found.append(str(error))
        except (BotoCoreError, GitError, OSError, ValueError) as error:
            self.found.append(f"{where} can't be used: {error}")

    def check(self) -> None:
        """Raise StartError with all of it, if there is any."""
        if self.found:
            raise StartError(*self.found)
