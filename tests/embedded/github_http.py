"""HTTP as the embedded GitHub speaks it on each of its ports: faults come first, every request is kept."""

import contextlib
import io
import json
import ssl
import time
from abc import ABC, abstractmethod
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from embedded.git_http import request_body
from embedded.github_answer import Answer

if TYPE_CHECKING:
    from embedded.github import FakeGitHub


@dataclass
class Fault:
    """What happens instead of the answer to the requests whose `METHOD path` matches, `times` times."""

    match: str
    status: int = 500
    headers: dict[str, str] = field(default_factory=dict)
    message: str = "Server Error"
    times: int = 1
    # Let so many matching requests through before the fault begins.
    after: int = 0
    # Seconds to wait first; with status 0 the true answer follows.
    delay: float = 0.0
    # With status 0: close the connection after so many bytes of git's answer, or of a file.
    cut_after: int | None = None
    # The API does what it was asked all the same: it is the answer that got lost.
    after_all: bool = False
    # A body that is not GitHub's.
    raw: str | None = None
    # Seconds between two bytes of the answer's body.
    drip: float = 0.0


def down(match: str, status: int = 503, **about: Any) -> Fault:
    """A fault without end: the server asks for more time than anybody waits, so that nobody asks twice."""
    return Fault(match, status, {"Retry-After": "7200"}, times=999, **about)


@dataclass(frozen=True)
class Exchange:
    """One request and the status of its answer."""

    method: str
    path: str
    status: int
    headers: dict[str, str]
    body: Any
    at: float
    # Of the connection that it came over.
    port: int


class Dripping(io.BufferedIOBase):
    """A connection over which the body of an answer comes byte by byte, so many seconds apart."""

    def __init__(self, connection: Any, seconds: float) -> None:
        self._connection, self._seconds = connection, seconds

    def write(self, data: Any, /) -> int:
        if bytes(data[:5]) == b"HTTP/":  # status and headers
            self._connection.write(data)
            return len(data)
        for byte in bytes(data):
            time.sleep(self._seconds)
            self._connection.write(bytes([byte]))
        return len(data)


class Server(ThreadingHTTPServer):
    """An HTTP server in threads; over TLS it takes its leave, as git takes anything else for a cut answer."""

    daemon_threads = True

    def shutdown_request(self, request: Any) -> None:
        if isinstance(request, ssl.SSLSocket):
            with contextlib.suppress(OSError, ValueError):
                request.settimeout(2)
                request.unwrap()
        super().shutdown_request(request)


def new_server(handler: type["Handler"], fake: "FakeGitHub", tls: ssl.SSLContext | None) -> Server:
    """Return a server on a free port of this machine, not yet started."""
    server = Server(("127.0.0.1", 0), type(handler.__name__, (handler,), {"fake": fake}))
    if tls:
        server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    return server


class Handler(BaseHTTPRequestHandler, ABC):
    """One request on any of the ports: first the fault that a test has put in, then the true answer."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    fake: "FakeGitHub"
    # The request's, where it is JSON.
    body: Any = None

    @abstractmethod
    def serve(self, fault: Fault | None) -> None:
        """Give the true answer."""

    @abstractmethod
    def refuse(self, status: int, words: str, headers: dict[str, str]) -> None:
        """Refuse the request in the form that this port's clients know."""

    def waiting(self) -> AbstractContextManager[None]:
        """Return what is entered while the request waits for its answer."""
        return contextlib.nullcontext()

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except (ConnectionError, BrokenPipeError):
            self.close_connection = True

    def do_GET(self) -> None:
        self.body = None
        with self.waiting():
            time.sleep(self.fake.latency)
            fault = self.fake.next_fault(f"{self.command} {self.path}")
            time.sleep(fault.delay if fault else 0)
        if fault and fault.drip:
            self.wfile = Dripping(self.wfile, fault.drip)
            self.close_connection = True
        if fault and fault.raw is not None:
            self.skip_body()
            self.send(fault.status, fault.raw.encode(), {"Content-Type": "text/html"} | fault.headers)
        elif fault and fault.status and not fault.after_all:
            self.skip_body()
            self.refuse_as(fault)
        else:
            self.serve(fault)

    do_POST = do_PATCH = do_PUT = do_DELETE = do_GET  # noqa: N815

    def refuse_as(self, fault: Fault) -> None:
        words = fault.message + (self.headers.get("Authorization", "") if self.fake.echo_token else "")
        self.refuse(fault.status, words, fault.headers)

    def skip_body(self) -> None:
        for _ in request_body(self):
            pass

    def answer(self, answer: Answer) -> None:
        self.fake.on_answer(self.command, answer.template, answer.status, answer.body)
        headers = {"Content-Type": "application/json; charset=utf-8"} | answer.headers
        self.send(answer.status, b"" if answer.body is None else json.dumps(answer.body).encode(), headers)

    def send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.begin(status, {**headers, "Content-Length": str(len(body))})
        self.wfile.write(body)

    def begin(self, status: int, headers: dict[str, str]) -> None:
        """Record the exchange and send all that comes before the body."""
        self.record(status)
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def record(self, status: int) -> None:
        headers, port = dict(self.headers.items()), self.client_address[1]
        self.fake.exchanges.append(
            Exchange(self.command, self.path, status, headers, self.body, time.monotonic(), port)
        )

    def log_message(self, *_: object) -> None:
        pass
