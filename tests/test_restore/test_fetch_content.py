"""`fetch` of what git alone does not hold: files in place of pointers, releases and wikis, and nothing half-written."""

import json
import shutil
import signal
from pathlib import Path, PurePath
from typing import Any

import pytest

from embedded.ports import wait_until
from embedded.real_git import bundled_refs, git, served_refs
from embedded.s3_proxy import S3Fault, S3Proxy
from github_s3_backup.records.release_list import parse_release_list
from github_s3_backup.restore.fetch.destination import PARTIAL_FOLDER, Form
from github_s3_backup.restore.lists import LIST, release_paths, safe_name
from support.vault import FIRST, SECOND, Vault
from support.vault_content import (
    API,
    FILES,
    TAG,
    WIKI,
    Content,
    lfs_summary,
    make_content,
    needs_git_lfs,
    path_without_git_lfs,
    pointer,
    release,
    release_file,
    run_git,
    sha256,
    store_releases,
)
from support.world import Restored

SUFFIX: dict[Form, str] = {"bundles": ".bundle", "mirrors": ".git", "clones": ""}
FORMS: tuple[Form, ...] = ("bundles", "mirrors", "clones")
OBJECTS = {"bundles": "api@lfs/objects", "mirrors": "api.git/lfs/objects", "clones": "api/.git/lfs/objects"}
DRAFT = "release%2F2.0%20beta"


def fetch(vault: Vault, form: Form, *arguments: str, **changes: str) -> Restored:
    return vault.restore("fetch", *(arguments or ("--all",)), "--into", out(vault), "--as", form, prefix=(), **changes)


def out(vault: Vault) -> Path:
    return vault.folder / "out"


def fetched(vault: Vault, form: Form) -> dict[str, bytes]:
    """Return every LFS object and every file of a release that is there, by its path."""
    folder = out(vault) / "acme"
    objects = {path.name: path.read_bytes() for path in (folder / OBJECTS[form]).rglob("*") if path.is_file()}
    releases = folder / "api@releases"
    files = {str(path.relative_to(releases)): path.read_bytes() for path in releases.rglob("*") if path.is_file()}
    files.pop(LIST, None)
    return objects | files


def wanted() -> dict[str, bytes]:
    tool = b"tool " * 2000
    return {sha256(body): body for body in FILES.values()} | {
        f"{DRAFT}/tool.tar.gz": tool,
        f"{DRAFT}/new.txt": b"new",
        f"{TAG}/tool.tar.gz": tool,
        f"{TAG}/notes.txt": b"notes " * 10,
    }


def spoil(content: Content, stored: dict[str, Any]) -> None:
    """Replace a stored file by other bytes of the same size."""
    content.vault.destroy(stored)
    body = b"?" * stored["size_bytes"]
    content.vault.client.put_object(Bucket=content.vault.bucket, Key=stored["s3_key"], Body=body)


@pytest.mark.parametrize("form", FORMS)
def test_everything_is_fetched_and_nothing_twice(vault: Vault, form: Form) -> None:
    content = make_content(vault)
    content.write()
    run = fetch(vault, form)
    assert run.code == 0, run.stderr
    folder = out(vault) / "acme"
    assert fetched(vault, form) == wanted()
    assert json.loads((folder / "api@releases" / LIST).read_text()) == content.release_list
    for name, source in ((API, content.source), (WIKI, content.wiki)):
        place = out(vault) / f"{name}{SUFFIX[form]}"
        refs = bundled_refs(place) if form == "bundles" else served_refs(place)
        assert refs["HEAD"] == served_refs(source)["HEAD"]
        assert refs.items() >= {k: v for k, v in served_refs(source).items() if k.startswith("refs/tags/")}.items()
    oid = sha256(FILES["old.bin"])
    assert (folder / OBJECTS[form] / oid[:2] / oid[2:4] / oid).read_bytes() == FILES["old.bin"]
    assert not (out(vault) / PARTIAL_FOLDER).exists()
    before = {path: path.stat().st_mtime_ns for path in out(vault).rglob("*")}
    again = fetch(vault, form)
    assert again.code == 0, again.stderr
    assert [event["full_name"] for event in again.named("already there")] == [API]
    assert {path: path.stat().st_mtime_ns for path in out(vault).rglob("*")} == before


