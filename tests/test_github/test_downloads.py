"""Downloads from links: what breaks off goes on, nothing hangs, and no token leaves for another host."""

import json
import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from embedded.github import FakeGitHub, Fault
from embedded.github_lfs import LfsStore
from embedded.github_releases import FakeFile, FakeRelease
from github_s3_backup.github.transport.http import Link, new_session
from github_s3_backup.github.transport.links import Downloader, LinkError
from github_s3_backup.github.transport.rest import GitHubError
from github_s3_backup.repository import Repository
from github_s3_backup.runtime.patience import USUAL, Patience
from github_s3_backup.runtime.stop import Stop, Stopped
from support.clients import FastStop, Log, github_client

FILE = r"GET /lfs/"
BODY = os.urandom(1_500_000)
AT_ONCE = {"Retry-After": "0"}
# Characters of one byte each, for answers that a fault gives.
TEXT = "0123456789" * 100


class Files:
    """Links to one file on the second port: `links` are those that were asked for."""

    def __init__(self, github: FakeGitHub, folder: Path, content: bytes = BODY) -> None:
        self.github, self.log = github, Log()
        self.path = folder / "file"
        self.path.write_bytes(content)
        self.links: list[Link] = []

    def new_link(self) -> Link:
        self.links.append(Link(self.github.files.give("/lfs/1/file", self.path)[0], {}))
        return self.links[-1]

    def download(self, size: int | None = None, stop: Stop | None = None, patience: Patience = USUAL) -> bytes:
        return b"".join(self.blocks(size, stop, patience))

    def blocks(self, size: int | None = None, stop: Stop | None = None, patience: Patience = USUAL) -> Iterator[bytes]:
        downloader = Downloader(new_session(None, 2), stop or FastStop(), self.log.logger, patience)
        return downloader.blocks(self.path.stat().st_size if size is None else size, self.new_link)

    def ranges(self) -> list[str | None]:
        return [request.headers.get("Range") for request in self.github.requests(FILE)]


@pytest.fixture
def files(github: FakeGitHub, tmp_path: Path) -> Iterator[Files]:
    files = Files(github, tmp_path)
    yield files
    for link in files.links:
        assert link.url.partition("?")[2] not in repr(files.log), "a signed link is in the log"
        assert "Amz" not in repr(link)


def test_a_file_comes_whole(files: Files) -> None:
    assert files.download() == BODY
    assert len(files.links) == 1


@pytest.mark.parametrize("status", [429, 500, 502, 503])
def test_a_server_in_trouble_is_asked_again_when_it_says(files: Files, status: int) -> None:
    files.github.faults = [Fault(FILE, status=status, headers=AT_ONCE, times=5)]
    assert files.download() == BODY
    assert len(files.links) == 6
    assert [line["wait_source"] for line in files.log.named("retrying")] == ["Retry-After"] * 5


def test_an_expired_link_is_replaced(files: Files) -> None:
    old = files.new_link()
    files.github.expire_links()
    fresh = files.new_link
    files.new_link = lambda: old if len(files.github.requests(FILE)) == 0 else fresh()  # type: ignore[method-assign]
    assert files.download() == BODY
    assert [request.status for request in files.github.requests(FILE)] == [403, 200]


def test_a_link_that_expires_on_the_way_is_replaced_and_the_file_goes_on(files: Files) -> None:
    files.github.faults = [
        Fault(FILE, status=0, cut_after=700_000),
        Fault(FILE, status=403, headers=AT_ONCE),
    ]
    assert files.download() == BODY
    assert files.ranges() == [None, "bytes=700000-", "bytes=700000-"]


def test_a_connection_that_is_cut_goes_on_where_it_was_cut(files: Files) -> None:
    files.github.faults = [Fault(FILE, status=0, cut_after=400_001, times=3)]
    assert files.download() == BODY
    assert files.ranges() == [None, "bytes=400001-", "bytes=800002-", "bytes=1200003-"]


def test_a_server_that_ignores_the_range_sends_all_of_it_again(github: FakeGitHub, tmp_path: Path) -> None:
    files = Files(github, tmp_path, TEXT.encode())
    github.faults = [Fault(FILE, status=0, cut_after=333), Fault(FILE, status=200, raw=TEXT)]
    assert files.download() == TEXT.encode()
    assert files.ranges() == [None, "bytes=333-"]


@pytest.mark.parametrize(
    "said", [{"Content-Range": "bytes 300-999/1000"}, {"Content-Range": "bytes */1000"}, {}, {"Content-Range": "x"}]
)
def test_a_server_that_sends_another_range_is_asked_again(
    github: FakeGitHub, tmp_path: Path, said: dict[str, str]
) -> None:
    files = Files(github, tmp_path, TEXT.encode())
    github.faults = [Fault(FILE, status=0, cut_after=333), Fault(FILE, status=206, raw=TEXT[300:], headers=said)]
    assert files.download() == TEXT.encode()
    assert files.ranges() == [None, "bytes=333-", "bytes=333-"]


