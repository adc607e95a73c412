"""git's protocol version 2, as far as a bundle of changes needs it: one request for what is new, and its answer.

https://git-scm.com/docs/protocol-v2
"""

import gzip
from collections.abc import Callable, Iterable, Iterator

from github_s3_backup.git.pkt_line import DELIMITER, FLUSH, PktLineError, pkt_line, read_pkt_lines
from github_s3_backup.runtime.redaction import printable

PACKFILE = b"packfile"
# The bands that the answer's lines are on: the pack's bytes, what the server says of its progress, and a fatal error.
PACK_DATA, PROGRESS, FATAL = b"\x01", b"\x02", b"\x03"
# Longer error texts are cut. Bytes.
MAX_WORDS = 300


class ChangesNotPossibleError(Exception):
    """What changed can't be had, or not be proven. The text says why. A full clone is the way out."""


def fetch_request(wants: Iterable[bytes], haves: Iterable[bytes], object_format: str) -> bytes:
    """Return the request for all objects that `wants` (object ids in hex) reach and `haves` do not.

    All haves and `done` are sent at once, so that the answer is the pack. It is not thin: it has no delta against an
    object that is outside, so that git can hash all of it.
    """
    head = (b"command=fetch", b"agent=git/github-s3-backup", b"object-format=" + object_format.encode())
    arguments = [b"ofs-delta", b"no-progress"]
    arguments += [b"want " + oid for oid in wants] + [b"have " + oid for oid in haves] + [b"done"]
    lines = (b"".join(pkt_line(line + b"\n") for line in part) for part in (head, arguments))
    return DELIMITER.join(lines) + FLUSH


def compress(request: bytes) -> bytes:
    """Return the request as it is sent: object ids take half of it."""
    return gzip.compress(request, 1, mtime=0)


def read_pack(read: Callable[[int], bytes]) -> Iterator[bytes]:
    """Yield the bytes of the pack in the answer to a fetch request. `read` is that of `read_pkt_lines`.

    Raises ChangesNotPossibleError where the answer is another one, ends early, or does not end with the pack; and what
    `read` raises.
    """
    lines = read_pkt_lines(read)
    try:
        _check_begins_with_pack(next(lines, None))
        for line in lines:
            if line is None:
                break
            yield from _pack_data(line)
        else:
            raise ChangesNotPossibleError("the answer ends before the pack does")
        if read(1):
            raise ChangesNotPossibleError("the answer goes on after the pack")
    except PktLineError as error:
        raise ChangesNotPossibleError(str(error)) from None


def _check_begins_with_pack(first: bytes | None) -> None:
    """Raise ChangesNotPossibleError unless the first line announces the pack.

    Other sections mean what can't be used: the server is shallow (shallow-info), or keeps packs elsewhere
    (packfile-uris).
    """
    if first is None:
        raise ChangesNotPossibleError("the answer is empty")
    if first.startswith(b"ERR "):
        raise ChangesNotPossibleError(f"the server refused: {_words(first[4:])}")
    if first.rstrip(b"\n") != PACKFILE:
        raise ChangesNotPossibleError(f"the server sent {_words(first)!r} instead of a pack")


def _pack_data(line: bytes) -> Iterator[bytes]:
    band, data = line[:1], line[1:]
    if band == PACK_DATA:
        yield data
    elif band == FATAL:
        raise ChangesNotPossibleError(f"the server stopped: {_words(data)}")
    elif band != PROGRESS:
        raise ChangesNotPossibleError(f"the answer has a line that is not part of a pack: {_words(line)!r}")


def _words(line: bytes) -> str:
    return printable(line[:MAX_WORDS].decode(errors="replace").strip())
