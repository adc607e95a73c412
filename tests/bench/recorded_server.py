"""GitHub from recorded answers: each is sent a fixed time after its request, and costs next to no CPU.

A process of its own, so that its CPU is told apart from everything else. What was never asked before is asked
of the real server behind and recorded, as long as recording is on; after that it is refused, and counted. The
harness sets what it needs with `POST /-/set` and takes the counts with `POST /-/take`.
"""

import asyncio
import contextlib
import hashlib
import http.client
import json
import re
import ssl
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

GIT_PATH = re.compile(r"/(?P<name>[^/]+/[^/]+)\.git/(?P<rest>.*)")
ORGANISATION = re.compile(r"(/api/v3)/orgs/[^/]+/repos")
INSTALLATION = "/installation/repositories"
# Larger answers lie in a file and are sent by the kernel.
LARGEST_IN_MEMORY = 256 * 1024
BLOCK = 1024**2
# What belongs to one connection, or is written anew with each answer.
OWN_HEADERS = {"connection", "transfer-encoding", "content-length", "date", "server"}
PASSED_ON = ("Accept", "Authorization", "Content-Encoding", "Content-Type", "Git-Protocol", "User-Agent")


@dataclass(frozen=True)
class Request:
    """One request; header names in lower case."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True)
class Answer:
    """One recorded answer: the head as it is sent, and the body in memory or in a file."""

    head: bytes
    body: bytes | Path
    size: int


def json_answer(document: Any) -> Answer:
    """Return an answer that is not as it was recorded."""
    body = json.dumps(document).encode()
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return Answer(head.encode(), body, len(body))


REFUSED = b"this was never recorded\n"
REFUSAL = Answer(f"HTTP/1.1 500 -\r\nContent-Length: {len(REFUSED)}\r\n\r\n".encode(), REFUSED, len(REFUSED))


@dataclass
class Recordings:
    """Every answer so far, and how they are asked for. What GitHub's API says belongs to one organisation."""

    folder: Path
    upstream: str = ""
    https_url: str = ""
    latency: float = 0.0
    recording: bool = True
    # What is served under a repository's name: several names may share it, and a name may get another.
    contents: dict[str, str] = field(default_factory=dict)
    answers: dict[tuple[str, ...], Answer] = field(default_factory=dict)
    asked: list[dict[str, str]] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    # What GraphQL says of a repository, by its node id: which are asked about together differs from run to run.
    nodes: dict[str, Any] = field(default_factory=dict)
    sent: int = 0
    in_flight: int = 0
    peak: int = 0

    def set(self, **values: Any) -> None:
        """Change settings; a new upstream is a new organisation, whose API answers are not those of the last."""
        for name, value in values.items():
            setattr(self, name, value)
        if "upstream" in values:
            self.answers = {key: answer for key, answer in self.answers.items() if key[0] == "git"}
            self.nodes = {}

    def take(self) -> dict[str, Any]:
        """Return what was asked since the last time."""
        taken = {"asked": self.asked, "unknown": self.unknown, "sent": self.sent, "peak": self.peak}
        self.asked, self.unknown, self.sent, self.peak = [], [], 0, self.in_flight
        return taken

    @contextlib.contextmanager
    def flight(self) -> Iterator[None]:
        """Count a request as in flight for this block: until its answer is sent."""
        self.in_flight += 1
        self.peak = max(self.peak, self.in_flight)
        try:
            yield
        finally:
            self.in_flight -= 1

    def key(self, request: Request) -> tuple[str, ...]:
        """Return what an answer depends on: not on who asks, but on whether there is an Authorization at all."""
        kind, place = "api", request.path
        if match := GIT_PATH.fullmatch(request.path):
            kind, place = "git", f"{self.contents.get(match['name'], match['name'])} {match['rest']}"
        authorized = "with authorization" if "authorization" in request.headers else "without"
        protocol = request.headers.get("git-protocol", "")
        return kind, request.method, place, protocol, authorized, hashlib.sha256(request.body).hexdigest()

    async def answer(self, request: Request) -> Answer:
        """Return the recorded answer, recording it first where that is allowed."""
        if request.path.endswith("/graphql"):
            return await self.answer_nodes(request)
        key = self.key(request)
        if key not in self.answers:
            if not self.recording:
                self.unknown.append(f"{request.method} {request.path}")
                return REFUSAL
            self.answers[key] = await asyncio.to_thread(self.record, request)
        answer = self.answers[key]
        self.asked.append(described(request))
        self.sent += answer.size
        return answer

    async def answer_nodes(self, request: Request) -> Answer:
        """Answer a query for repositories by their node ids, of which those that are new are recorded."""
        ids = json.loads(request.body)["variables"]["ids"]
        if not self.nodes.keys() >= set(ids):
            if not self.recording:
                self.unknown.append(f"{request.method} {request.path}")
                return REFUSAL
            body = (await asyncio.to_thread(self.record, request)).body
            assert isinstance(body, bytes)
            self.nodes |= zip(ids, json.loads(body)["data"]["nodes"], strict=True)
        answer = json_answer({"data": {"nodes": [self.nodes[number] for number in ids]}})
        self.asked.append(described(request))
        self.sent += answer.size
        return answer

    def record(self, request: Request) -> Answer:
        """Ask the server behind."""
        path = ORGANISATION.sub(rf"\1{INSTALLATION}", request.path)
        headers = {name: request.headers[name.lower()] for name in PASSED_ON if name.lower() in request.headers}
        if "Authorization" in headers:
            headers["Authorization"] = re.sub("^token ", "Bearer ", headers["Authorization"])
        connection = http.client.HTTPConnection(urlsplit(self.upstream).netloc)
        connection.request(request.method, path, request.body or None, headers)
        answer = connection.getresponse()
        given = {name: value for name, value in answer.getheaders() if name.lower() not in OWN_HEADERS}
        body = self.keep(answer)
        if path != request.path and isinstance(body, bytes):
            body = self.as_organisation(request.path, given, body)
        size = len(body) if isinstance(body, bytes) else body.stat().st_size
        lines = [f"HTTP/1.1 {answer.status} {answer.reason}", *(f"{name}: {value}" for name, value in given.items())]
        connection.close()
        return Answer("\r\n".join([*lines, f"Content-Length: {size}", "\r\n"]).encode(), body, size)

    def keep(self, answer: http.client.HTTPResponse) -> bytes | Path:
        """Return the body: in memory, or a file named by its content where it is large."""
        start = answer.read(LARGEST_IN_MEMORY)
        if len(start) < LARGEST_IN_MEMORY or answer.getheader("Content-Type", "").startswith("application/json"):
            return start + answer.read()
        digest, passing = hashlib.sha256(start), self.folder / f"arriving-{id(answer)}"
        with passing.open("wb") as file:
            file.write(start)
            while block := answer.read(BLOCK):
                digest.update(block)
                file.write(block)
        return passing.rename(self.folder / digest.hexdigest())

    def as_organisation(self, path: str, headers: dict[str, str], body: bytes) -> bytes:
        """Turn a page of an installation's repositories into one of an organisation's, links included."""
        if link := headers.get("Link"):
            base = self.https_url + path.partition("?")[0]
            headers["Link"] = re.sub(rf"<[^>]*{INSTALLATION}", f"<{base}", link)
        return json.dumps(json.loads(body)["repositories"]).encode()


