"""`push` of what git alone does not hold: LFS objects first, then releases, then the wiki; nothing there is lost."""

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from embedded.github import FakeGitHub, FakeRepository, Fault
from embedded.github_releases import FakeFile, FakeRelease
from embedded.real_git import git, served_refs
from embedded.s3_proxy import S3Fault, S3Proxy
from github_s3_backup.github.release_writer import upload_url
from github_s3_backup.github.transport.rest import GitHubError
from github_s3_backup.records.release_list import ReleaseFile
from support import content
from support.vault_content import needs_git_lfs, run_git
from support.world import World
from test_restore.test_push import NEW_OWNER, restored, target
from test_restore.test_push import pushable as all_refs

__all__ = ["target"]

GAME = "acme/game"
TOOL = b"tool " * 20_000
PAGES = {"Home.md": b"welcome", "More.md": b"more"}
BATCH = r"POST .*/info/lfs/objects/batch"
WRITES = r"^PUT /lfs/|^POST .*git-receive-pack$|^POST .*/releases"


def pushable(path: Path) -> dict[str, str]:
    """Return what was pushed, without the branch that keeps a wiki's replaced page."""
    return {name: oid for name, oid in all_refs(path).items() if not name.startswith("refs/heads/before-restore-")}


@dataclass(frozen=True)
class Source:
    """A repository with a wiki, LFS objects and releases, and the GitHub that it is restored to."""

    world: World
    repository: FakeRepository
    lfs: content.LfsHistory

    @property
    def github(self) -> FakeGitHub:
        return self.world.github

    @property
    def there(self) -> FakeRepository:
        return restored(self.github, "game")

    def push(self, *arguments: str) -> Any:
        return self.world.restore("push", *(arguments or (GAME,)), "--to", NEW_OWNER)

    def make_wiki(self, pages: dict[str, bytes] | None = None) -> Path:
        """Write the first page of the target's wiki by hand, as GitHub needs it."""
        self.there.wiki = content.make_wiki(self.world.folder / "git", "by-hand", pages or {"Home.md": b"first"})
        return self.there.wiki


@pytest.fixture
def source(world: World, target: FakeGitHub) -> Source:  # noqa: ARG001  (its token is in the world's variables)
    """A repository that is backed up."""
    repository, lfs = content.add_with_lfs(world)
    git(f"--git-dir={repository.path}", "tag", "v2-beta", "main")
    repository.wiki = content.make_wiki(world.folder / "git", "game", PAGES)
    numbers = content.Numbers()
    new = content.release(numbers, "v2-beta", {"tool.tar.gz": TOOL + b"2"}, prerelease=True)
    old = content.release(numbers, "v1", {"tool.tar.gz": TOOL, "notes.txt": b"notes"})
    old.files[1].label, old.files[1].content_type = "The notes", "text/plain"
    repository.releases = [new, old]
    run = world.run()
    assert run.code == 0, run.output
    world.github.exchanges.clear()
    return Source(world, repository, lfs)


def told(releases: list[FakeRelease]) -> list[dict[str, Any]]:
    """Return what must be the same of releases after a restore."""
    return [
        {
            "tag": item.tag_name,
            "name": item.name,
            "body": item.body,
            "flags": (item.draft, item.prerelease),
            "files": {file.name: (file.content, file.label, file.content_type) for file in item.files},
        }
        for item in releases
    ]


def writes(github: FakeGitHub) -> list[str]:
    """Return the kinds of requests that changed something, in their order."""
    kinds = {r"/assets": "file", r"/releases$": "releases", r"git-receive-pack$": "git", r"^PUT /lfs/": "lfs"}
    found = [f"{request.method} {request.path.partition('?')[0]}" for request in github.requests(WRITES)]
    return [next(kind for sign, kind in kinds.items() if re.search(sign, line)) for line in found]


# -- everything comes back -----------------------------------------------------------------------


