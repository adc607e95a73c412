"""An S3 that costs next to no CPU: what arrives is written to a file as it is, and sent by the kernel.

A process of its own, so that its CPU is told apart from everything else. It believes the SHA-256 that it is given
instead of computing it, and keeps parts in the files they came in; signatures are not looked at. So it proves nothing
about a client: the tests do, against a server that checks. Here the proof is that everything is fetched again, compared
and restored. What it does not know it refuses with 501.

For the harness, `POST /-/rename` gives a folder another name, and `POST /-/take` tells and resets what was counted.
"""

import base64
import contextlib
import hashlib
import itertools
import json
import re
import sys
import threading
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

BLOCK = 1024**2
CHECKSUM = "x-amz-checksum-sha256"
RANGE = re.compile(r"bytes=([0-9]+)-([0-9]+)")


@dataclass(frozen=True)
class Part:
    """One request's body, in a file of its own. `checksum`: the SHA-256 in base64 that came with it, or nothing."""

    path: Path
    size: int
    checksum: str


@dataclass(frozen=True)
class Object:
    """One version of an object: its parts one after another."""

    version_id: str
    parts: list[Part]
    in_parts: bool = False
    last_modified: str = field(default_factory=lambda: formatdate(usegmt=True))

    @property
    def size(self) -> int:
        return sum(part.size for part in self.parts)

    @property
    def checksum(self) -> str:
        """Return what S3 says: of an upload in parts the SHA-256 of theirs, a dash, and their number."""
        if not self.in_parts:
            return self.parts[0].checksum
        if not all(part.checksum for part in self.parts):
            return ""
        digests = b"".join(base64.b64decode(part.checksum) for part in self.parts)
        return f"{base64.b64encode(hashlib.sha256(digests).digest()).decode()}-{len(self.parts)}"


