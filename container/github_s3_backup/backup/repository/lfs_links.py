"""Where to download the LFS objects of one repository."""

import bisect
import threading

from github_s3_backup.github.client import GitHub
from github_s3_backup.github.http import Link
from github_s3_backup.github.lfs import BATCH_SIZE, LfsAnswer
from github_s3_backup.github.rest import GitHubError
from github_s3_backup.repository import Repository


class AbsentError(Exception):
    """The LFS server does not have the object."""


class LfsLinks:
    """Links to a repository's objects, asked for in batches as they are needed. `pointers`: their sizes, by OID."""

    def __init__(self, repository: Repository, pointers: dict[str, int], github: GitHub) -> None:
        self._repository, self._pointers, self._github = repository, pointers, github
        self._wanted = sorted(pointers)
        self._asked: set[str] = set()
        self._answers: dict[str, LfsAnswer] = {}
        self._lock = threading.Lock()
        self.error: GitHubError | None = None

    def link(self, oid: str) -> Link:
        """Return a link to an object, at each call a new one. Raises AbsentError, LinkError and GitHubError."""
        with self._lock:
            if oid not in self._asked:
                self._ask_batch(oid)
            answer = self._answers.pop(oid, None)
        return _link_in(answer or self._ask([oid])[oid])

    def _ask_batch(self, oid: str) -> None:
        """Ask about an object and those beside it. A server that refused once is not asked again."""
        if self.error:
            raise self.error
        start = bisect.bisect_left(self._wanted, oid) // BATCH_SIZE * BATCH_SIZE
        batch = self._wanted[start : start + BATCH_SIZE]
        try:
            self._answers |= self._ask(batch)
        except GitHubError as error:
            self.error = error
            raise
        self._asked.update(batch)

    def _ask(self, oids: list[str]) -> dict[str, LfsAnswer]:
        return self._github.lfs_links(self._repository, {oid: self._pointers[oid] for oid in oids})


def _link_in(answer: LfsAnswer) -> Link:
    """Return the link to download an object. Raises AbsentError and LinkError."""
    if answer.is_absent:
        raise AbsentError(f"the LFS server answered {answer.code}: {answer.message}")
    if answer.code:
        raise answer.refusal()
    if "download" not in answer.links:
        raise AbsentError("the LFS server gave no link to it")
    return answer.links["download"]
