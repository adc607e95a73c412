"""One HTTP request: where a redirect may lead, which headers go along, how long and how large an answer may be."""

import contextlib
import functools
import io
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urljoin, urlsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter
from requests.structures import CaseInsensitiveDict

from github_s3_backup.github.transport.limiter import Limiter

TIMEOUT = (10, 60)  # seconds to connect, seconds between two bytes
ANSWER_SECONDS = 120  # for a whole answer: a server that sends a byte now and then never times out otherwise
MAX_ANSWER_BYTES = 512 * 1024**2  # of an answer that is held in memory
BLOCK_SIZE = 64 * 1024
MAX_REDIRECTS = 5  # requests in all
PORTS = {"https": 443, "http": 80}


class NotEncryptedError(requests.RequestException):
    """A server redirects from https:// to an address that is not encrypted."""


@dataclass(frozen=True)
class Link:
    """Where to get something, or to put it, and the headers that belong to it. Neither is to be logged.

    `limiter`: of the installation whose request it is; None where it is not GitHub's API that serves it.
    """

    url: str = field(repr=False)
    headers: Mapping[str, Any] = field(repr=False)
    limiter: Limiter | None = None

    @property
    def host(self) -> str:
        return urlsplit(self.url).netloc.rpartition("@")[2]

    def slot(self, method: str) -> contextlib.AbstractContextManager[None]:
        """Return what a request through this link enters while it is in flight."""
        return self.limiter.request(method, self.url) if self.limiter else contextlib.nullcontext()


def new_session(ca_file: str | None, connections: int) -> requests.Session:
    """Return a session that ignores the machine's .netrc and proxies, and keeps `connections` open to each host."""
    session = requests.Session()
    for scheme in ("https://", "http://"):
        session.mount(scheme, HTTPAdapter(pool_maxsize=connections))
    session.trust_env = False
    session.verify = ca_file or True
    return session


def same_server(one: str, other: str) -> bool:
    """Return whether two URLs have the same scheme, host and port, however they spell them."""
    return _server(one) == _server(other)


def _server(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    try:
        port = parts.port or PORTS.get(parts.scheme)
    except ValueError:  # it is no number
        port = None
    return parts.scheme, parts.netloc if port is None or "@" in parts.netloc else parts.hostname, port


@contextlib.contextmanager
def opened(
    session: requests.Session, method: str, link: Link, elsewhere: bool = False, **options: Any
) -> Iterator[requests.Response]:
    """Send a request and yield the answer, its body not yet read.

    Redirects of a GET are followed on the same server, with the headers; where `elsewhere` is allowed to other servers
    too, without them, and never to one that is not encrypted. Any other redirect is the answer. Raises requests'
    errors, OSError and Stopped.
    """
    for left in range(MAX_REDIRECTS - 1, -1, -1):
        with link.slot(method), _send(session, method, link, options) as answer:
            target = _target(answer, method, link, elsewhere) if left else None
            if target is None:
                yield answer
                return
        link = target


def _send(session: requests.Session, method: str, link: Link, options: dict[str, Any]) -> requests.Response:
    """Send one request. `Session.request` merges the same settings each time: a quarter of a request's CPU time."""
    headers = CaseInsensitiveDict([*session.headers.items(), *link.headers.items()])
    given = {"timeout": TIMEOUT, **options}
    timeout, server = given.pop("timeout"), urlsplit(link.url)
    request = requests.Request(method, link.url, {k: v for k, v in headers.items() if v is not None}, **given)
    return session.send(
        request.prepare(),
        allow_redirects=False,
        stream=True,
        timeout=timeout,
        verify=session.verify,
        cert=None,
        proxies=_proxies(f"{server.scheme}://{server.netloc}"),
    )


@functools.lru_cache(maxsize=64)
def _proxies(server: str) -> dict[str, str]:
    """Return the proxies to a server, which the environment names."""
    return requests.utils.get_environ_proxies(server)


def _target(answer: requests.Response, method: str, link: Link, elsewhere: bool) -> Link | None:
    """Return where an answer leads, None where it is the last one. Raises NotEncryptedError."""
    if not answer.is_redirect or method != "GET":
        return None
    url = urljoin(link.url, answer.headers["Location"])
    if same_server(url, link.url):
        return Link(url, link.headers, link.limiter)
    if not elsewhere:
        return None
    if urlsplit(link.url).scheme == "https" and urlsplit(url).scheme != "https":
        raise NotEncryptedError(f"{link.host} redirects to an address that is not encrypted")
    kept = {name: value for name, value in link.headers.items() if name.lower() in ("accept-encoding", "range")}
    return Link(url, kept)


def read_whole(answer: requests.Response, seconds: float = ANSWER_SECONDS, most: int = MAX_ANSWER_BYTES) -> None:
    """Read the whole body, so that the answer has it, within so many seconds and bytes. Raises requests' errors."""
    raw, deadline, size = answer.raw, time.monotonic() + seconds, 0
    blocks = []
    try:
        while block := raw.read1(BLOCK_SIZE, decode_content=True):
            blocks.append(block)
            size += len(block)
            if size > most:
                raise requests.RequestException(f"the answer is larger than {most} bytes")
            if time.monotonic() > deadline:
                raise requests.ReadTimeout(f"the answer took longer than {seconds:g} s")
    except urllib3.exceptions.HTTPError as error:
        raise requests.ConnectionError(error) from None
    raw.release_conn()
    answer.raw = io.BytesIO(b"".join(blocks))
    _ = answer.content  # requests takes it out of `raw`, which is closed with the answer


def root_cause(error: BaseException) -> str:
    """Return the innermost reason of a failed request: the outer ones repeat it in Python's words."""
    reason = error
    while (inner := getattr(reason, "reason", None) or (reason.args and reason.args[0])) and isinstance(
        inner, BaseException
    ):
        reason = inner
    return str(reason) or type(reason).__name__
