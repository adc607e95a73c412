"""The embedded GitHub lists, gives out and takes releases and their files as GitHub does."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests

from embedded.github import FakeGitHub, FakeRepository, Fault
from embedded.github_releases import FakeFile, FakeRelease
from embedded.organisation import Stream
from embedded.real_git import git
from support import github_contract

READ = {"contents": "read", "metadata": "read"}
RELEASES = "/repos/acme/api/releases"
LISTING = "/repos/{owner}/{repo}/releases"
ASSET = "/repos/{owner}/{repo}/releases/assets/{asset_id}"
UPLOAD = "/repos/{owner}/{repo}/releases/{release_id}/assets"
CONTENT = bytes(range(256)) * 100
DIGEST = "sha256:" + hashlib.sha256(CONTENT).hexdigest()
BINARY = {"Accept": "application/octet-stream"}


@dataclass(frozen=True)
class Hub:
    """A GitHub with one writable repository, and two tokens for it."""

    github: FakeGitHub
    repository: FakeRepository
    reader: str
    writer: str

    def ask(self, method: str, path: str, token: str | None = None, **options: Any) -> requests.Response:
        """Ask the API, or a URL that it gave, with a token, the reader's unless another is given."""
        headers = {"Authorization": f"Bearer {token or self.reader}"} | options.pop("headers", {})
        url = path if path.startswith("http") else self.github.api_url + path
        return requests.request(method, url, headers=headers, timeout=10, **options)

    def create(self, tag: str, **about: Any) -> requests.Response:
        return self.ask("POST", RELEASES, self.writer, json={"tag_name": tag} | about)

    def upload(self, release: dict[str, Any], query: str, content: Any = CONTENT, **options: Any) -> requests.Response:
        url = release["upload_url"].partition("{")[0] + query
        headers = {"Content-Type": "application/zip"} | options.pop("headers", {})
        return self.ask("POST", url, options.pop("token", self.writer), data=content, headers=headers)

    def errors(self, answer: requests.Response) -> list[tuple[str, str, str]]:
        assert answer.status_code == 422, answer.text
        return [(item["resource"], item["field"], item["code"]) for item in answer.json()["errors"]]


@pytest.fixture
def hub(github: FakeGitHub, tmp_path: Path) -> Hub:
    path, stream = tmp_path / "api.git", Stream()
    git("init", "--quiet", "--bare", "--initial-branch=main", path)
    first = stream.history("refs/heads/main", 2)
    stream.commit("refs/heads/other", {"other.txt": b"other"}, first)
    stream.tag("v1", first)
    git(f"--git-dir={path}", "fast-import", "--quiet", stdin=bytes(stream.data))
    repository = github.add("acme", "api", path, writable=True)
    return Hub(github, repository, *(github.personal_token("octocat", ["acme"], what) for what in (READ, None)))


def release(number: int, **about: Any) -> FakeRelease:
    return FakeRelease(number, f"v{number}", **about)


# -- listing -----------------------------------------------------------------------------------------


def test_releases_are_listed_with_their_files(hub: Hub) -> None:
    new, old = FakeFile(11, "new.zip", CONTENT, label="New"), FakeFile(12, "old.zip", b"old", has_digest=False)
    hub.repository.releases = [release(1, name="One", body="Notes", prerelease=True, files=[new, old])]
    (seen,) = hub.ask("GET", RELEASES).json()
    assert (seen["id"], seen["tag_name"], seen["name"], seen["body"]) == (1, "v1", "One", "Notes")
    assert (seen["draft"], seen["prerelease"], seen["target_commitish"]) == (False, True, "main")
    files = [(item["id"], item["name"], item["label"], item["size"], item["digest"]) for item in seen["assets"]]
    assert files == [(11, "new.zip", "New", len(CONTENT), DIGEST), (12, "old.zip", None, 3, None)]


def test_pages_follow_one_another_by_the_repositorys_id(hub: Hub) -> None:
    hub.repository.releases = [release(number) for number in range(1, 6)]
    url, seen = f"{RELEASES}?per_page=2", []
    while url:
        answer = hub.ask("GET", url)
        seen.append([item["id"] for item in answer.json()])
        url = answer.links.get("next", {}).get("url", "")
        assert not url or f"/repositories/{hub.repository.id}/releases?per_page=2&page=" in url
    assert seen == [[1, 2], [3, 4], [5]]