def test_everything_comes_back_and_nothing_is_sent_twice(source: Source) -> None:
    run = source.push()
    assert run.code == 1
    assert run.failures.keys() == {GAME}
    said = run.failures[GAME]
    assert f"create the first page at {source.github.server_url}/{NEW_OWNER}/game/wiki" in said
    assert "then run the same command again" in said
    tasks = {line["task"]: line["first"] for line in run.named("left to do by hand")}
    assert tasks["create the wiki's first page, then push again"].endswith(f"/{NEW_OWNER}/game/wiki")
    there = source.there
    assert pushable(there.path) == pushable(source.repository.path)
    assert there.lfs.oids() == source.lfs.oids
    assert told(there.releases) == told(source.repository.releases)
    order = list(dict.fromkeys(writes(source.github)))
    assert order == ["lfs", "git", "releases", "file"]
    sent = source.github.requests("POST .*/releases$")
    assert [request.body["tag_name"] for request in sent] == ["v1", "v2-beta"]
    wiki = source.make_wiki()
    before = len(writes(source.github))
    again = source.push()
    assert again.code == 0, again.stderr
    (replaced,) = again.named("the wiki's only page is replaced")
    refs = all_refs(wiki)
    assert replaced["kept"] == f"refs/heads/before-restore-{refs.pop(replaced['kept'])}"
    assert refs == pushable(source.repository.wiki or wiki)
    assert writes(source.github)[before:] == ["git"] * (len(writes(source.github)) - before)
    third = source.push()
    assert third.code == 0, third.stderr
    assert len(third.named("already there")) == 1


@needs_git_lfs
def test_a_git_lfs_client_clones_and_pulls_from_where_it_was_pushed_to(source: Source, tmp_path: Path) -> None:
    source.push()
    token = source.world.variables["RESTORE_TOKEN"]
    url = f"{source.github.server_url}/{NEW_OWNER}/game.git".replace("://", f"://x-access-token:{token}@")
    work = tmp_path / "work"
    settings = ("-c", "filter.lfs.smudge=git-lfs smudge -- %f", "-c", "filter.lfs.process=git-lfs filter-process")
    done = run_git(*settings, "clone", "--quiet", url, work)
    assert done.returncode == 0, done.stderr
    store = source.lfs.store
    assert (work / "a.bin").read_bytes() == store.path(source.lfs.on_main).read_bytes()
    for arguments in (("lfs", "install", "--local"), ("lfs", "fetch", "--all"), ("lfs", "fsck")):
        done = run_git("-C", work, *arguments)
        assert done.returncode == 0, done.stderr
    fetched = {path.name for path in (work / ".git/lfs/objects").rglob("*") if path.is_file()}
    # git-lfs neither fetches an empty file nor what pull requests alone have.
    assert fetched == {source.lfs.on_main, source.lfs.only_in_the_past, source.lfs.on_a_branch}


def test_git_only_pushes_no_more(source: Source) -> None:
    """GitHub takes no more of an LFS repository than the refs that need no LFS objects."""
    content.add(source.world, "plain", lambda stream: stream.history("refs/heads/main", 2))
    source.world.run()
    run = source.push("acme/*", "--git-only")
    assert run.failures.keys() == {GAME}
    assert "4 of 4 refs were refused" in run.failures[GAME]
    assert "GH008" in run.failures[GAME]
    assert pushable(restored(source.github, "plain").path)
    assert set(writes(source.github)) == {"git"}
    assert pushable(source.there.path) == {}


def test_the_wiki_alone_is_pushed_by_its_name(source: Source) -> None:
    source.push()
    wiki = source.make_wiki()
    before = len(source.github.repositories)
    run = source.push(f"{GAME}.wiki")
    assert run.code == 0, run.stderr
    assert pushable(wiki) == pushable(source.repository.wiki or wiki)
    assert len(source.github.repositories) == before


def test_a_dry_run_describes_all_of_it_and_changes_nothing(source: Source) -> None:
    run = source.push(GAME, "--dry-run")
    assert run.code == 0, run.stderr
    for line in (
        "upload 4 LFS objects (21.0 kB)",
        "create 2 releases: v1, v2-beta",
        "upload 3 files of releases (200.0 kB)",
        "push the wiki, after somebody has done this: create the first page at",
    ):
        assert line in run.stdout
    assert source.github.find(NEW_OWNER, "game") is None
    source.push()
    before = len(writes(source.github))
    without_wiki = source.push(GAME, "--dry-run")
    assert "push no wiki: there is no wiki" in without_wiki.stdout
    source.make_wiki()
    then = source.push(GAME, "--dry-run")
    assert "LFS" not in then.stdout
    assert "releases" not in then.stdout
    assert "push 1 heads" in then.stdout
    assert len(writes(source.github)) == before


