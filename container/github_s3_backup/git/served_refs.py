"""What a git server says of its refs before anything is fetched: protocol version 0 over HTTP.

https://git-scm.com/docs/gitprotocol-http and https://git-scm.com/docs/gitprotocol-pack
"""

import re
from collections.abc import Iterator

from github_s3_backup.git.process import Refs

CONTENT_TYPE = "application/x-git-upload-pack-advertisement"
SERVICE = b"# service=git-upload-pack\n"
REF = re.compile(rb"([0-9a-f]{40}|[0-9a-f]{64}) (HEAD|refs/[^\x00\n]+)\n?")
# What stands in place of a ref where there is none, with an object id that can't be.
NO_REFS = re.compile(rb"0{40,64} capabilities\^\{\}\n?")


class ServedRefsError(Exception):
    """The answer is not that of a git server."""


def parse_served_refs(content_type: str, body: bytes) -> Refs:
    """Return the refs in the answer to `GET info/refs`, HEAD where it resolves, peeled tags left out.

    Empty where the server says, as a git server does, that it has none. Raises ServedRefsError: any web page
    is an answer without refs.
    """
    if content_type != CONTENT_TYPE:
        raise ServedRefsError(f"it answered with {content_type}, which is no git server's answer")
    lines = list(_lines(body))
    if lines[:2] != [SERVICE, None] or lines[-1] is not None or None in lines[2:-1]:
        raise ServedRefsError("its answer does not begin and end like a git server's")
    served = [line for line in lines[2:-1] if line is not None]
    if not served:
        return {}
    first, has_capabilities, _ = served[0].partition(b"\x00")
    if not has_capabilities:
        raise ServedRefsError("its answer names no capabilities")
    if len(served) == 1 and NO_REFS.fullmatch(first):
        return {}
    return dict(_ref(line) for line in (first, *served[1:]) if not line.rstrip(b"\n").endswith(b"^{}"))


def _ref(line: bytes) -> tuple[bytes, bytes]:
    found = REF.fullmatch(line)
    if not found:
        raise ServedRefsError(f"its answer has a line that is no ref: {line[:100]!r}")
    return found[2], found[1]


def _lines(body: bytes) -> Iterator[bytes | None]:
    """Yield the content of each pkt-line, None for a flush. Raises ServedRefsError."""
    at = 0
    while at < len(body):
        length = body[at : at + 4]
        size = int(length, 16) if re.fullmatch(rb"[0-9a-f]{4}", length) else -1
        if size == 0:
            yield None
            at += 4
        elif size <= 4 or at + size > len(body):
            raise ServedRefsError("its answer is cut short or no git server's")
        else:
            yield body[at + 4 : at + size]
            at += size
