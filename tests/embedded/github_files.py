"""The embedded GitHub's second port, where LFS objects and releases' files are: signed links, as to S3.

A link is good for one method and path and for a while. It is all that a request needs: one that brings an
Authorization header too is refused, as S3 does ("Only one auth mechanism allowed").
"""

import re
import secrets
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.message import Message
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

from embedded.git_http import BLOCK, request_body
from embedded.github_content import Content, content_size, open_content
from embedded.github_http import Fault, Handler, new_server
from embedded.github_release_write import refuse_upload, serve_upload

if TYPE_CHECKING:
    from embedded.github import FakeGitHub

SIGNATURE = "X-Amz-Signature"


@dataclass
class Link:
    """What a signed link is for: to give a content, or to take one (`take` returns why not, or None)."""

    method: str
    path: str
    expires_at: datetime
    content: Content = b""
    content_type: str = "application/octet-stream"
    take: Callable[[Iterator[bytes]], str | None] | None = None
    # Headers that are signed too, and must come with the request.
    signed: dict[str, str] = field(default_factory=dict)

    def allows(self, method: str, path: str, headers: Message) -> bool:
        signed = all(headers.get(name) == value for name, value in self.signed.items())
        return signed and (method, path) == (self.method, self.path)


class FileServer:
    """The second port, and the links to it that were given."""

    def __init__(self, fake: "FakeGitHub", tls: ssl.SSLContext | None) -> None:
        self._fake = fake
        self._links: dict[str, Link] = {}
        self.server = new_server(FileHandler, fake, tls)
        # Another host than the API's; over TLS the same one, which is all that the tests' certificate is for.
        self.url = f"{'https://127.0.0.1' if tls else 'http://localhost'}:{self.server.server_port}"

    def give(self, path: str, content: Content, content_type: str = "application/octet-stream") -> tuple[str, datetime]:
        """Return a link from which a content can be had, and until when."""
        return self._sign(Link("GET", path, self._end(), content, content_type))

    def take(
        self, path: str, take: Callable[[Iterator[bytes]], str | None], signed: dict[str, str]
    ) -> tuple[str, datetime]:
        """Return a link to which a content can be put, with these headers, and until when."""
        return self._sign(Link("PUT", path, self._end(), take=take, signed=signed))

    def find(self, signature: str) -> Link | None:
        return self._links.get(signature)

    def signatures(self) -> list[str]:
        return list(self._links)

    def expire_links(self) -> None:
        for link in list(self._links.values()):
            link.expires_at = datetime.now(UTC)

    def _end(self) -> datetime:
        return datetime.now(UTC) + self._fake.link_life

    def _sign(self, link: Link) -> tuple[str, datetime]:
        signature = secrets.token_hex(32)
        self._links[signature] = link
        life = int(self._fake.link_life.total_seconds())
        query = f"X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Expires={life}&{SIGNATURE}={signature}"
        return f"{self.url}{link.path}?{query}", link.expires_at


class FileHandler(Handler):
    """One request to a signed link, or an upload to a release where those are taken here."""

    def serve(self, fault: Fault | None) -> None:
        if self.is_upload():
            parts = urlsplit(self.path)
            serve_upload(self, parts.path, parts.query, fault)
        else:
            self.serve_link(fault)

    def is_upload(self) -> bool:
        return self.fake.uploads_elsewhere and self.path.startswith("/repos/")

    def serve_link(self, fault: Fault | None) -> None:
        if "Authorization" in self.headers:
            self.skip_body()
            self.refuse_with("InvalidArgument", 400, "Only one auth mechanism allowed")
            return
        parts = urlsplit(self.path)
        link = self.fake.files.find(parse_qs(parts.query).get(SIGNATURE, [""])[0])
        if link is None or not link.allows(self.command, parts.path, self.headers):
            self.skip_body()
            words = "The request signature we calculated does not match the signature you provided."
            self.refuse_with("SignatureDoesNotMatch", 403, words)
        elif link.expires_at <= datetime.now(UTC):
            self.skip_body()
            self.refuse_with("AccessDenied", 403, "Request has expired")
        elif link.take:
            self.take(link.take, fault)
        else:
            self.give(link, fault.cut_after if fault else None)

    def refuse(self, status: int, words: str, headers: dict[str, str]) -> None:
        if self.is_upload():
            parts = urlsplit(self.path)
            refuse_upload(self, parts.path, parts.query, (status, words, headers))
        else:
            self.refuse_with("SlowDown" if status == 503 else "InternalError", status, words, headers)

    def refuse_with(self, code: str, status: int, words: str, headers: dict[str, str] | None = None) -> None:
        body = f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code><Message>{words}</Message></Error>'
        self.send(status, body.encode(), {"Content-Type": "application/xml"} | (headers or {}))

    def take(self, take: Callable[[Iterator[bytes]], str | None], fault: Fault | None) -> None:
        blocks = request_body(self)
        problem = take(blocks)
        if fault and fault.after_all:
            self.refuse_as(fault)
        elif problem:
            self.refuse_with("XAmzContentSHA256Mismatch", 400, problem)
        else:
            self.send(200, b"", {})

    def give(self, link: Link, cut_after: int | None) -> None:
        size = content_size(link.content)
        headers = {"Content-Type": link.content_type, "Accept-Ranges": "bytes"}
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        start, end = (int(asked[1]), min(int(asked[2] or size), size - 1)) if asked else (0, size - 1)
        if asked and start >= size:
            words = "The requested range is not satisfiable"
            self.refuse_with("InvalidRange", 416, words, {"Content-Range": f"bytes */{size}"})
            return
        if asked:
            headers["Content-Range"] = f"bytes {start}-{end}/{size}"
        self.begin(206 if asked else 200, headers | {"Content-Length": str(end - start + 1)})
        left = end - start + 1 if cut_after is None else min(cut_after, end - start + 1)
        with open_content(link.content) as file:
            file.seek(start)
            while block := file.read(min(left, BLOCK)):
                self.wfile.write(block)
                left -= len(block)
        self.close_connection = self.close_connection or cut_after is not None