def rewrite_releases(source: Source, releases: list[dict[str, Any]]) -> None:
    """Back up other releases than there were: a draft, which GitHub shows to nobody who can't write."""
    world, manifest = source.world, source.world.read_manifest()
    assert manifest
    (entry,) = manifest["repos"]
    document = {"schema_version": 1, "full_name": GAME, "releases": releases}
    body, key = json.dumps(document).encode(), world.key("acme/game.rewritten.json")
    version_id = world.stack.s3.client().put_object(Bucket=world.bucket, Key=key, Body=body)["VersionId"]
    stored = {"s3_key": key, "version_id": version_id, "size_bytes": len(body)}
    entry["releases"]["list"] |= stored | {"sha256": hashlib.sha256(body).hexdigest()}
    world.put_manifest(manifest)


def listed(source: Source) -> list[dict[str, Any]]:
    manifest = source.world.read_manifest()
    assert manifest
    releases: list[dict[str, Any]] = source.world.read_list(manifest["repos"][0]["releases"]["list"])["releases"]
    return releases


def test_drafts_of_one_tag_are_drafts_again_and_made_once(source: Source) -> None:
    new, old = listed(source)
    draft = {"tag_name": "next", "draft": True, "published_at": None, "target_commitish": "level/two"}
    drafts = [new | draft | {"name": name} for name in ("one", "two")]
    lost = new | draft | {"tag_name": "lost", "target_commitish": "deleted", "files": []}
    rewrite_releases(source, [*drafts, lost, old])
    source.push()
    there = source.there.releases
    assert [(item.tag_name, item.name, item.draft) for item in there] == [
        ("next", "one", True),
        ("next", "two", True),
        ("lost", "Release v2-beta", True),
        ("v1", "Release v1", False),
    ]
    assert [item.target_commitish for item in there[:3]] == ["level/two", "level/two", "main"]
    assert "refs/tags/next" not in served_refs(source.there.path)
    source.push()
    assert len(source.there.releases) == 4


# -- what the target has stays -------------------------------------------------------------------


def test_releases_and_files_that_are_there_stay_as_they_are(source: Source) -> None:
    source.push()
    there = source.there
    there.releases = [item for item in there.releases if item.tag_name == "v1"]
    there.releases[0].body = "my own notes"
    there.releases[0].files = [FakeFile(1, "tool.tar.gz", b"another tool"), FakeFile(2, "mine.txt", b"mine")]
    source.make_wiki()
    run = source.push()
    assert run.code == 1
    assert "v1/tool.tar.gz: the release already has another file that is called tool.tar.gz" in run.failures[GAME]
    new, old = there.releases
    assert (old.body, new.tag_name) == ("my own notes", "v2-beta")
    assert {file.name: file.content for file in old.files} == {
        "tool.tar.gz": b"another tool",
        "mine.txt": b"mine",
        "notes.txt": b"notes",
    }


def test_the_empty_file_that_a_failed_upload_left_is_replaced(source: Source) -> None:
    source.push()
    left = source.there.releases[1].files[0]
    left.state, left.content = "starter", b""
    run = source.push()
    assert run.failures[GAME].startswith("wiki: ")
    assert told(source.there.releases) == told(source.repository.releases)
    assert len(source.github.requests("^DELETE ")) == 1


def test_a_wiki_with_more_than_its_first_page_is_not_replaced(source: Source) -> None:
    source.push()
    wiki = source.make_wiki({"Home.md": b"mine", "Second.md": b"mine too"})
    before = served_refs(wiki)
    run = source.push()
    assert run.code == 1
    assert "wiki: " in run.failures[GAME]
    assert "is not empty" in run.failures[GAME]
    assert served_refs(wiki) == before
    assert source.push(GAME, "--overwrite").code == 0
    assert pushable(wiki) == pushable(source.repository.wiki or wiki)


def test_an_archived_target_that_lacks_content_is_said(source: Source) -> None:
    source.push()
    there = source.there
    there.lfs.remove(source.lfs.on_main)
    there.releases.clear()
    there.archived = True
    run = source.push()
    assert "is archived and lacks 1 LFS objects: unarchive it first" in run.failures[GAME]
    assert "is archived and lacks releases or files of them: unarchive it first" in run.failures[GAME]