def test_a_link_that_never_works_is_given_up(files: Files) -> None:
    files.github.faults = [Fault(FILE, status=503, headers=AT_ONCE, times=99)]
    with pytest.raises(LinkError, match=r"^localhost:\d+ answered 503 Service Unavailable$") as caught:
        files.download()
    assert caught.value.status == 503
    assert len(files.links) == 6


@pytest.mark.parametrize("status", [400, 402, 451])
def test_a_refusal_for_good_is_not_asked_again(files: Files, status: int) -> None:
    files.github.faults = [Fault(FILE, status=status, times=99)]
    with pytest.raises(LinkError, match=f"answered {status}"):
        files.download()
    assert len(files.links) == 1


def test_a_server_that_is_down_is_asked_again(files: Files) -> None:
    true_link, nowhere = files.new_link, Link("http://127.0.0.1:1/lfs/1/file?X-Amz-Signature=secret", {})
    tries = iter([nowhere])
    files.new_link = lambda: next(tries, None) or true_link()  # type: ignore[method-assign]
    assert files.download() == BODY
    (line,) = files.log.named("retrying")
    assert "127.0.0.1:1 can't be reached" in line["error"]
    assert "secret" not in line["error"]


@pytest.mark.parametrize("where", ["http://[bad?X-Amz-Signature=secret", "ftp://host/?X-Amz-Signature=secret"])
def test_a_redirect_to_no_address_is_an_error_that_does_not_show_it(files: Files, where: str) -> None:
    files.github.faults = [Fault(FILE, status=302, headers={"Location": where}), Fault(FILE, status=400)]
    with pytest.raises(LinkError, match="answered 400"):
        files.download()
    (line,) = files.log.named("retrying")
    assert "secret" not in json.dumps(line)


def test_a_server_that_redirects_for_ever_is_given_up(files: Files) -> None:
    files.github.faults = [Fault(FILE, status=302, headers={"Location": "/lfs/1/file"}, times=99)]
    with pytest.raises(LinkError, match="answered 302"):
        files.download()
    assert len(files.github.requests(FILE)) == 5


# -- slow servers ----------------------------------------------------------------------------------


def test_a_file_that_drips_is_given_up_at_its_deadline(files: Files) -> None:
    """A byte comes often enough for every timeout, and the file would take an hour."""
    files.github.faults = [Fault(FILE, status=0, drip=0.01, times=99)]
    with pytest.raises(LinkError, match=r"was too slow: .* of 360000 bytes arrived until the deadline"):
        files.download(360_000, patience=Patience(0.5, (60,)))
    assert len(files.links) == 1


def test_a_stopped_run_does_not_wait_for_a_file_that_drips(files: Files) -> None:
    stop = Stop()
    files.github.faults = [Fault(FILE, status=0, drip=0.01, times=99)]
    blocks = files.blocks(stop=stop)
    next(blocks)
    stop.expire_after(0)
    reader = ThreadPoolExecutor(1)
    assert isinstance(reader.submit(list, blocks).exception(30), Stopped)


def test_a_wait_that_a_rate_limit_asks_for_is_not_the_files_time(files: Files) -> None:
    """Its reset is 40 minutes away, longer than the file may take."""
    stop = FastStop()
    limited = {"x-ratelimit-remaining": "0", "x-ratelimit-reset": str(int(time.time()) + 2400)}
    files.github.faults = [
        Fault(FILE, status=0, cut_after=400_001),
        Fault(FILE, status=403, headers=limited),
        Fault(FILE, status=0, cut_after=400_001),
    ]
    assert files.download(stop=stop, patience=Patience(30.0, (60,))) == BODY
    assert sum(stop.waits) >= 2399


def test_a_secondary_rate_limit_without_a_header_is_known_by_its_words(github: FakeGitHub, tmp_path: Path) -> None:
    stop, log = FastStop(), Log()
    content = tmp_path / "tool.zip"
    content.write_bytes(b"a release's file")
    release = FakeRelease(github.new_id(), "v1", files=[FakeFile(github.new_id(), "tool.zip", content)])
    github.add("acme", "game", tmp_path, releases=[release])
    client = github_client(github, log, stop)
    (repository,) = client.repositories(client.installations.all()[0]).repositories
    found = client.releases(repository, None)
    assert found is not None
    (file,) = found.releases[0].files
    words = "You have exceeded a secondary rate limit. Please wait a few minutes before you try again."
    github.faults = [Fault("GET .*/releases/assets/", status=403, message=words, times=8)]
    began = stop.now()
    blocks = client.downloader.blocks(file.size_bytes, lambda: client.release_file_link(repository, file.id))
    assert b"".join(blocks) == b"a release's file"
    assert stop.now() - began > 8 * 60


# -- the token -------------------------------------------------------------------------------------


