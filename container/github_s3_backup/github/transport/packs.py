"""Packs of new objects, from GitHub's git server. https://git-scm.com/docs/gitprotocol-http"""

import contextlib
import io
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import requests
import urllib3

from github_s3_backup.git.process import MIN_SPEED, SLOW_SECONDS
from github_s3_backup.git.wire import ChangesNotPossibleError, compress, read_pack
from github_s3_backup.github.transport.http import Link, opened, root_cause
from github_s3_backup.github.transport.rest import GitHubError
from github_s3_backup.runtime.stop import Stop

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

BUFFER_SIZE = 128 * 1024
HEADERS = {
    "Content-Type": "application/x-git-upload-pack-request",
    "Content-Encoding": "gzip",
    "Accept": "application/x-git-upload-pack-result",
    "Accept-Encoding": "identity",
    "Git-Protocol": "version=2",
}


@dataclass(frozen=True)
class Limits:
    """What an answer may have at most: bytes, and seconds. `slow_seconds`: for which it may be too slow."""

    size: int
    seconds: float
    slow_seconds: float = SLOW_SECONDS


@dataclass(frozen=True)
class PackRequest:
    """What a git server is asked for. `link`: where, and with which credentials."""

    link: Link
    body: bytes


def fetch_pack(session: requests.Session, request: PackRequest, limits: Limits, stop: Stop) -> Iterator[bytes]:
    """Send the request, and return an iterator over the bytes of the pack that the server answers with.

    Raises GitHubError where it refuses. The iterator raises ChangesNotPossibleError where the answer is no pack, is too
    large or too slow, and Stopped.
    """
    with contextlib.ExitStack() as stack:
        answer = stack.enter_context(_sent(session, request))
        return _read(answer, stack.pop_all(), limits, stop)


@contextlib.contextmanager
def _sent(session: requests.Session, request: PackRequest) -> Iterator[requests.Response]:
    """Yield the answer, its body not yet read. Redirects are not followed."""
    link = replace(request.link, headers={**request.link.headers, **HEADERS})
    with contextlib.ExitStack() as stack:
        try:
            answer = stack.enter_context(opened(session, "POST", link, data=compress(request.body)))
        except (requests.RequestException, OSError) as error:
            raise GitHubError(f"the git server can't be reached: {root_cause(error)}") from None
        kind = answer.headers.get("Content-Type", "no type")
        if answer.status_code != 200 or kind != HEADERS["Accept"]:
            raise GitHubError(f"the git server answered {answer.status_code}, {kind}", answer.status_code)
        yield answer


def _read(answer: requests.Response, until: contextlib.ExitStack, limits: Limits, stop: Stop) -> Iterator[bytes]:
    with until:
        yield from read_pack(io.BufferedReader(_Body(answer, limits, stop), BUFFER_SIZE).read)


class _Body(io.RawIOBase):
    """The body of an answer as it arrives, held to its limits."""

    def __init__(self, answer: requests.Response, limits: Limits, stop: Stop) -> None:
        super().__init__()
        self._answer, self._limits, self._stop = answer, limits, stop
        self._received, self._started = 0, time.monotonic()
        self._counted, self._counted_at = 0, self._started

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer", /) -> int:
        """Read what is there, however little. Raises ChangesNotPossibleError and Stopped."""
        view = memoryview(buffer)
        self._stop.check()
        try:
            block = self._answer.raw.read1(len(view))
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise ChangesNotPossibleError(f"the connection broke: {root_cause(error)}") from None
        view[: len(block)] = block
        self._received += len(block)
        self._check()
        return len(block)

    def _check(self) -> None:
        if self._received > self._limits.size:
            raise ChangesNotPossibleError(f"the answer has more than {self._limits.size} bytes")
        now = time.monotonic()
        if now - self._started > self._limits.seconds:
            raise ChangesNotPossibleError(f"the answer took longer than {self._limits.seconds:.0f} s")
        if (passed := now - self._counted_at) > self._limits.slow_seconds:
            if self._received - self._counted < MIN_SPEED * passed:
                raise ChangesNotPossibleError(f"the answer came at less than {MIN_SPEED} bytes per second")
            self._counted, self._counted_at = self._received, now
