"""Smart HTTP git: real `git http-backend` behind a Python HTTP server."""

import contextlib
import io
import os
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import IO

BLOCK = 64 * 1024
HOOKS = Path(__file__).parent / "hooks"
GIT_ENVIRONMENT = {
    "PATH": os.environ["PATH"],
    "LC_ALL": "C",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_HTTP_EXPORT_ALL": "1",
}
# The repositories may belong to another user, as in `make demo REPOS=`.
SETTINGS = {"safe.directory": "*"}


@dataclass(frozen=True)
class Push:
    """Who pushes and what is refused; `done` is called before git's answer is sent.

    receive-pack itself refuses, in the words that GitHub's gives: refs/pull/ are hidden refs
    (docs.github.com "Duplicating a repository"), a pack over `limit` bytes is too large (docs.github.com
    "Repository limits": 2 GB a push), workflow files need a permission of their own (docs.github.com
    "Permissions required for GitHub Apps"). A pointer to an LFS object that is not in `lfs` is refused (GH008).
    """

    login: str
    limit: int
    workflows: bool
    done: Callable[[], None]
    # The folder of the repository's LFS objects; None: pointers are files like any other.
    lfs: Path | None = None
    # Bytes of the largest file that is taken (GH001).
    file_limit: int = 100 * 1024**2
    # What every push is refused with, "" for none.
    refusal: str = ""
    # Called with the size of each block of a push.
    count: Callable[[int], None] = lambda _: None

    @property
    def environment(self) -> dict[str, str]:
        # http-backend takes a push from a user that the web server has authenticated.
        settings = {"receive.hideRefs": "refs/pull", "receive.maxInputSize": str(self.limit), "receive.autogc": "false"}
        settings["core.hooksPath"] = str(HOOKS)
        if not self.workflows:
            settings["receive.procReceiveRefs"] = "refs"
        environment = {
            "REMOTE_USER": self.login,
            "LFS_OBJECTS": str(self.lfs or ""),
            "FILE_LIMIT": str(self.file_limit),
        }
        environment["REFUSAL"] = self.refusal
        return environment | _configuration(SETTINGS | settings)


def serve_git(
    handler: BaseHTTPRequestHandler,
    repository: Path,
    service_path: str,
    query: str,
    cut_after: int | None,
    push: Push | None = None,
) -> None:
    """Answer one git request with http-backend; close the connection after `cut_after` bytes of the body."""
    environment = GIT_ENVIRONMENT | (push.environment if push else _configuration(SETTINGS))
    environment |= {
        "GIT_PROJECT_ROOT": str(repository.parent),
        "PATH_INFO": f"/{repository.name}/{service_path}",
        "QUERY_STRING": query,
        "REQUEST_METHOD": handler.command,
        "CONTENT_TYPE": handler.headers.get("Content-Type", ""),
        "HTTP_CONTENT_ENCODING": handler.headers.get("Content-Encoding", ""),
        "GIT_PROTOCOL": handler.headers.get("Git-Protocol", ""),
        "REMOTE_ADDR": "127.0.0.1",
    }
    with subprocess.Popen(
        ["git", "http-backend"],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as backend:
        assert backend.stdin
        assert backend.stdout
        try:
            _copy_request(handler, backend.stdin, push.count if push else lambda _: None)
            _copy_answer(
                handler,
                _after(push, backend.stdout) if push else backend.stdout,
                cut_after,
                service_path == "info/refs",
            )
        except (BrokenPipeError, ConnectionError):
            backend.kill()


def _configuration(settings: dict[str, str]) -> dict[str, str]:
    """Return git settings as environment variables."""
    pairs = list(enumerate(settings.items()))
    keys = {f"GIT_CONFIG_KEY_{index}": key for index, (key, _) in pairs}
    return (
        keys
        | {f"GIT_CONFIG_VALUE_{index}": value for index, (_, value) in pairs}
        | {"GIT_CONFIG_COUNT": str(len(pairs))}
    )


def request_body(handler: BaseHTTPRequestHandler) -> Iterator[bytes]:
    """Yield the request's body in the blocks that it comes in."""
    if handler.headers.get("Transfer-Encoding", "") == "chunked":
        while size := int(handler.rfile.readline(), 16):
            yield handler.rfile.read(size)
            handler.rfile.readline()
        handler.rfile.readline()
    else:
        left = int(handler.headers.get("Content-Length", 0))
        while left:
            block = handler.rfile.read(min(left, BLOCK))
            if not block:
                raise ConnectionAbortedError("the request ended early")
            left -= len(block)
            yield block


def _copy_request(handler: BaseHTTPRequestHandler, to: IO[bytes], count: Callable[[int], None]) -> None:
    blocks = request_body(handler)
    try:
        for block in blocks:
            count(len(block))
            to.write(block)
        to.close()
    except BrokenPipeError:  # git has refused, reads no further, and its answer says why
        with contextlib.suppress(BrokenPipeError):
            to.close()
        for _ in blocks:
            pass


def _after(push: Push, answer: IO[bytes]) -> IO[bytes]:
    """Return the whole answer to a push, once what follows the push has been done."""
    whole = io.BytesIO(answer.read())
    push.done()
    return whole


def _copy_answer(handler: BaseHTTPRequestHandler, answer: IO[bytes], cut_after: int | None, whole: bool) -> None:
    """Send on what git answers; as a `whole` with its length, so that the connection can be used again."""
    headers = []
    for line in iter(answer.readline, b"\r\n"):
        if not line:
            handler.send_error(500, "git http-backend gave no answer")
            return
        name, _, value = line.decode().strip().partition(": ")
        headers.append((name, value))
    status = next((value for name, value in headers if name == "Status"), "200 OK")
    handler.send_response(int(status.split()[0]))
    for name, value in headers:
        if name != "Status":
            handler.send_header(name, value)
    if whole and cut_after is None:
        body = answer.read()
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)
        return
    handler.send_header("Connection", "close")
    handler.end_headers()
    handler.close_connection = True
    left = cut_after
    for block in iter(lambda: answer.read1(BLOCK), b""):  # type: ignore[attr-defined]
        handler.wfile.write(block if left is None else block[:left])
        if left is not None:
            left -= len(block)
            if left <= 0:
                return
