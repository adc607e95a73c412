"""Downloads from links that GitHub hands out: to another host, signed, and valid for some minutes."""

import contextlib
import re
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass, field
from urllib.parse import urljoin, urlsplit

import requests
import urllib3
from structlog.typing import FilteringBoundLogger

from github_s3_backup.github.rest import MAX_REDIRECTS, TIMEOUT, root_cause
from github_s3_backup.runtime.retry import RetryableError, requested_wait, retrying
from github_s3_backup.runtime.stop import Stop

ATTEMPTS = 6
BLOCK_SIZE = 256 * 1024
# The deadline of one download: a base, and what the size takes at a speed that a working connection exceeds.
DEADLINE_BASE, DEADLINE_BYTES_PER_SECOND = 15 * 60.0, 250_000
OK, PARTIAL_CONTENT = 200, 206
# What an expired link answers. With a new one the next attempt may succeed.
EXPIRED = (401, 403, 404, 410)


class LinkError(RetryableError):
    """A link does not give what it was handed out for. The text never holds the link: it is signed."""

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Link:
    """Where to get something, or to put it, and the headers that belong to it. Neither is to be logged."""

    url: str = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)

    @property
    def host(self) -> str:
        return urlsplit(self.url).netloc.rpartition("@")[2]


@dataclass(frozen=True)
class Downloader:
    """Reads files through links."""

    session: requests.Session
    stop: Stop
    log: FilteringBoundLogger
    deadline_base: float = DEADLINE_BASE

    def blocks(self, size: int, new_link: Callable[[], Link]) -> Generator[bytes, None, None]:
        """Yield a file of `size` bytes in blocks. Where a link breaks off, the next one goes on.

        `new_link` is called before each attempt. Raises LinkError, and what `new_link` raises.
        """
        position, deadline = 0, time.monotonic() + self.deadline_base + size / DEADLINE_BYTES_PER_SECOND
        for attempt in retrying(ATTEMPTS, self.stop, self.log):
            with attempt, contextlib.closing(self._open(new_link(), position)) as answer:
                host = urlsplit(answer.url).netloc
                for block in self._read(answer, position, host):
                    position += len(block)
                    yield block
                    _check_deadline(deadline, position, size, host)
                if position < size:
                    raise LinkError(f"{host} ended the answer after {position} of {size} bytes")

    def _open(self, link: Link, position: int) -> requests.Response:
        """Return the answer, its body not yet read. Redirects are followed, without headers to another host."""
        try:
            for _ in range(MAX_REDIRECTS):
                answer = self._get(link, position)
                if not answer.is_redirect:
                    break
                answer.close()
                target = urljoin(link.url, answer.headers["Location"])
                _check_encryption(link.url, target)
                same_host = urlsplit(target)[:2] == urlsplit(link.url)[:2]
                link = Link(target, link.headers if same_host else {})
        except (requests.RequestException, OSError, ValueError) as error:  # ValueError: what is no URL
            raise LinkError(f"{link.host} can't be reached: {without_query(root_cause(error))}") from None
        if answer.status_code not in (OK, PARTIAL_CONTENT):
            with answer:
                raise refusal(answer, link.host)
        return answer

    def _get(self, link: Link, position: int) -> requests.Response:
        byte_range = {"Range": f"bytes={position}-"} if position else {}
        return self.session.get(
            link.url,
            headers={"Accept-Encoding": "identity", **link.headers, **byte_range},
            timeout=TIMEOUT,
            allow_redirects=False,
            stream=True,
            proxies=requests.utils.get_environ_proxies(link.url),
        )

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


def _check_encryption(url: str, target: str) -> None:
    if urlsplit(url).scheme == "https" and urlsplit(target).scheme != "https":
        fault = LinkError(f"{urlsplit(url).netloc} redirects to an address that is not encrypted")
        fault.permanent = True
        raise fault


def _first_byte(answer: requests.Response) -> int:
    if answer.status_code != PARTIAL_CONTENT:
        return 0
    match = re.match(r"bytes (\d+)-", answer.headers.get("Content-Range", ""))
    return int(match[1]) if match else -1


def refusal(answer: requests.Response, host: str) -> LinkError:
    fault = LinkError(f"{host} answered {answer.status_code} {answer.reason}", answer.status_code)
    fault.wait, fault.wait_source = requested_wait(answer.status_code, answer.headers)
    fault.permanent = answer.status_code < 500 and answer.status_code not in (*EXPIRED, 408, 429)
    return fault


def _check_deadline(deadline: float, position: int, size: int, host: str) -> None:
    if position < size and time.monotonic() > deadline:
        fault = LinkError(f"{host} was too slow: {position} of {size} bytes arrived until the deadline for this file")
        fault.permanent = True
        raise fault


def without_query(words: str) -> str:
    """Return an error's words without what signs a link."""
    return re.sub(r"\?\S+", "", words)