class Asked:
    """A client of the embedded GitHub, whose LFS server answers with links of the test's own."""

    def __init__(self, github: FakeGitHub, folder: Path) -> None:
        self.github, self.log, self.oid = github, Log(), "ab" * 32
        github.add("acme", "game", folder, lfs=LfsStore(folder / "lfs"))
        self.client = github_client(github, self.log)
        (installation,) = self.client.installations.all()
        self.repository: Repository = self.client.repositories(installation).repositories[0]

    def link(self, href: str, header: dict[str, str] | None = None, **about: Any) -> Link:
        action = {"href": href} | ({} if header is None else {"header": header})
        item = {"oid": self.oid, "size": len(TEXT), "actions": {"download": action}} | about
        body = json.dumps({"transfer": "basic", "objects": [item]})
        headers = {"Content-Type": "application/vnd.git-lfs+json"}
        self.github.faults.append(Fault("POST .*/objects/batch", status=200, raw=body, headers=headers))
        return self.client.lfs_links(self.repository, {self.oid: len(TEXT)})[self.oid].links["download"]

    def authorizations(self, link: Link, path: str) -> list[str | None]:
        """Download and return the Authorization headers of the requests to a path."""
        self.github.faults.append(Fault(f"GET {path}", status=200, raw=TEXT))
        downloader = self.client.downloader
        assert b"".join(downloader.blocks(len(TEXT), lambda: link)) == TEXT.encode()
        sent = [request.headers for request in self.github.requests(f"GET {path}")]
        return [{name.lower(): value for name, value in headers.items()}.get("authorization") for headers in sent]


@pytest.fixture
def asked(github: FakeGitHub, tmp_path: Path) -> Iterator[Asked]:
    asked = Asked(github, tmp_path)
    yield asked
    assert [secret for secret in github.secrets() if secret in repr(asked.log)] == []


def test_a_link_on_the_lfs_server_itself_gets_the_token(asked: Asked) -> None:
    (sent,) = asked.authorizations(asked.link(f"{asked.github.server_url}/objects/1"), "/objects/1")
    assert sent is not None
    assert sent.startswith("Basic ")


def test_it_does_not_where_the_link_is_authenticated_already(asked: Asked) -> None:
    link = asked.link(f"{asked.github.server_url}/objects/1", authenticated=True)
    assert asked.authorizations(link, "/objects/1") == [None]


@pytest.mark.parametrize("name", ["Authorization", "authorization"])
def test_the_links_own_authorization_is_the_one_that_is_sent(asked: Asked, name: str) -> None:
    link = asked.link(f"{asked.github.server_url}/objects/1", {name: "RemoteAuth abc", "X-Other": "y"})
    assert asked.authorizations(link, "/objects/1") == ["RemoteAuth abc"]
    assert asked.github.requests("/objects/1")[0].headers["X-Other"] == "y"


@pytest.mark.parametrize("authenticated", [True, False])
def test_a_link_on_another_host_gets_no_token(asked: Asked, authenticated: bool) -> None:
    link = asked.link(f"{asked.github.files.url}/objects/1", authenticated=authenticated)
    assert asked.authorizations(link, "/objects/1") == [None]


def test_a_host_that_only_looks_like_the_lfs_server_gets_no_token(asked: Asked) -> None:
    port = asked.github.server_url.rpartition(":")[2]
    for host in (f"127.0.0.1:{port}@localhost:1", f"127.0.0.1:{port}.example.com", f"u@127.0.0.1:{port}"):
        assert asked.link(f"http://{host}/objects/1").headers == {}


def test_a_redirect_to_another_host_takes_no_header_along(asked: Asked) -> None:
    there = f"{asked.github.files.url}/elsewhere/1"
    asked.github.faults = [Fault("GET /objects/1", status=302, headers={"Location": there})]
    link = asked.link(f"{asked.github.server_url}/objects/1", {"X-Other": "y"})
    assert "Authorization" in link.headers
    assert asked.authorizations(link, "/elsewhere/1") == [None]
    assert "X-Other" not in asked.github.requests("/elsewhere/1")[0].headers


def test_a_redirect_on_the_same_host_keeps_the_token(asked: Asked) -> None:
    asked.github.faults = [Fault("GET /objects/1", status=307, headers={"Location": "/objects/2"})]
    (sent,) = asked.authorizations(asked.link(f"{asked.github.server_url}/objects/1"), "/objects/2")
    assert sent is not None


@pytest.mark.parametrize("href", ["ftp://host/1", "file:///etc/passwd", "/objects/1", ""])
def test_a_link_of_another_kind_is_refused(asked: Asked, href: str) -> None:
    with pytest.raises(GitHubError, match="a link that is not encrypted"):
        asked.link(href)


@pytest.mark.parametrize(
    "about",
    [
        {"oid": "cd" * 32},
        {"actions": {"download": {}}},
        {"error": {"code": "x"}},
        {"error": {}, "actions": 1},
    ],
)
def test_an_answer_that_is_not_as_documented_is_an_error(asked: Asked, about: dict[str, Any]) -> None:
    with pytest.raises(GitHubError, match=r"lacks the object|is not what GitHub documents"):
        asked.link("http://localhost/1", **about)