def test_the_wiki_alone_is_fetched_by_its_name(vault: Vault) -> None:
    make_content(vault).write()
    assert fetch(vault, "mirrors", WIKI).code == 0
    assert [path.name for path in (out(vault) / "acme").iterdir()] == ["api.wiki.git"]


def test_git_only_fetches_no_more(vault: Vault) -> None:
    make_content(vault).write()
    assert fetch(vault, "clones", "--all", "--git-only").code == 0
    assert [path.name for path in (out(vault) / "acme").iterdir()] == ["api"]
    assert not (out(vault) / "acme/api/.git/lfs").exists()


@needs_git_lfs
def test_a_clone_has_the_real_files_and_git_lfs_finds_nothing_to_do(vault: Vault) -> None:
    """No command of this test reaches a server: the clone's origin does not exist."""
    make_content(vault).write()
    assert fetch(vault, "clones", GITHUB_SERVER_URL="http://127.0.0.1:9").code == 0
    clone = out(vault) / "acme" / "api"
    assert (clone / "design.psd").read_bytes() == FILES["design.psd"]
    assert (clone / "video.bin").read_bytes() == FILES["video.bin"]
    assert git("-C", clone, "status", "--porcelain") == b""
    assert run_git("-C", clone, "lfs", "fsck").returncode == 0
    git("-C", clone, "checkout", "--quiet", TAG)
    assert (clone / "video.bin").read_bytes() == FILES["old.bin"]
    (clone / "new.bin").write_bytes(b"new")
    git("-C", clone, "add", "new.bin")
    assert git("-C", clone, "show", ":new.bin") == pointer(b"new")


@needs_git_lfs
def test_a_clone_of_a_mirror_gets_its_files_from_the_mirror(vault: Vault) -> None:
    make_content(vault).write()
    assert fetch(vault, "mirrors").code == 0
    mirror, work = out(vault) / "acme" / "api.git", vault.folder / "work"
    assert run_git("-C", mirror, "lfs", "fsck", "main").returncode == 0
    settings = ("-c", "filter.lfs.smudge=git-lfs smudge -- %f", "-c", "filter.lfs.process=git-lfs filter-process")
    done = run_git(*settings, "clone", "--quiet", f"file://{mirror}", work)
    assert done.returncode == 0, done.stderr
    assert (work / "video.bin").read_bytes() == FILES["video.bin"]


def test_without_git_lfs_the_commands_to_run_are_said(vault: Vault) -> None:
    make_content(vault).write()
    run = fetch(vault, "clones", PATH=path_without_git_lfs(vault.folder))
    assert run.code == 0, run.stderr
    clone = out(vault) / "acme" / "api"
    assert (clone / "design.psd").read_bytes() == pointer(FILES["design.psd"])
    (warning,) = run.named("git-lfs is not installed, the clone has pointers in place of files")
    assert warning["commands"] == f"git -C {clone} lfs install --local && git -C {clone} lfs checkout"