def test_an_archived_repository_is_archived_when_all_of_it_is_there(source: Source) -> None:
    source.repository.archived = True
    assert source.world.run().code == 0
    source.push()
    assert not source.there.archived
    source.make_wiki()
    assert source.push().code == 0
    assert source.there.archived
    assert source.push().code == 0


# -- what goes wrong -----------------------------------------------------------------------------


def test_an_object_that_the_server_refuses_is_named_and_the_rest_is_pushed(source: Source, target: FakeGitHub) -> None:
    source.push()
    source.make_wiki()
    there = source.there
    for oid in source.lfs.oids:
        there.lfs.remove(oid)
    there.lfs.errors[source.lfs.on_main] = (422, "this object is too large")
    run = source.push()
    assert run.code == 1
    assert f"Git LFS: 1 of 4 failed: {source.lfs.on_main}: " in run.failures[GAME]
    assert "422: this object is too large" in run.failures[GAME]
    assert there.lfs.oids() == source.lfs.oids - {source.lfs.on_main}
    assert pushable(there.wiki or there.path) == pushable(source.repository.wiki or there.path)
    assert len(target.requests("PUT /lfs/")) == 4 + 3


@pytest.mark.parametrize("checks", [True, False], ids=["GitHub", "a server that takes pointers to nothing"])
def test_a_damaged_object_in_the_bucket_is_named_and_never_arrives(source: Source, checks: bool) -> None:
    source.github.checks_lfs_pointers = checks
    key = f"github-backup-lfs/acme/{source.lfs.on_main[:2]}/{source.lfs.on_main}"
    client, bucket = source.world.stack.s3.client(), source.world.bucket
    for version in client.list_object_versions(Bucket=bucket, Prefix=key)["Versions"]:
        client.delete_object(Bucket=bucket, Key=key, VersionId=version["VersionId"])
    client.put_object(Bucket=bucket, Key=key, Body=b"?" * 1000)
    run = source.push()
    assert run.code == 1
    assert source.lfs.on_main in run.failures[GAME]
    assert source.there.lfs.oids() == source.lfs.oids - {source.lfs.on_main}
    # GitHub takes what does not need the object, and nothing else.
    assert ("3 of 4 refs were refused" in run.failures[GAME]) == checks
    if not checks:
        assert told(source.there.releases) == told(source.repository.releases)
        return
    assert pushable(source.there.path).keys() == {"refs/tags/v1"}
    assert told(source.there.releases) == told(source.repository.releases[1:])
    assert "v2-beta: its tag is not in the repository" in run.failures[GAME]


@pytest.mark.parametrize(
    "fault",
    [
        Fault(r"PUT /lfs/", 503, times=2),
        Fault(r"PUT /lfs/", 500, after_all=True),
        Fault(r"POST .*/info/lfs/verify", 500),
        Fault(BATCH, 502),
        Fault(r"POST .*/assets", 500, times=2),
        Fault(r"POST .*/assets", 502, after_all=True),
        Fault(r"POST .*/releases/\d+/assets", 429, headers={"Retry-After": "0"}),
    ],
    ids=lambda fault: f"{fault.match} {fault.status}{' lost' if fault.after_all else ''}",
)
def test_what_fails_once_is_tried_again(source: Source, fault: Fault) -> None:
    source.github.faults = [fault]
    run = source.push()
    assert list(run.failures) == [GAME]
    assert run.failures[GAME].startswith("wiki: ")
    assert source.there.lfs.oids() == source.lfs.oids
    assert told(source.there.releases) == told(source.repository.releases)


def test_a_link_that_expired_is_asked_for_again(source: Source) -> None:
    source.github.faults = [Fault(r"PUT /lfs/", 403, times=1)]
    source.push()
    assert source.there.lfs.oids() == source.lfs.oids
    assert len(source.github.requests(BATCH)) == 2


def test_a_push_that_broke_off_is_continued(source: Source, s3_proxy: S3Proxy) -> None:
    s3_proxy.faults = [S3Fault(r"GET .*-(lfs|releases)/", "cut", times=3)]
    run = source.push()
    assert list(run.failures) == [GAME]
    assert source.there.lfs.oids() == source.lfs.oids
    assert told(source.there.releases) == told(source.repository.releases)


