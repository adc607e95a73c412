"""An answer of a git server is believed only if it is a pack, whole, in time, and within its limits."""

import io
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from embedded.git_server import GitServer, Respond, with_body
from github_s3_backup.git.pkt_line import pkt_line
from github_s3_backup.git.wire import ChangesNotPossibleError, fetch_request, read_pack
from github_s3_backup.github.transport.http import Link, new_session
from github_s3_backup.github.transport.packs import Limits, PackRequest, fetch_pack
from github_s3_backup.github.transport.rest import GitHubError
from github_s3_backup.runtime.stop import Stop, Stopped

OID = b"1" * 40
LIMITS = Limits(100, 60)
WHOLE = b"".join(map(pkt_line, (b"packfile\n", b"\x02counting\n", b"\x01PACK", b"\x01", b"\x01more"))) + b"0000"


def test_the_pack_is_what_is_on_its_band() -> None:
    assert b"".join(read_pack(io.BytesIO(WHOLE).read)) == b"PACKmore"


def test_the_request_has_all_haves_and_is_done() -> None:
    request = fetch_request([OID], [b"2" * 40, b"3" * 40], "sha1")
    assert request.startswith(b"0012command=fetch\n")
    assert request.endswith(b"0032have " + b"3" * 40 + b"\n0009done\n0000")
    assert b"thin-pack" not in request


def test_an_answer_that_ends_early_is_refused_wherever_it_does() -> None:
    for end in range(len(WHOLE)):
        with pytest.raises(ChangesNotPossibleError):
            list(read_pack(io.BytesIO(WHOLE[:end]).read))


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (pkt_line(b"ERR upload-pack: not our ref 123"), "the server refused: upload-pack: not our ref 123"),
        (pkt_line(b"shallow-info\n"), "'shallow-info' instead of a pack"),
        (pkt_line(b"packfile-uris\n"), "'packfile-uris' instead of a pack"),
        (pkt_line(b"acknowledgments\n"), "'acknowledgments' instead of a pack"),
        (WHOLE[:-4] + pkt_line(b"\x03out of memory"), "the server stopped: out of memory"),
        (WHOLE[:-4] + pkt_line(b"\x04what"), "not part of a pack"),
        (WHOLE[:-4] + b"0001", "not a git server's"),
        (WHOLE + b"0000", "goes on after the pack"),
        (b"0000", "is empty"),
        (b"", "is empty"),
        (b"<html>", "not a git server's"),
        (b"0004" + WHOLE, "not a git server's"),
        (b"fff5" + b"x" * 0xFFF1, "not a git server's"),
    ],
)
def test_another_answer_is_no_pack(answer: bytes, reason: str) -> None:
    with pytest.raises(ChangesNotPossibleError, match=reason):
        list(read_pack(io.BytesIO(answer).read))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GitServer]:
    with GitServer(tmp_path_factory.mktemp("served")) as server:
        yield server


def fetch(server: GitServer, respond: Respond, limits: Limits = LIMITS, stop: Stop | None = None) -> bytes:
    server.respond = respond
    request = PackRequest(Link(f"{server.url}/x.git/git-upload-pack", {"Authorization": "Basic x"}), b"request")
    return b"".join(fetch_pack(new_session(None, 1), request, limits, stop or Stop()))


def test_what_arrives_over_http_is_held_to_its_limits(server: GitServer) -> None:
    assert fetch(server, with_body(WHOLE)) == b"PACKmore"
    with pytest.raises(ChangesNotPossibleError, match="more than 20 bytes"):
        fetch(server, with_body(WHOLE), Limits(20, 60))
    with pytest.raises(ChangesNotPossibleError, match="the connection broke"):
        fetch(server, with_body(WHOLE, Content_Length=str(len(WHOLE) + 1)))
    with pytest.raises(ChangesNotPossibleError, match="took longer than 0 s"):
        fetch(server, dripping(WHOLE), Limits(100, 0.01))
    with pytest.raises(ChangesNotPossibleError, match="less than 1000 bytes per second"):
        fetch(server, dripping(WHOLE), Limits(100, 60, slow_seconds=0.02))
    stop = Stop()
    stop._begin("deadline")
    with pytest.raises(Stopped):
        fetch(server, with_body(WHOLE), stop=stop)


def dripping(body: bytes) -> Respond:
    """Return what sends a byte now and then."""

    def respond(handler: BaseHTTPRequestHandler) -> None:
        with_body(body[:1], Content_Length=str(len(body)))(handler)
        for number in range(1, len(body)):
            time.sleep(0.005)
            handler.wfile.write(body[number : number + 1])

    return respond


@pytest.mark.parametrize(
    ("respond", "status"),
    [
        (with_body(b"", 301, Location="http://127.0.0.1:1/"), 301),
        (with_body(b"", 401), 401),
        (with_body(b"", 500), 500),
        (with_body(WHOLE, Content_Type="text/html"), 200),
    ],
)
def test_a_refusal_and_a_redirect_are_errors_with_their_status(
    server: GitServer, respond: Respond, status: int
) -> None:
    with pytest.raises(GitHubError, match=str(status)) as caught:
        fetch(server, respond)
    assert caught.value.status == status
    assert caught.value.unauthorized == (status == 401)


def test_a_server_that_does_not_answer_is_an_error(tmp_path: Path) -> None:
    with GitServer(tmp_path) as gone:
        pass
    with pytest.raises(GitHubError, match="can't be reached"):
        fetch(gone, with_body(b""))
