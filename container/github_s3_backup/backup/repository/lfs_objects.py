"""One LFS object on its way into the content store: S3 has it already, or the LFS server has it."""

import bisect
import contextlib
import threading
from collections.abc import Iterable, Iterator

from github_s3_backup.backup.repository.errors import ContentError
from github_s3_backup.backup.services import Services
from github_s3_backup.git.lfs_pointers import Pointers
from github_s3_backup.github.client import GitHub
from github_s3_backup.github.lfs import BATCH_SIZE, LfsAnswer
from github_s3_backup.github.transport.http import Link
from github_s3_backup.github.transport.links import LinkError
from github_s3_backup.github.transport.rest import GitHubError
from github_s3_backup.records.content import StoredContent
from github_s3_backup.repository import Repository
from github_s3_backup.s3.content_store import WrongContentError

# How often an object is asked for whose bytes are not those of its OID.
ATTEMPTS = 2
# What a link answers where the object is gone, or is shorter than it should be: nothing follows what has arrived.
NOT_THERE = (404, 410, 416)


class AbsentError(ContentError):
    """The LFS server does not have the object."""

    def __init__(self, message: str) -> None:
        super().__init__(message, "clone")


class LfsObjects:
    """The objects of one repository. `wanted`: those that links may be asked for."""

    def __init__(self, repository: Repository, wanted: Pointers, services: Services) -> None:
        self._owner, self._store = repository.owner, services.content.lfs
        self._downloader = services.github.downloader
        self._links = _Links(repository, wanted, services.github)

    @property
    def refusal(self) -> GitHubError | None:
        """Why the server gives no links at all."""
        return self._links.refusal

    def store(self, oid: str, sizes: tuple[int, ...]) -> StoredContent:
        """Return the object as S3 has it, once it has. Every size that a pointer names is tried.

        Raises AbsentError, LinkError, GitHubError, and UploadError.
        """
        for size in sizes:
            if found := self._store.find(self._owner, oid, size):
                return found
        for size in sizes[:-1]:
            with contextlib.suppress(AbsentError):
                return self._download(oid, size)
        return self._download(oid, sizes[-1])

    def _download(self, oid: str, size: int) -> StoredContent:
        """Stream the object from the server to S3; bytes that are not those of the OID are asked for again."""
        for attempt in range(ATTEMPTS):
            try:
                return self._store.put(self._owner, oid, size, lambda: self._open(oid, size))
            except WrongContentError as error:
                if attempt + 1 == ATTEMPTS:
                    raise AbsentError(f"the LFS server sends something else: {error}") from None
            except LinkError as error:
                if error.status in NOT_THERE:
                    raise AbsentError(str(error)) from None
                raise
        raise AssertionError("the last attempt returned or raised")

    @contextlib.contextmanager
    def _open(self, oid: str, size: int) -> Iterator[Iterable[bytes]]:
        """Yield the object's bytes in blocks. An empty object is a file like others, and no server is asked for it."""
        if size == 0:
            yield ()
            return
        with contextlib.closing(self._downloader.blocks(size, lambda: self._links.link(oid, size))) as blocks:
            yield blocks


class _Links:
    """Links to a repository's objects, asked for in batches as they are needed."""

    def __init__(self, repository: Repository, wanted: Pointers, github: GitHub) -> None:
        self._repository, self._github = repository, github
        # A batch has one size of each object.
        self._sizes = {oid: sizes[0] for oid, sizes in sorted(wanted.items()) if sizes[0]}
        self._wanted = list(self._sizes)
        self._asked: set[str] = set()
        self._answers: dict[str, LfsAnswer] = {}
        self._lock = threading.Lock()
        self.refusal: GitHubError | None = None

    def link(self, oid: str, size: int) -> Link:
        """Return a link to an object, at each call a new one. Raises AbsentError, LinkError and GitHubError."""
        answer = None
        if self._sizes.get(oid) == size:
            with self._lock:
                if oid not in self._asked:
                    self._ask_batch(oid)
                answer = self._answers.pop(oid, None)
        return _link_in(answer or self._github.lfs_links(self._repository, {oid: size})[oid])

    def _ask_batch(self, oid: str) -> None:
        """Ask about an object and those beside it. A server that refused once is not asked again."""
        if self.refusal:
            raise self.refusal
        start = bisect.bisect_left(self._wanted, oid) // BATCH_SIZE * BATCH_SIZE
        batch = self._wanted[start : start + BATCH_SIZE]
        try:
            self._answers |= self._github.lfs_links(self._repository, {oid: self._sizes[oid] for oid in batch})
        except GitHubError as error:
            self.refusal = error
            raise
        self._asked.update(batch)


def _link_in(answer: LfsAnswer) -> Link:
    """Return the link to download an object. Raises AbsentError and LinkError."""
    if answer.is_absent:
        raise AbsentError(f"the LFS server answered {answer.code}: {answer.message}")
    if answer.code:
        raise answer.refusal()
    if "download" not in answer.links:
        raise AbsentError("the LFS server gave no link to it")
    return answer.links["download"]