def test_drafts_are_seen_only_by_who_may_write(hub: Hub) -> None:
    hub.repository.releases = [release(2, draft=True, files=[FakeFile(21, "a.zip", CONTENT)]), release(1)]
    drafts = hub.ask("GET", RELEASES, hub.writer).json()
    assert [(item["id"], item["published_at"] is None) for item in drafts] == [(2, True), (1, False)]
    assert [item["id"] for item in hub.ask("GET", RELEASES).json()] == [1]
    asset = f"{RELEASES}/assets/21"
    assert (hub.ask("GET", asset, hub.writer).status_code, hub.ask("GET", asset).status_code) == (200, 404)


def test_what_did_not_change_is_not_sent_again(hub: Hub) -> None:
    hub.repository.releases = [release(1)]
    first = hub.ask("GET", RELEASES)
    known = {"If-None-Match": first.headers["ETag"]}
    same = hub.ask("GET", RELEASES, headers=known)
    assert (same.status_code, same.content, same.headers["ETag"]) == (304, b"", first.headers["ETag"])
    hub.repository.releases.append(release(2))
    assert hub.ask("GET", RELEASES, headers=known).status_code == 200


def test_etags_may_depend_on_the_token(hub: Hub) -> None:
    other = hub.github.personal_token("somebody", ["acme"], READ)
    known = {"If-None-Match": hub.ask("GET", RELEASES).headers["ETag"]}
    assert hub.ask("GET", RELEASES, other, headers=known).status_code == 304
    hub.github.stable_etags = False
    known = {"If-None-Match": hub.ask("GET", RELEASES).headers["ETag"]}
    assert hub.ask("GET", RELEASES, headers=known).status_code == 304
    assert hub.ask("GET", RELEASES, other, headers=known).status_code == 200


def test_who_may_not_read_is_refused(hub: Hub) -> None:
    stranger = hub.github.personal_token("stranger", ["else"], READ)
    no_contents = hub.github.personal_token("meta", ["acme"], {"metadata": "read"})
    assert hub.ask("GET", RELEASES, "wrong").status_code == 401
    assert hub.ask("GET", RELEASES, stranger).status_code == 404
    assert hub.ask("GET", RELEASES, no_contents).status_code == 403
    hub.repository.private = False
    assert hub.ask("GET", RELEASES, stranger).status_code == 200
    hub.repository.blocked = 451
    assert hub.ask("GET", RELEASES).json()["block"]["reason"] == "dmca"
    hub.repository.gone = True
    assert hub.ask("GET", RELEASES).status_code == 404


def test_a_former_name_leads_to_the_new_one(hub: Hub) -> None:
    hub.repository.old_name, hub.repository.releases = "old", [release(1, files=[FakeFile(11, "a", b"a")])]
    moved = hub.ask("GET", "/repos/acme/old/releases", allow_redirects=False)
    by_id = f"{hub.github.api_url}/repositories/{hub.repository.id}/releases"
    assert (moved.status_code, moved.headers["Location"]) == (301, by_id)
    assert hub.ask("GET", "/repos/acme/old/releases").json()[0]["id"] == 1
    assert hub.ask("GET", "/repos/acme/old/releases/assets/11").json()["id"] == 11


# -- files -------------------------------------------------------------------------------------------


def test_a_file_comes_from_another_host_and_each_download_counts(hub: Hub, tmp_path: Path) -> None:
    on_disk = tmp_path / "disk.bin"
    on_disk.write_bytes(CONTENT)
    hub.repository.releases = [release(1, files=[FakeFile(11, "a.zip", on_disk, "application/zip")])]
    (file,) = hub.ask("GET", RELEASES).json()[0]["assets"]
    assert hub.ask("GET", file["url"]).json() == file
    link = hub.ask("GET", file["url"], headers=BINARY, allow_redirects=False)
    assert (link.status_code, link.content) == (302, b"")
    assert link.headers["Location"].startswith("http://localhost:")
    got = requests.get(link.headers["Location"], timeout=10)
    assert (got.content, got.headers["Content-Type"]) == (CONTENT, "application/zip")
    assert hub.ask("GET", link.headers["Location"]).status_code == 400
    # The client leaves the token behind as it follows to the other host.
    assert hub.ask("GET", file["url"], headers=BINARY).content == CONTENT
    assert "Authorization" not in hub.github.requests("GET /release-files/")[-1].headers
    assert hub.ask("GET", file["url"]).json()["download_count"] == 2
    hub.github.expire_links()
    assert requests.get(link.headers["Location"], timeout=10).status_code == 403


def test_a_download_can_be_cut_and_continued(hub: Hub) -> None:
    hub.repository.releases = [release(1, files=[FakeFile(11, "a.zip", CONTENT)])]
    url = f"{RELEASES}/assets/11"
    link = hub.ask("GET", url, headers=BINARY, allow_redirects=False).headers["Location"]
    hub.github.faults = [Fault("GET /release-files/", status=0, cut_after=100)]
    with pytest.raises(requests.exceptions.ChunkedEncodingError, match="100 bytes read"):
        requests.get(link, timeout=10)
    assert requests.get(link, headers={"Range": "bytes=100-"}, timeout=10).content == CONTENT[100:]