# -- what is broken ------------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMS)
def test_a_broken_object_fails_its_repository_by_name_and_all_the_rest_arrives(vault: Vault, form: Form) -> None:
    content = make_content(vault)
    content.write(repos=[content.entry, vault.copy(FIRST, "acme/fork")])
    spoil(content, content.object("video.bin"))
    vault.destroy(content.release_file("notes.txt"))
    run = fetch(vault, form)
    assert run.code == 1
    assert run.failures.keys() == {API}
    broken = sha256(FILES["video.bin"])
    assert f"Git LFS: 1 of 3 failed: {broken}: " in run.failures[API]
    assert "SHA-256 does not match" in run.failures[API]
    assert f"releases: 1 of 3 failed: {TAG}/notes.txt: " in run.failures[API]
    rest = wanted()
    del rest[broken], rest[f"{TAG}/notes.txt"]
    assert fetched(vault, form) == rest
    for name in (API, WIKI, "acme/fork"):
        assert (out(vault) / f"{name}{SUFFIX[form]}").exists()
    for kind, body in (("lfs", FILES["video.bin"]), ("releases", b"notes " * 10)):
        stored = content.object("video.bin") if kind == "lfs" else content.release_file("notes.txt")
        vault.client.put_object(Bucket=vault.bucket, Key=stored["s3_key"], Body=body)
    again = fetch(vault, form)
    assert again.code == 0, again.stderr
    assert fetched(vault, form) == wanted()
    assert not (out(vault) / PARTIAL_FOLDER).exists()


@needs_git_lfs
def test_a_clone_that_lacked_a_file_gets_it_later(vault: Vault) -> None:
    content = make_content(vault)
    content.write()
    spoil(content, content.object("video.bin"))
    assert fetch(vault, "clones").code == 1
    clone = out(vault) / "acme" / "api"
    assert (clone / "video.bin").read_bytes() == pointer(FILES["video.bin"])
    assert (clone / "design.psd").read_bytes() == FILES["design.psd"]
    (clone / "design.psd").write_bytes(b"my own")
    stored = content.object("video.bin")
    vault.client.put_object(Bucket=vault.bucket, Key=stored["s3_key"], Body=FILES["video.bin"])
    again = fetch(vault, "clones")
    assert again.code == 0, again.stderr
    assert (clone / "video.bin").read_bytes() == FILES["video.bin"]
    assert (clone / "design.psd").read_bytes() == b"my own"


@pytest.mark.parametrize("kind", ["lfs", "releases"])
@pytest.mark.parametrize("body", [b"{}", b"not json", b'{"schema_version": 2}'], ids=repr)
def test_a_list_that_is_none_fails_its_part_alone(vault: Vault, kind: str, body: bytes) -> None:
    content = make_content(vault)
    key = content.entry[kind]["list"]["s3_key"]
    version_id = vault.client.put_object(Bucket=vault.bucket, Key=key, Body=body)["VersionId"]
    content.entry[kind]["list"] |= {"version_id": version_id, "size_bytes": len(body), "sha256": sha256(body)}
    content.write()
    run = fetch(vault, "mirrors")
    assert run.code == 1
    assert key in run.failures[API]
    assert (out(vault) / "acme/api.git").exists()
    assert (out(vault) / "acme/api.wiki.git").exists()


def test_a_broken_wiki_fails_its_part_alone(vault: Vault) -> None:
    content = make_content(vault)
    content.write()
    vault.destroy(content.entry["wiki"])
    run = fetch(vault, "mirrors")
    assert run.code == 1
    assert run.failures[API].startswith("wiki: ")
    assert fetched(vault, "mirrors") == wanted()


def test_what_was_stored_in_part_is_fetched_and_fails(vault: Vault) -> None:
    content = make_content(vault)
    problem = {"full_name": API, "id": content.entry["id"], "stage": "clone", "error": "Git LFS: no answer"}
    content.write(repos=[], failures=[problem | {"partial": content.entry | {"lfs": None}}])
    run = fetch(vault, "mirrors")
    assert run.code == 1
    assert "Git LFS: no answer" in run.failures[API]
    assert served_refs(out(vault) / "acme/api.git") == served_refs(content.source)
    assert (out(vault) / "acme/api.wiki.git").exists()
    assert run.events[-1]["done"] == 1


