"""Reads what a git server advertises before anything is fetched: its refs, in protocol version 0 over HTTP.

https://git-scm.com/docs/gitprotocol-http and https://git-scm.com/docs/gitprotocol-pack
"""

import io
import re
from dataclasses import dataclass

from github_s3_backup.git.pkt_line import PktLineError, read_pkt_lines
from github_s3_backup.git.refs import Refs, branch_name

CONTENT_TYPE = "application/x-git-upload-pack-advertisement"
SERVICE = b"# service=git-upload-pack\n"
REF = re.compile(rb"([0-9a-f]{40}|[0-9a-f]{64}) (HEAD|refs/[^\x00\n]+)\n?")
# Stands in for the first ref if there are no refs, with an impossible object id.
NO_REFS = re.compile(rb"0{40,64} capabilities\^\{\}\n?")
# A capability that says which branch HEAD is.
HEAD_IS = re.compile(rb"(?:^| )symref=HEAD:([^ \n]+)")


class ServedRefsError(Exception):
    """The answer is not that of a git server."""


@dataclass(frozen=True)
class ServedRefs:
    """What a git server serves. `head`: the branch that HEAD points at, None where the server does not say."""

    refs: Refs
    head: str | None = None


def parse_served_refs(content_type: str, body: bytes) -> ServedRefs:
    """Return the refs in the answer to `GET info/refs`, HEAD where it resolves, peeled tags left out.

    No refs only where a git server says that it has none: any web page is an answer without refs.
    Raises ServedRefsError.
    """
    if content_type != CONTENT_TYPE:
        raise ServedRefsError(f"the response has the type {content_type}, so it is not from a git server")
    try:
        lines = list(read_pkt_lines(io.BytesIO(body).read))
    except PktLineError as error:
        raise ServedRefsError(str(error)) from None
    if lines[:2] != [SERVICE, None] or lines[-1] is not None or None in lines[2:-1]:
        raise ServedRefsError("the response does not begin and end like a git server's")
    served = [line for line in lines[2:-1] if line is not None]
    if not served:
        return ServedRefs({})
    first, has_capabilities, capabilities = served[0].partition(b"\x00")
    if not has_capabilities:
        raise ServedRefsError("the response lists no capabilities")
    if len(served) == 1 and NO_REFS.fullmatch(first):
        return ServedRefs({})
    refs = dict(_parse_ref(line) for line in (first, *served[1:]) if not line.rstrip(b"\n").endswith(b"^{}"))
    head = HEAD_IS.search(capabilities)
    return ServedRefs(refs, branch_name(head[1]) if head else None)


def _parse_ref(line: bytes) -> tuple[bytes, bytes]:
    match = REF.fullmatch(line)
    if not match:
        raise ServedRefsError(f"the response has a line that is not a ref: {line[:100]!r}")
    return match[2], match[1]