def test_a_file_that_never_arrived_is_listed_and_can_not_be_had(hub: Hub) -> None:
    starter = FakeFile(11, "a.zip", b"", state="starter", has_digest=False)
    hub.repository.releases = [release(1, files=[starter, FakeFile(12, "b.zip", b"b", listed_as={"size": 9})])]
    files = hub.ask("GET", RELEASES).json()[0]["assets"]
    assert [(item["state"], item["size"]) for item in files] == [("starter", 0), ("uploaded", 9)]
    assert hub.ask("GET", files[0]["url"], headers=BINARY).status_code == 404
    assert hub.ask("GET", f"{RELEASES}/assets/99").status_code == 404


# -- creating ----------------------------------------------------------------------------------------


def test_a_release_is_created_for_a_tag_that_is_there(hub: Hub) -> None:
    created = hub.create("v1", name="One", body="Notes", prerelease=True, make_latest="legacy")
    assert created.status_code == 201, created.text
    assert hub.ask("GET", RELEASES).json() == [created.json()]
    seen = created.json()
    assert (seen["tag_name"], seen["name"], seen["body"], seen["prerelease"]) == ("v1", "One", "Notes", True)
    assert hub.errors(hub.create("v1")) == [("Release", "tag_name", "already_exists")]


@pytest.mark.parametrize("target", ["main", "other", "commit", None])
def test_a_tag_that_is_missing_is_made(hub: Hub, target: str | None) -> None:
    commit = git(f"--git-dir={hub.repository.path}", "rev-parse", "other^").decode().strip()
    about = {"target_commitish": commit if target == "commit" else target} if target else {}
    assert hub.create("v2", **about).status_code == 201
    wanted = commit if target == "commit" else f"refs/heads/{target or 'main'}"
    pair = git(f"--git-dir={hub.repository.path}", "rev-parse", "refs/tags/v2", wanted).split()
    assert pair[0] == pair[1]


def test_a_draft_makes_no_tag(hub: Hub) -> None:
    draft = hub.create("v2", draft=True, target_commitish="nowhere")
    assert (draft.status_code, draft.json()["published_at"]) == (201, None)
    assert hub.create("v2", draft=True).status_code == 201
    assert b"v2" not in git(f"--git-dir={hub.repository.path}", "tag")
    assert hub.ask("GET", RELEASES).json() == []
    assert len(hub.ask("GET", RELEASES, hub.writer).json()) == 2


def test_a_release_that_can_not_be_created_is_refused(hub: Hub, tmp_path: Path) -> None:
    assert hub.errors(hub.create("v2", target_commitish="nowhere")) == [("Release", "target_commitish", "invalid")]
    assert hub.errors(hub.create("a tag")) == [("Release", "tag_name", "custom")]
    assert hub.create("v2", generate_release_notes=True).status_code == 501
    assert hub.ask("POST", RELEASES, json={"tag_name": "v2"}).status_code == 403
    hub.repository.archived = True
    assert hub.create("v2").status_code == 403
    hub.repository.archived, hub.repository.writable = False, False
    assert hub.create("v2").status_code == 501
    git("init", "--quiet", "--bare", tmp_path / "empty.git")
    hub.github.add("acme", "empty", tmp_path / "empty.git", writable=True)
    empty = hub.ask("POST", "/repos/acme/empty/releases", hub.writer, json={"tag_name": "v1", "draft": True})
    assert (hub.errors(empty), empty.json()["errors"][0]["message"]) == (
        [("Release", "base", "custom")],
        "Repository is empty.",
    )
    assert hub.repository.releases == []


# -- uploading ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("elsewhere", [False, True], ids=["below the API's URL", "another host"])
def test_an_uploaded_file_can_be_had_again(hub: Hub, elsewhere: bool) -> None:
    hub.github.uploads_elsewhere = elsewhere
    created = hub.create("v1").json()
    where = "http://localhost:" if elsewhere else f"{hub.github.server_url}/api/uploads/"
    assert created["upload_url"].startswith(where)
    uploaded = hub.upload(created, "?name=a.zip&label=The%20file")
    assert uploaded.status_code == 201, uploaded.text
    file = uploaded.json()
    assert (file["name"], file["label"], file["size"]) == ("a.zip", "The file", len(CONTENT))
    assert (file["digest"], file["state"], file["content_type"]) == (DIGEST, "uploaded", "application/zip")
    assert hub.ask("GET", RELEASES).json()[0]["assets"] == [file]
    assert hub.ask("GET", file["url"], headers=BINARY).content == CONTENT


