"""Smart HTTP git: real `git http-backend` behind a Python HTTP server."""

import os
import subprocess
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import IO

BLOCK = 64 * 1024
GIT_ENVIRONMENT = {
    "PATH": os.environ["PATH"],
    "LC_ALL": "C",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_HTTP_EXPORT_ALL": "1",
    # The repositories may belong to another user, as in `make demo REPOS=`.
    "GIT_CONFIG_COUNT": "1",
    "GIT_CONFIG_KEY_0": "safe.directory",
    "GIT_CONFIG_VALUE_0": "*",
}


def serve_git(
    handler: BaseHTTPRequestHandler, repository: Path, service_path: str, query: str, cut_after: int | None
) -> None:
    """Answer one git request with http-backend; close the connection after `cut_after` bytes of the body."""
    environment = GIT_ENVIRONMENT | {
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
            _copy_request(handler, backend.stdin)
            backend.stdin.close()
            _copy_answer(handler, backend.stdout, cut_after, whole=service_path == "info/refs")
        except (BrokenPipeError, ConnectionError):
            backend.kill()


def _copy_request(handler: BaseHTTPRequestHandler, to: IO[bytes]) -> None:
    if handler.headers.get("Transfer-Encoding", "") == "chunked":
        while size := int(handler.rfile.readline(), 16):
            to.write(handler.rfile.read(size))
            handler.rfile.readline()
        handler.rfile.readline()
    else:
        to.write(handler.rfile.read(int(handler.headers.get("Content-Length", 0))))


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
