"""pkt-lines: the frames in which git's protocols send everything. https://git-scm.com/docs/protocol-common"""

import re
from collections.abc import Callable, Iterator

FLUSH, DELIMITER = b"0000", b"0001"
# The content of a line is never longer. Bytes.
MAX_CONTENT = 65516
LENGTH = re.compile(rb"[0-9a-f]{4}")


class PktLineError(Exception):
    """The bytes are cut short, or are no pkt-lines."""


def pkt_line(content: bytes) -> bytes:
    """Return the frame of one line."""
    return b"%04x%s" % (len(content) + 4, content)


def read_pkt_lines(read: Callable[[int], bytes]) -> Iterator[bytes | None]:
    """Yield the content of each line until the end, None for a flush. Raises PktLineError, and what `read` raises.

    `read` returns as many bytes as it is asked for, and fewer only at the end.
    """
    while length := read(4):
        if length == FLUSH:
            yield None
            continue
        size = int(length, 16) - 4 if LENGTH.fullmatch(length) else 0
        if not 0 < size <= MAX_CONTENT:
            raise PktLineError("the response is truncated, or not a git server's")
        content = read(size)
        if len(content) < size:
            raise PktLineError("the response is truncated")
        yield content