def test_the_token_goes_to_no_other_host(source: Source) -> None:
    source.push()
    token = source.world.variables["RESTORE_TOKEN"]
    uploads = source.github.requests("^PUT /lfs/")
    assert len(uploads) == 4
    for request in uploads:
        assert "Authorization" not in request.headers
        assert token not in str(request)


@pytest.mark.parametrize(
    ("given", "api", "fits"),
    [
        ("https://uploads.github.com/repos/a/b/releases/1/assets{?name,label}", "https://api.github.com", True),
        ("https://ghes.example.com/api/uploads/repos/a/b/x", "https://ghes.example.com/api/v3", True),
        ("https://uploads.acme.ghe.com/repos/a/b/x", "https://api.acme.ghe.com", True),
        ("https://evil.example.com/x", "https://api.github.com", False),
        ("http://uploads.github.com/x", "https://api.github.com", False),
        ("https://uploads.github.com.evil.example.com/x", "https://api.github.com", False),
        ("https://uploads.github.com@evil.example.com/x", "https://api.github.com", False),
        ("//evil.example.com/x", "https://api.github.com", False),
    ],
)
def test_files_are_uploaded_to_githubs_own_hosts_only(given: str, api: str, fits: bool) -> None:
    file = ReleaseFile(
        id=1, name="a b&c.txt", label=None, content_type="x", size_bytes=1, created_at="", updated_at="", content=None
    )
    if fits:
        assert upload_url(given, api, file).endswith("?name=a%20b%26c.txt")
        return
    with pytest.raises(GitHubError, match="on another host"):
        upload_url(given, api, file)


SETTINGS: dict[str, Any] = {
    "description": "The game\u202e \x1b[2J",
    "homepage": "https://game.example.com",
    "topics": ["games", "rust"],
    "is_template": True,
    "has_issues": False,
    "has_wiki": True,
    "allow_squash_merge": True,
    "allow_merge_commit": False,
    "delete_branch_on_merge": True,
    "squash_merge_commit_title": "PR_TITLE",
}


def test_what_the_listing_says_of_a_repository_comes_back_with_it(source: Source) -> None:
    source.repository.settings |= SETTINGS
    run = source.world.run()
    assert run.code == 0, run.output
    kept = run.repos[GAME]["settings"]
    assert kept.items() >= SETTINGS.items()
    assert (kept["visibility"], kept.get("merge_commit_title")) == ("private", None)
    assert run.repos[GAME]["wiki"]["settings"] is None
    planned = source.push(GAME, "--dry-run").stdout
    assert "with its homepage: https://game.example.com" in planned
    assert "with its topics: games, rust" in planned
    assert "\x1b" not in planned, "it moves no cursor"
    report = source.world.folder / "report.json"
    pushed = source.push(GAME, "--report", str(report))
    by_hand = json.loads(report.read_text())["by_hand"]
    page = f"{source.github.server_url}/{NEW_OWNER}/game/settings/actions"
    wiki = page.replace("settings/actions", "wiki")
    assert by_hand == {
        "switch Actions on": [page],
        "revoke the token": ["RESTORE_TOKEN"],
        "create the wiki's first page, then push again": [wiki],
    }
    told = {line["task"]: line["first"] for line in pushed.named("left to do by hand")}
    assert told == {task: places[0] for task, places in by_hand.items()}
    (planned,) = pushed.named("about to push")
    assert (planned["repositories"], planned["writes"]) == (1, 3 + 2 + 3 + 1), "three, releases, files, topics"
    assert source.there.settings.items() >= SETTINGS.items()
    assert source.there.private
    changed = {"description": "ours", "topics": ["ours"]}
    source.there.settings |= changed
    source.push()
    assert source.there.settings.items() >= changed.items(), "what is there is not changed"


def test_a_forged_content_type_is_sent_as_none(source: Source) -> None:
    source.repository.releases[0].files[0].content_type = "application/zip\r\nX-Forged: 1"
    assert source.world.run().code == 0
    source.push()
    (sent,) = [file for release in source.there.releases if release.tag_name == "v2-beta" for file in release.files]
    assert (sent.content_type, sent.content) == ("application/octet-stream", TOOL + b"2")