def described(request: Request) -> dict[str, str]:
    """Return a request as the harness sends it once more."""
    names = ("authorization", "content-encoding", "content-type", "git-protocol")
    kept = {name: request.headers[name] for name in names if name in request.headers}
    return {"method": request.method, "path": request.path, "body": request.body.hex()} | kept


async def read_request(reader: asyncio.StreamReader) -> Request:
    """Read one request. Raises IncompleteReadError at the end of the connection."""
    first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").splitlines()
    method, path, _ = first.split(" ")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines if line)}
    if headers.get("transfer-encoding") == "chunked":
        return Request(method, path, headers, b"".join([chunk async for chunk in chunks(reader)]))
    return Request(method, path, headers, await reader.readexactly(int(headers.get("content-length", 0))))


async def chunks(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    """Yield the chunks of a body."""
    while size := int(await reader.readline(), 16):
        yield await reader.readexactly(size)
        await reader.readline()
    await reader.readline()


async def send(writer: asyncio.StreamWriter, answer: Answer) -> None:
    """Send an answer, a file by the kernel alone."""
    if isinstance(answer.body, bytes):
        writer.write(answer.head + answer.body)
        await writer.drain()
        return
    writer.write(answer.head)
    await writer.drain()
    with answer.body.open("rb") as file:
        await asyncio.get_running_loop().sendfile(writer.transport, file)


def control(recordings: Recordings, request: Request) -> Answer:
    """Do what the harness asks for."""
    taken = {}
    if request.path == "/-/take":
        taken = recordings.take()
    else:
        recordings.set(**json.loads(request.body))
    body = json.dumps(taken).encode()
    return Answer(f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n".encode(), body, len(body))


async def serve(folder: Path, certificate: Path) -> None:
    """Listen on two ports, for HTTP and HTTPS, and say which."""
    recordings = Recordings(folder)

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
            while True:
                request = await read_request(reader)
                if request.path.startswith("/-/"):
                    await send(writer, control(recordings, request))
                    continue
                with recordings.flight():
                    await asyncio.sleep(recordings.latency)
                    await send(writer, await recordings.answer(request))
        writer.close()

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    plain = await asyncio.start_server(converse, "127.0.0.1", 0)
    encrypted = await asyncio.start_server(converse, "127.0.0.1", 0, ssl=context)
    ports = [server.sockets[0].getsockname()[1] for server in (plain, encrypted)]
    print(json.dumps(ports), flush=True)
    await asyncio.gather(plain.serve_forever(), encrypted.serve_forever())


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1]), Path(sys.argv[2])))
