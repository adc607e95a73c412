"""A git server of its own, without the rest of GitHub: repositories in a folder behind `git http-backend`."""

import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from embedded.git_http import serve_git

Respond = Callable[[BaseHTTPRequestHandler], None]


class GitServer:
    """Serves every repository below a folder. `respond` takes the place of git for the requests that follow."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.respond: Respond = self._serve
        self.authorizations: list[str | None] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                server.authorizations.append(self.headers.get("Authorization"))
                server.respond(self)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> "GitServer":
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _serve(self, handler: BaseHTTPRequestHandler) -> None:
        name, _, service = handler.path.lstrip("/").partition(".git/")
        serve_git(handler, self.folder / f"{name}.git", service, "", None)


def with_body(body: bytes, status: int = 200, **headers: str) -> Respond:
    """Return what answers with these bytes. `_` in a header's name stands for a dash."""
    given = {"Content-Type": "application/x-git-upload-pack-result"}
    given |= {name.replace("_", "-"): value for name, value in headers.items()}

    def respond(handler: BaseHTTPRequestHandler) -> None:
        handler.rfile.read(int(handler.headers["Content-Length"]))
        handler.send_response(status)
        for name, value in given.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(body)

    return respond