@pytest.mark.parametrize("what", ["releases.json", "file", "folder", "object"])
def test_what_is_in_the_way_is_left_alone(vault: Vault, what: str) -> None:
    content = make_content(vault)
    content.write()
    folder = out(vault) / "acme"
    oid = sha256(FILES["old.bin"])
    place = {
        "releases.json": folder / "api@releases" / LIST,
        "file": folder / "api@releases" / TAG / "notes.txt",
        "folder": folder / "api@releases" / "mine.txt",
        "object": folder / "api@lfs/objects" / oid[:2] / oid[2:4] / oid,
    }[what]
    if what == "file":
        assert fetch(vault, "bundles").code == 0
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text("mine")
    run = fetch(vault, "bundles")
    assert run.code == 1
    assert "already exists" in run.failures[API]
    assert place.read_text() == "mine"
    assert (folder / "api.bundle").exists()
    assert (folder / "api.wiki.bundle").exists()


def test_releases_of_another_day_do_not_mix(vault: Vault) -> None:
    content = make_content(vault)
    content.write()
    assert fetch(vault, "bundles").code == 0
    content.entry["releases"] = store_releases(vault, SECOND, [])
    content.write(SECOND)
    run = fetch(vault, "bundles")
    assert run.code == 1
    assert "api@releases/releases.json already exists and is not what was stored" in run.failures[API]


def test_a_repository_called_like_the_folder_of_releases_is_not_mixed_with_them(vault: Vault) -> None:
    content = make_content(vault)
    other = vault.copy(FIRST, "acme/fork") | {"full_name": "acme/api.releases", "name": "api.releases"}
    content.write(repos=[content.entry, other])
    run = fetch(vault, "clones", "--all", "--concurrency", "1")
    assert run.code == 0, run.stderr
    assert (out(vault) / "acme/api.releases/.git").is_dir()
    assert (out(vault) / "acme/api@releases" / LIST).is_file()


# -- interruptions -------------------------------------------------------------------------------


def test_a_connection_that_breaks_is_taken_up_where_it_broke(vault: Vault, vault_proxy: S3Proxy) -> None:
    content = make_content(vault)
    content.write()
    vault_proxy.faults = [S3Fault(r"GET .*-(lfs|releases)/", "cut", times=2)]
    run = fetch(vault, "mirrors")
    assert run.code == 0, run.stderr
    assert len(run.named("retrying")) == 2
    assert {event["full_name"] for event in run.named("retrying")} == {API}
    assert fetched(vault, "mirrors") == wanted()


@pytest.mark.parametrize("form", FORMS)
def test_what_always_breaks_off_is_no_object_and_is_continued_later(
    vault: Vault, form: Form, vault_proxy: S3Proxy
) -> None:
    content = make_content(vault)
    content.write()
    vault_proxy.faults = [S3Fault(rf"GET .*{content.object('video.bin')['s3_key']}", "cut")]
    run = fetch(vault, form)
    assert run.code == 1
    rest = wanted()
    del rest[sha256(FILES["video.bin"])]
    assert fetched(vault, form) == rest
    (part,) = (out(vault) / PARTIAL_FOLDER).rglob("*.part")
    assert 0 < part.stat().st_size < len(FILES["video.bin"])
    vault_proxy.faults = []
    again = fetch(vault, form)
    assert again.code == 0, again.stderr
    assert fetched(vault, form) == wanted()
    assert not (out(vault) / PARTIAL_FOLDER).exists()


@pytest.mark.parametrize("form", FORMS)
def test_a_fetch_that_was_killed_is_continued(vault: Vault, form: Form, vault_proxy: S3Proxy) -> None:
    content = make_content(vault)
    content.write()
    last = content.object("video.bin")["s3_key"]
    vault_proxy.faults = [S3Fault(rf"GET .*{last}", "hang")]
    process = vault.start("fetch", "--all", "--into", out(vault), "--as", form)
    staging = out(vault) / PARTIAL_FOLDER
    wait_until(lambda: len([path for path in staging.glob("*.lfs/*") if path.suffix != ".part"]) == 2, "two objects")
    process.send_signal(signal.SIGKILL)
    process.communicate()
    shutil.rmtree(vault.scratch)
    vault.scratch.mkdir()
    assert not (out(vault) / "acme").exists()
    vault_proxy.faults = []
    run = fetch(vault, form)
    assert run.code == 0, run.stderr
    assert fetched(vault, form) == wanted()
    asked = [request for request in vault_proxy.requests if "-lfs/" in request]
    assert len(asked) == 3  # two of the first fetch, and the one that it waited for
    assert not staging.exists()


