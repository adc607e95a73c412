"""Downloads from links that GitHub hands out: to another host, signed, and valid for some minutes."""

import contextlib
import re
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

import requests
import urllib3
from structlog.typing import FilteringBoundLogger

from github_s3_backup.github.transport.http import Link, NotEncryptedError, opened, read_whole, root_cause, same_server
from github_s3_backup.runtime.patience import USUAL, Patience
from github_s3_backup.runtime.retry import PERMANENT, TRANSIENT, Retry, RetryableError, retry_after, retrying
from github_s3_backup.runtime.stop import Stop

ATTEMPTS = 6
BLOCK_SIZE = 256 * 1024
OK, PARTIAL_CONTENT = 200, 206
# What an expired link answers. With a new one the next attempt may succeed.
EXPIRED = (401, 403, 404, 410)


class LinkError(RetryableError):
    """A link does not give what it was handed out for. The text never holds the link: it is signed."""

    def __init__(self, message: str, status: int = 0, retry: Retry = TRANSIENT) -> None:
        super().__init__(message, retry)
        self.status = status


@dataclass(frozen=True)
class Downloader:
    """Reads files through links. `patience`: for the time that a file takes, without the waits in between."""

    session: requests.Session
    stop: Stop
    log: FilteringBoundLogger
    patience: Patience = USUAL

    def blocks(self, size: int, new_link: Callable[[], Link]) -> Generator[bytes, None, None]:
        """Yield a file of `size` bytes in blocks. Where a link breaks off, the next one goes on.

        `new_link` is called before each attempt. Raises LinkError, and what `new_link` raises.
        """
        position, spent = 0, 0.0
        for attempt in retrying(ATTEMPTS, self.stop, self.log):
            with attempt, self._opened(new_link(), position) as answer:
                host, started, before = urlsplit(answer.url).netloc, self.stop.now(), spent
                for block in self._read(answer, position, host):
                    position += len(block)
                    yield block
                    spent = before + self.stop.now() - started
                    if position < size and spent > self.patience.seconds(position):
                        raise LinkError(
                            f"{host} was too slow: {position} of {size} bytes arrived until the deadline for this file",
                            retry=PERMANENT,
                        )
                if position < size:
                    raise LinkError(f"{host} ended the answer after {position} of {size} bytes")

    @contextlib.contextmanager
    def _opened(self, link: Link, position: int) -> Iterator[requests.Response]:
        """Yield the answer, its body not yet read. Raises LinkError."""
        byte_range = {"Range": f"bytes={position}-"} if position else {}
        link = replace(link, headers={"Accept-Encoding": "identity", **link.headers, **byte_range})
        with contextlib.ExitStack() as stack:
            try:
                answer = stack.enter_context(opened(self.session, "GET", link, elsewhere=True))
            except NotEncryptedError as error:
                raise LinkError(str(error), retry=PERMANENT) from None
            except (requests.RequestException, OSError, ValueError) as error:  # ValueError: what is no URL
                raise unreachable(link, error) from None
            if answer.status_code not in (OK, PARTIAL_CONTENT):
                refused = refusal(answer)
                if link.limiter and same_server(answer.url, link.url):
                    link.limiter.heed(refused.retry)
                raise refused
            yield answer

    def _read(self, answer: requests.Response, position: int, host: str) -> Iterator[bytes]:
        """Yield the body from `position` on, whatever part of the file the server sends."""
        start = _first_byte(answer)
        if start not in (0, position):
            raise LinkError(f"{host} sent the bytes from {start} on, not from {position}")
        to_skip = position - start
        try:
            while block := answer.raw.read1(BLOCK_SIZE):  # what is there, however little
                self.stop.check()
                if to_skip < len(block):
                    yield block[to_skip:]
                to_skip = max(0, to_skip - len(block))
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise LinkError(f"{host} closed the connection: {without_query(root_cause(error))}") from None


def _first_byte(answer: requests.Response) -> int:
    if answer.status_code != PARTIAL_CONTENT:
        return 0
    match = re.match(r"bytes (\d+)-", answer.headers.get("Content-Range", ""))
    return int(match[1]) if match else -1


def refusal(answer: requests.Response) -> LinkError:
    """Return what was answered in place of a file. A new link may help where this one has expired."""
    status, host = answer.status_code, urlsplit(answer.url).netloc
    retry = retry_after(status, answer.headers, _words(answer))
    if status in EXPIRED and not retry.is_limit:
        retry = TRANSIENT
    return LinkError(f"{host} answered {status} {answer.reason}", status, retry)


def _words(answer: requests.Response) -> str:
    """Return the words of GitHub's API. Those of a storage server may hold the link."""
    if "json" not in answer.headers.get("Content-Type", ""):
        return ""
    with contextlib.suppress(requests.RequestException, OSError):
        read_whole(answer)
        return answer.text
    return ""


def unreachable(link: Link, error: Exception) -> LinkError:
    return LinkError(f"{link.host} can't be reached: {without_query(root_cause(error))}")


def without_query(words: str) -> str:
    """Return an error's words without what signs a link."""
    return re.sub(r"\?\S+", "", words)