def test_settings_that_the_target_refuses_cost_the_settings_only(source: Source) -> None:
    source.repository.settings |= SETTINGS | {"topics": ["Not A Topic"]}
    source.world.run()
    source.github.faults = [Fault("POST .*/orgs/.*/repos", 422, message="Validation Failed", after=1)]
    run = source.push()
    assert "Validation Failed" in run.named("settings refused")[0]["error"]
    assert "topics: GitHub answered 422" in run.failures[GAME]
    assert source.there.settings.get("homepage") is None
    assert source.there.releases


def test_a_place_for_uploads_elsewhere_gets_no_file(source: Source) -> None:
    source.github.uploads_elsewhere = True
    run = source.push()
    assert "GitHub named an upload URL on another host" in run.failures[GAME]
    assert not source.there.releases[0].files


def test_a_release_whose_tag_is_not_there_is_not_made(source: Source, world: World) -> None:
    """GitHub would make the tag, of another commit."""
    source.repository.releases.insert(0, FakeRelease(77, "deleted", name="x"))
    assert world.run().code == 0
    run = source.push()
    assert "deleted: its tag is not in the repository" in run.failures[GAME]
    assert [item.tag_name for item in source.there.releases] == ["v2-beta", "v1"]
    assert "refs/tags/deleted" not in served_refs(source.there.path)


def test_the_restore_app_needs_no_more_permissions_than_before(source: Source) -> None:
    world, app = source.world, source.github.add_app("999")
    source.github.install(NEW_OWNER, app=app)
    key = world.folder / "restore.pem"
    key.write_text(app.pem())
    run = world.restore(
        "push", GAME, "--to", NEW_OWNER, RESTORE_TOKEN=None, RESTORE_APP_ID="999", RESTORE_APP_KEY_FILE=str(key)
    )
    assert run.failures[GAME].startswith("wiki: ")
    assert source.there.lfs.oids() == source.lfs.oids
    assert told(source.there.releases) == told(source.repository.releases)


# -- other servers -------------------------------------------------------------------------------


def test_another_server_with_git_lfs_gets_the_objects(source: Source) -> None:
    source.github.create(NEW_OWNER, "game", private=True, settings={})
    source.make_wiki()
    url = f"{source.github.server_url}/{NEW_OWNER}/{{name}}.git"
    run = source.world.restore("push", GAME, "--url", url)
    assert run.code == 0, run.stderr
    assert source.there.lfs.oids() == source.lfs.oids
    assert pushable(source.there.wiki or source.there.path) == pushable(source.repository.wiki or source.there.path)
    assert "restore no releases: the target is not GitHub" in [event["note"] for event in run.named("left out")]
    assert source.there.releases == []


@pytest.mark.parametrize("status", [404, 405, 501])
def test_a_server_without_git_lfs_loses_objects_which_is_a_failure(source: Source, status: int) -> None:
    source.github.create(NEW_OWNER, "game", private=True, settings={})
    source.make_wiki()
    source.github.faults = [Fault(BATCH, status, times=99)]
    run = source.world.restore("push", GAME, "--url", f"{source.github.server_url}/{NEW_OWNER}/{{name}}.git")
    assert run.code == 1
    assert "Git LFS: the server has no Git LFS" in run.failures[GAME]
    assert "git lfs push --all" in run.failures[GAME]
    assert pushable(source.there.wiki or source.there.path) == pushable(source.repository.wiki or source.there.path)


def test_a_server_that_is_a_folder_gets_git_and_the_wiki(source: Source) -> None:
    folder = source.world.folder / "server"
    for name in ("game", "game.wiki"):
        git("init", "--quiet", "--bare", folder / f"{name}.git")
    run = source.world.restore("push", GAME, "--url", f"file://{folder}/{{name}}.git", RESTORE_TOKEN=None)
    assert run.code == 1
    assert re.match("Git LFS: LFS objects can only be sent to an https:// server", run.failures[GAME])
    assert pushable(folder / "game.git") == pushable(source.repository.path)
    assert pushable(folder / "game.wiki.git") == pushable(source.repository.wiki or folder)
