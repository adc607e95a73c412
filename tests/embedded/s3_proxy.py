"""A proxy in front of the embedded S3 or AWS that records, refuses, spoils or slows down what tests choose."""

import http.client
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal
from urllib.parse import urlsplit

FAILED = b"<Error><Code>InternalError</Code><Message>We encountered an internal error.</Message></Error>"
DENIED = b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"


@dataclass
class S3Fault:
    """What happens to the first `times` requests whose `METHOD path?query` matches; a copy has ` copy` behind it."""

    match: str
    # deny: 403. spoil: one byte of the body is another. slow: 1 MiB a second, there and back.
    # hang: no answer for a minute. cut: the connection ends in the middle of the answer.
    # lose: S3 does it, and the connection ends before the answer. fail: S3 does it, and answers 500.
    kind: Literal["deny", "spoil", "slow", "hang", "cut", "lose", "fail"]
    times: int = 1_000_000


@dataclass
class S3Proxy:
    """The proxy; use it as a context manager."""

    target: str
    faults: list[S3Fault] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    # What was asked to be copied: `bucket/key?versionId=id`.
    copy_sources: list[str] = field(default_factory=list)
    # The JSON requests to AWS services that passed: operation and body.
    operations: list[tuple[str, bytes]] = field(default_factory=list)
    # The SHA-256 that AWS, and not every server, says in its answer to CopyObject, by what the path matches.
    copy_checksums: dict[str, str] = field(default_factory=dict)
    # Which requests asked for a condition: `METHOD path?query` and the header If-None-Match.
    conditions: list[tuple[str, str | None]] = field(default_factory=list)
    # Headers of the answers to what the path matches, that AWS sends and not every server.
    answer_headers: dict[str, dict[str, str]] = field(default_factory=dict)
    # What is done once, before the first request that matches goes on to S3.
    before: dict[str, Callable[[], object]] = field(default_factory=dict)
    at_once: int = 0
    most_at_once: int = 0

    def __post_init__(self) -> None:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.lock = threading.Lock()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> "S3Proxy":
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def kind(self, what: str) -> str | None:
        for fault in self.faults:
            if fault.times > 0 and re.search(fault.match, what):
                fault.times -= 1
                return fault.kind
        return None

    def with_headers(self, what: str, headers: list[tuple[str, str]]) -> list[tuple[str, str]]:
        """Return the answer's headers, with those that are to be in it."""
        given = {
            name: value
            for pattern, more in self.answer_headers.items()
            if re.search(pattern, what)
            for name, value in more.items()
        }
        return [(name, value) for name, value in headers if name not in given] + list(given.items())

    def with_checksum(self, what: str, answer: bytes) -> bytes:
        """Return S3's answer, to a copy with the checksum that is to be in it."""
        for pattern, checksum in self.copy_checksums.items():
            if what.endswith(" copy") and re.search(pattern, what):
                element = f"<ChecksumSHA256>{checksum}</ChecksumSHA256></CopyObjectResult>".encode()
                return answer.replace(b"</CopyObjectResult>", element)
        return answer

    def _handler(proxy) -> type[BaseHTTPRequestHandler]:  # noqa: N805  (`self` is the request's, below)
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def forward(self) -> None:
                copies = ""
                if source := self.headers.get("x-amz-copy-source"):
                    copies = " copy"
                    proxy.copy_sources.append(source)
                what = f"{self.command} {self.path}{copies}"
                proxy.requests.append(what)
                proxy.conditions.append((what, self.headers.get("If-None-Match")))
                kind = proxy.kind(what)
                for pattern in [pattern for pattern in proxy.before if re.search(pattern, what)]:
                    proxy.before.pop(pattern)()
                body = self.read_body(slowly=kind == "slow")
                if operation := self.headers.get("X-Amz-Target"):
                    proxy.operations.append((operation, body))
                if kind == "deny":
                    self.send(403, [("Content-Type", "application/xml")], DENIED)
                    return
                if kind == "hang":
                    time.sleep(60)
                if kind == "spoil":
                    body = body[:-1] + bytes([body[-1] ^ 1])
                connection = http.client.HTTPConnection(urlsplit(proxy.target).netloc, timeout=60)
                headers = {name: value for name, value in self.headers.items() if name.lower() != "expect"}
                connection.request(self.command, self.path, body, headers)
                answer = connection.getresponse()
                content = proxy.with_checksum(what, answer.read())
                connection.close()
                if kind == "lose":
                    raise ConnectionError("lost")
                if kind == "fail":
                    self.send(500, [("Content-Type", "application/xml")], FAILED)
                else:
                    self.send(answer.status, proxy.with_headers(what, answer.getheaders()), content, kind)

            def counted(self) -> None:
                with proxy.lock:
                    proxy.at_once += 1
                    proxy.most_at_once = max(proxy.most_at_once, proxy.at_once)
                try:
                    self.forward()
                finally:
                    with proxy.lock:
                        proxy.at_once -= 1

            do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = counted  # noqa: N815

            def read_body(self, slowly: bool) -> bytes:
                left, parts = int(self.headers.get("Content-Length", 0)), []
                while left:
                    parts.append(self.rfile.read(min(left, 128 * 1024)))
                    left -= len(parts[-1])
                    time.sleep(0.125 if slowly else 0)
                    if not parts[-1]:
                        raise ConnectionError("the client went away")
                return b"".join(parts)

            def send(self, status: int, headers: list[tuple[str, str]], body: bytes, kind: str | None = None) -> None:
                self.send_response(status)
                for name, value in headers:
                    if name.lower() not in ("content-length", "transfer-encoding", "date", "server"):
                        self.send_header(name, value)
                length = {name.lower(): value for name, value in headers}.get("content-length", "0")
                self.send_header("Content-Length", length if self.command == "HEAD" else str(len(body)))
                self.end_headers()
                end = len(body) // 2 if kind == "cut" else len(body)
                for start in range(0, end, 128 * 1024):
                    self.wfile.write(body[start : min(end, start + 128 * 1024)])
                    time.sleep(0.125 if kind == "slow" else 0)
                if kind == "cut":
                    raise ConnectionError("cut")

            def handle_one_request(self) -> None:
                try:
                    super().handle_one_request()
                except ConnectionError:
                    self.close_connection = True

            def log_message(self, *_: object) -> None:
                pass

        return Handler