def test_a_file_is_kept_under_a_plain_name(hub: Hub) -> None:
    created = hub.create("v1").json()
    assert hub.upload(created, "?name=My%20app%20(1).zip").json()["name"] == "My.app.1.zip"
    assert hub.upload(created, "?name=two..dots.zip").json()["name"] == "two..dots.zip"
    assert hub.errors(hub.upload(created, "?name=My.app.1.zip")) == [("ReleaseAsset", "name", "already_exists")]


def test_an_upload_that_is_not_as_documented_is_refused(hub: Hub) -> None:
    created = hub.create("v1").json()
    assert hub.errors(hub.upload(created, "?name=a.zip", b"")) == [("ReleaseAsset", "size", "custom")]
    assert hub.errors(hub.upload(created, "")) == [("ReleaseAsset", "name", "missing_field")]
    chunked = hub.upload(created, "?name=a.zip", iter([CONTENT]))
    assert (chunked.status_code, chunked.json()["message"]) == (400, "Bad Content-Length: ")
    assert hub.upload(created, "?name=a.zip", token=hub.reader).status_code == 403
    assert hub.upload(created, "?name=a.zip", token="wrong").status_code == 401
    assert hub.upload(created, "/x?name=a.zip").status_code == 404
    assert hub.ask("GET", RELEASES).json()[0]["assets"] == []


@pytest.mark.parametrize("elsewhere", [False, True], ids=["below the API's URL", "another host"])
def test_an_upload_that_fails_may_leave_something(hub: Hub, elsewhere: bool) -> None:
    hub.github.uploads_elsewhere = elsewhere
    created = hub.create("v1").json()
    hub.github.faults = [
        Fault("POST .*name=nothing", status=500),
        Fault("POST .*name=started", status=502),
        Fault("POST .*name=arrived", status=502, after_all=True),
    ]
    for name in ("nothing", "started", "arrived"):
        failed = hub.upload(created, f"?name={name}")
        assert (failed.status_code, failed.json()["message"]) == (500 if name == "nothing" else 502, "Server Error")
    files = {item["name"]: (item["state"], item["size"]) for item in hub.ask("GET", RELEASES).json()[0]["assets"]}
    assert files["arrived"] == ("uploaded", len(CONTENT))
    assert files.keys() - {"arrived"} == {"started"}
    assert files["started"] == ("starter", 0)
    assert hub.errors(hub.upload(created, "?name=started")) == [("ReleaseAsset", "name", "already_exists")]


# -- the contract ------------------------------------------------------------------------------------


def test_answers_and_requests_are_held_to_githubs_openapi_description(hub: Hub) -> None:
    """Every answer of every test is; here each endpoint is asked once, and a wrong answer is found."""
    seen: dict[tuple[str, str, int], Any] = {}
    judge = hub.github.on_answer

    def keep(method: str, template: str, status: int, body: Any) -> None:
        seen[(method, template, status)] = body
        judge(method, template, status, body)

    hub.github.on_answer = keep
    created = hub.create("v1").json()
    file = hub.upload(created, "?name=a.zip").json()
    hub.ask("GET", RELEASES, headers={"If-None-Match": hub.ask("GET", RELEASES).headers["ETag"]})
    hub.ask("GET", file["url"])
    hub.ask("GET", file["url"], headers=BINARY)
    assert seen.keys() == {
        ("POST", LISTING, 201),
        ("POST", UPLOAD, 201),
        ("GET", LISTING, 200),
        ("GET", LISTING, 304),
        ("GET", ASSET, 200),
        ("GET", ASSET, 302),
    }
    for (method, template, status), body in seen.items():
        assert github_contract.problems(method, template, status, body) == []
        wrong = {"surprise": 1} if body is None else [body] if isinstance(body, dict) else body[0]
        assert github_contract.problems(method, template, status, wrong) != []
    no_digest = {key: value for key, value in file.items() if key != "digest"}
    assert any("digest" in problem for problem in github_contract.problems("GET", ASSET, 200, no_digest))


def test_a_wrong_request_for_a_release_is_seen(hub: Hub) -> None:
    seen: list[str] = []
    hub.github.on_request = lambda *request: seen.extend(github_contract.request_problems(*request))
    assert hub.create("v1", draft=True).status_code == 201
    assert seen == []
    assert hub.ask("POST", RELEASES, hub.writer, json={"name": "One"}).status_code == 422
    assert [problem for problem in seen if "tag_name" in problem] != []