# -- forged lists --------------------------------------------------------------------------------

HOSTILE = (
    "..",
    ".",
    ".git",
    "../../../x",
    "/etc/passwd",
    "a\\..\\b",
    "C:evil",
    "%2e%2e",
    "releases.json",
    "Releases.JSON",
    "x" * 300,
    "ключ" * 60,
    "a b",
    "~",
    "-rf",
)


def test_names_become_path_components_and_stay_different() -> None:
    names = [safe_name(name) for name in HOSTILE]
    assert len({name.lower() for name in names}) == len(HOSTILE) - 1  # two of them differ in case alone
    for name in names:
        assert len(PurePath(name).parts) == 1
        assert PurePath(name).name == name
        assert not name.startswith(".")
        assert name.lower() != LIST
        assert len(name.encode()) <= 255
    assert safe_name("v1.0.0-rc.1+build") == "v1.0.0-rc.1+build"
    assert safe_name("größe/1") == "größe%2F1"


def test_nothing_leaves_its_folder_whatever_a_forged_list_says(vault: Vault) -> None:
    content = make_content(vault)
    bodies = {name: f"content of {name}".encode() for name in HOSTILE}
    items = [
        release(number, name, [release_file(vault, number, other, bodies[other]) for other in HOSTILE])
        for number, name in enumerate((*HOSTILE, "..", "V1", "v1", "v1"))
    ]
    content.entry["releases"] = store_releases(vault, FIRST, items)
    content.write()
    run = fetch(vault, "bundles")
    assert run.code == 0, run.stderr
    assert sorted(path.name for path in out(vault).iterdir()) == ["acme"]
    folder = out(vault) / "acme" / "api@releases"
    assert sorted(path.name for path in (out(vault) / "acme").iterdir()) == [
        "api.bundle",
        "api.wiki.bundle",
        "api@lfs",
        "api@releases",
    ]
    files = [path for path in folder.rglob("*") if path.is_file() and path != folder / LIST]
    assert len(files) == len(items) * len(HOSTILE)
    assert {path.read_bytes() for path in files} == set(bodies.values())
    assert all(len(path.relative_to(folder).parts) == 2 for path in files)
    paths = [path for path, _ in release_paths(parse_release_list((folder / LIST).read_bytes()))]
    assert len({str(path).lower() for path in paths}) == len(paths)


def test_an_objects_name_is_checked_before_it_becomes_a_path(vault: Vault) -> None:
    content = make_content(vault)
    forged = content.lfs_list["objects"]
    forged[0]["oid"] = "../../../../evil"
    content.entry["lfs"] = lfs_summary(vault, FIRST, forged, [])
    content.write()
    run = fetch(vault, "bundles")
    assert run.code == 1
    assert "is not a list of LFS objects" in run.failures[API]
    assert not list(vault.folder.rglob("evil"))


def test_another_repositorys_file_under_an_objects_name_is_found_out(vault: Vault) -> None:
    content = make_content(vault)
    forged = content.lfs_list["objects"]
    forged[0]["s3_key"], forged[0]["version_id"] = forged[1]["s3_key"], forged[1]["version_id"]
    content.entry["lfs"] = lfs_summary(vault, FIRST, forged, [])
    content.write()
    run = fetch(vault, "bundles")
    assert run.code == 1
    assert forged[0]["oid"] in run.failures[API]
    assert not list(out(vault).rglob(forged[0]["oid"]))