class Store:
    """All buckets: their objects' versions in memory, the newest last, and their bytes under `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.numbers = itertools.count(1)
        self.buckets: dict[str, dict[str, list[Object]]] = {}
        self.uploads: dict[str, dict[int, Part]] = {}
        self.free: defaultdict[int, list[Path]] = defaultdict(list)
        self.lock = threading.Lock()
        self.counted: Counter[str] = Counter()

    def count(self, what: str) -> None:
        with self.lock:
            self.counted[what] += 1

    def take(self) -> dict[str, int]:
        """Return what was counted since the last look: requests by method, and objects written."""
        with self.lock:
            taken, self.counted = dict(self.counted), Counter()
        return taken

    def next(self) -> str:
        return f"{next(self.numbers):012}"

    def find(self, bucket: str, key: str, version_id: str | None) -> Object | None:
        """Return the given version, or the newest."""
        versions = self.buckets.get(bucket, {}).get(key, [])
        return next((version for version in reversed(versions) if version_id in (None, version.version_id)), None)

    def put(self, bucket: str, key: str, parts: list[Part], in_parts: bool) -> Object:
        made = Object(self.next(), parts, in_parts)
        self.buckets[bucket].setdefault(key, []).append(made)
        self.count("objects")
        return made

    def rename(self, bucket: str, source: str, target: str) -> None:
        """Give all keys that begin with `source` another beginning."""
        objects = self.buckets[bucket]
        for key in [key for key in objects if key.startswith(source)]:
            objects[target + key.removeprefix(source)] = objects.pop(key)

    def new_file(self, size: int) -> Path:
        """Return a file for so many bytes: one of a removed bucket, as new pages cost a virtual machine the most."""
        with contextlib.suppress(IndexError):
            return self.free[size].pop()
        path = self.folder / self.next()
        path.touch()
        return path

    def remove(self, bucket: str) -> None:
        """Forget a bucket, and keep its large files for others of their size."""
        objects = [version for versions in self.buckets.pop(bucket).values() for version in versions]
        for part in {part.path: part for version in objects for part in version.parts}.values():
            if part.size < BLOCK:
                part.path.unlink()
            else:
                self.free[part.size].append(part.path)


class Handler(BaseHTTPRequestHandler):
    """One connection. https://docs.aws.amazon.com/AmazonS3/latest/API/API_Operations_Amazon_Simple_Storage_Service.html"""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    store: ClassVar[Store]

    def parse_request(self) -> bool:
        """Take the request's line apart, too."""
        if not super().parse_request():
            return False
        url = urlsplit(self.path)
        bucket, _, key = url.path.lstrip("/").partition("/")
        self.bucket, self.key = bucket, unquote(key)
        self.size = int(self.headers.get("Content-Length", 0))
        self.query = {name: values[0] for name, values in parse_qs(url.query, keep_blank_values=True).items()}
        if bucket != "-":
            self.store.count(self.command)
        return True

    @property
    def is_taken(self) -> bool:
        """Whether the request must not write over another object, and there is one."""
        return self.headers.get("If-None-Match") == "*" and self.store.find(self.bucket, self.key, None) is not None

    def do_PUT(self) -> None:
        if not self.key:  # CreateBucket, PutBucketVersioning
            self.order()
            self.store.buckets.setdefault(self.bucket, {})
            self.answer(200)
        elif "x-amz-copy-source" in self.headers:
            self.refuse(501, "NotImplemented")
        elif upload := self.query.get("uploadId"):
            part = self.body()
            self.store.uploads[upload][int(self.query["partNumber"])] = part
            self.answer(200, {"ETag": f'"{part.path.name}"'})
        elif self.is_taken:
            self.body().path.unlink()
            self.refuse(412, "PreconditionFailed")
        else:
            made = self.store.put(self.bucket, self.key, [self.body()], in_parts=False)
            self.answer(200, self.described(made))

    def do_POST(self) -> None:
        if self.bucket == "-":
            self.serve_the_harness()
        elif "uploads" in self.query:
            upload = self.store.next()
            self.store.uploads[upload] = {}
            self.answer(200, xml=f"<InitiateMultipartUploadResult><UploadId>{upload}</UploadId>")
        elif "uploadId" in self.query:
            self.order()  # names all parts in their order, as the product and boto3 number them
            self.complete(self.query["uploadId"])
        else:
            self.refuse(501, "NotImplemented")

    def serve_the_harness(self) -> None:
        order = self.order()
        if self.key == "take":
            return self.answer(200, body=json.dumps(self.store.take()).encode())
        self.store.rename(**json.loads(order))
        return self.answer(200)

    def complete(self, upload: str) -> None:
        """CompleteMultipartUpload."""
        if self.is_taken:
            return self.refuse(412, "PreconditionFailed")
        parts = self.store.uploads.pop(upload)
        made = self.store.put(self.bucket, self.key, [parts[number] for number in sorted(parts)], in_parts=True)
        checksum = f"<ChecksumSHA256>{made.checksum}</ChecksumSHA256>" if made.checksum else ""
        return self.answer(200, self.described(made), f"<CompleteMultipartUploadResult>{checksum}")

    def do_DELETE(self) -> None:
        if upload := self.query.get("uploadId"):
            self.store.uploads.pop(upload)
        elif not self.key:
            self.store.remove(self.bucket)
        else:
            return self.refuse(501, "NotImplemented")
        return self.answer(204)

    def do_HEAD(self) -> None:
        if not self.key:
            return self.answer(200) if self.bucket in self.store.buckets else self.refuse(404, "NoSuchBucket")
        found = self.store.find(self.bucket, self.key, self.query.get("versionId"))
        if not found:
            return self.refuse(404, "NoSuchKey")
        return self.answer(200, self.described(found), size=found.size)

    def do_GET(self) -> None:
        if not self.key:
            return self.list()
        found = self.store.find(self.bucket, self.key, self.query.get("versionId"))
        if not found:
            return self.refuse(404, "NoSuchKey")
        return self.give(found)

    def give(self, found: Object) -> None:
        """Send an object, or the range of it that is asked for."""
        start, end, status, headers = 0, found.size, 200, self.described(found)
        if asked := RANGE.fullmatch(self.headers.get("Range", "")):
            start, end, status = int(asked[1]), min(int(asked[2]) + 1, found.size), 206
            headers = {name: value for name, value in headers.items() if name != CHECKSUM}
            headers["Content-Range"] = f"bytes {start}-{end - 1}/{found.size}"
        self.answer(status, headers, size=end - start)
        for part in found.parts:
            first, last = max(start, 0), min(end, part.size)
            if first < last:
                with part.path.open("rb") as file:
                    self.connection.sendfile(file, first, last - first)
            start, end = start - part.size, end - part.size

    def list(self) -> None:
        """ListObjectsV2: the folders right under a prefix where there is a delimiter, else all keys."""
        prefix, delimiter = self.query["prefix"], self.query.get("delimiter")
        keys = sorted(key for key in self.store.buckets[self.bucket] if key.startswith(prefix))
        if delimiter:
            rests = [key.removeprefix(prefix) for key in keys]
            folders = sorted({rest.partition(delimiter)[0] for rest in rests if delimiter in rest})
            names = [f"<Prefix>{escape(prefix + folder + delimiter)}</Prefix>" for folder in folders]
            found = "".join(f"<CommonPrefixes>{name}</CommonPrefixes>" for name in names)
        else:
            found = "".join(f"<Contents><Key>{escape(key)}</Key></Contents>" for key in keys)
        self.answer(200, xml=f"<ListBucketResult><IsTruncated>false</IsTruncated>{found}")

    def order(self) -> bytes:
        """Return a body that says what to do."""
        return self.rfile.read(self.size)

    def body(self) -> Part:
        """Write a body that is to be kept to a new file."""
        size = self.size
        path = self.store.new_file(size)
        buffer, left = memoryview(bytearray(min(BLOCK, size))), size
        with path.open("r+b", buffering=0) as file:
            while left:
                if not (read := self.rfile.readinto(buffer[:left])):
                    raise ConnectionError("the request ended early")
                file.write(buffer[:read])
                left -= read
        return Part(path, size, self.headers.get(CHECKSUM, ""))

    def described(self, version: Object) -> dict[str, str]:
        """Return the headers that every answer about an object has."""
        checksum = {CHECKSUM: version.checksum} if version.checksum else {}
        headers = {"ETag": f'"{version.version_id}"', "x-amz-version-id": version.version_id}
        return headers | {"Last-Modified": version.last_modified} | checksum

    def answer(
        self, status: int, headers: dict[str, str] | None = None, xml: str = "", size: int = 0, body: bytes = b""
    ) -> None:
        """Send an answer; `xml` is not closed yet. With `size` so many bytes follow."""
        if xml:
            name = xml[1:].partition(">")[0]
            body = f'<?xml version="1.0" encoding="UTF-8"?>{xml}</{name}>'.encode()
        self.send_response_only(status)
        for key, value in (headers or {}).items():
            self.send_header(key, value)
        if status != 204:
            self.send_header("Content-Length", str(size or len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def refuse(self, status: int, code: str) -> None:
        self.answer(status, xml=f"<Error><Code>{code}</Code><Message>{escape(self.path)}</Message>")


class Server(ThreadingHTTPServer):
    """As many connections as want to."""

    request_queue_size = 128
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a client that went away."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


def main() -> None:
    """Listen on a free port and say which."""
    Handler.store = Store(Path(sys.argv[1]))
    with Server(("127.0.0.1", 0), Handler) as server, contextlib.suppress(KeyboardInterrupt):
        print(server.server_address[1], flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main()
