"""`fetch`: bundles, mirrors and working clones of everything awkward, whatever lies in their way."""

import fcntl
import hashlib
import json
import os
import re
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest

from embedded.ports import wait_until
from embedded.real_git import bundled_refs, git, served_refs
from embedded.s3 import READER
from embedded.s3_proxy import S3Fault, S3Proxy
from github_s3_backup.git.bundle import MAX_HEADER
from github_s3_backup.records.entry import Entry
from github_s3_backup.restore.errors import FetchError, UnbundleError
from github_s3_backup.restore.fetch.destination import PARTIAL_FOLDER, Destination, Form
from github_s3_backup.restore.fetch.git import GitFetcher
from github_s3_backup.restore.options import parse
from github_s3_backup.restore.unbundle import MirrorSource
from github_s3_backup.s3.download import FIRST_HEADER_SIZE, DownloadError
from support.vault import FIRST, Vault, entries_of
from test_backup.test_disk import UNSHARE, namespaces_work, small_disk

API, HEAVY = "acme/api", "acme/heavy"
EMPTY = "acme/empty"
SERVER = "https://github.example.com"


def without_head(refs: dict[str, str]) -> dict[str, str]:
    return {name: oid for name, oid in refs.items() if name != "HEAD"}


def files(git_dir: Path, ref: str) -> dict[str, bytes]:
    """Return the files of a branch as git holds them."""
    names = git(f"--git-dir={git_dir}", "ls-tree", "-r", "-z", "--name-only", ref).decode().split("\0")
    types = git(f"--git-dir={git_dir}", "ls-tree", "-r", "-z", "--format=%(objecttype)", ref).decode().split("\0")
    blobs = [name for name, kind in zip(names, types, strict=True) if kind == "blob"]
    return {name: git(f"--git-dir={git_dir}", "cat-file", "blob", f"{ref}:{name}") for name in blobs}


def head(git_dir: Path) -> str:
    return git(f"--git-dir={git_dir}", "symbolic-ref", "HEAD").decode().strip()


def fetch(vault: Vault, entry: Entry, form: Form) -> str:
    """Fetch one repository with the parts of the program alone."""
    destination = Destination(vault.folder / "out", form, SERVER)
    source = MirrorSource(vault.reader(), vault.git())
    return GitFetcher(destination, source, vault.log).fetch(entry, no_bytes, lambda _: None)


def no_bytes(_: int) -> None:
    pass


def check_again(whole: Vault, *command: str | Path, without_bundle: int = 0) -> None:
    """Assert that the same command again finds everything there, and leaves no partial folder behind."""
    assert not list((whole.folder / "out").glob(PARTIAL_FOLDER))
    again = whole.restore(*command)
    assert again.code == 0, again.stderr
    assert again.named("fetched") == []
    assert len(again.named("already there")) == len(whole.organisation.entries) - without_bundle
    assert not list((whole.folder / "out").glob(PARTIAL_FOLDER))


# -- everything, in each form --------------------------------------------------------------------


def test_bundles_of_everything_are_what_was_stored(whole: Vault, tmp_path: Path) -> None:
    command = ("fetch", "--all", "--into", tmp_path / "out", "--concurrency", "3")
    run = whole.restore(*command)
    assert run.code == 0, run.stderr
    for name, entry in whole.organisation.entries.items():
        bundle = tmp_path / "out" / f"{name}.bundle"
        if name == EMPTY:
            assert not bundle.exists()
            continue
        assert hashlib.sha256(bundle.read_bytes()).hexdigest() == entry["sha256"]
        assert bundled_refs(bundle) == whole.organisation.refs(name)
    assert len(run.named("fetched")) == len(whole.organisation.entries) - 1
    assert [event["full_name"] for event in run.named("empty: no bundle")] == [EMPTY]
    summary = run.events[-1]
    assert (summary["event"], summary["done"], summary["failed"]) == (
        "fetch finished",
        len(whole.organisation.entries),
        0,
    )
    check_again(whole, *command, without_bundle=1)


def test_mirrors_of_everything_have_every_ref_and_the_default_branch(whole: Vault, tmp_path: Path) -> None:
    command = ("fetch", "--all", "--into", tmp_path / "out", "--as", "mirrors")
    run = whole.restore(*command)
    assert run.code == 0, run.stderr
    for name, entry in whole.organisation.entries.items():
        mirror = tmp_path / "out" / f"{name}.git"
        assert without_head(served_refs(mirror)) == without_head(whole.organisation.refs(name)), name
        assert head(mirror) == f"refs/heads/{entry['default_branch']}"
    check_again(whole, *command)


def test_clones_of_everything_are_ready_to_go_on_working_in(whole: Vault, tmp_path: Path) -> None:
    command = ("fetch", "--all", "--into", tmp_path / "out", "--as", "clones")
    run = whole.restore(*command, GITHUB_SERVER_URL=f"{SERVER}/")
    assert run.code == 0, run.stderr
    for name, entry in whole.organisation.entries.items():
        clone, branch = tmp_path / "out" / name, f"refs/heads/{entry['default_branch']}"
        source = whole.organisation.refs(name)
        found = without_head(served_refs(clone))
        for ref, oid in without_head(source).items():
            place = ref.replace("refs/heads/", "refs/remotes/origin/", 1) if ref.startswith("refs/heads/") else ref
            if ref not in ("refs/heads/HEAD", "refs/remotes/origin/main"):  # a clone has a use of its own for these
                assert found.get(place) == oid, (name, ref)
        assert head(clone / ".git") == branch
        assert git("-C", clone, "remote", "get-url", "origin").decode().strip() == f"{SERVER}/{name}.git"
        assert git("-C", clone, "status", "--porcelain") == b""
        if branch in source:
            content = files(whole.organisation.sources[name], branch)
            assert {path: (clone / path).read_bytes() for path in content} == content
            assert content
    check_again(whole, *command)


# -- what may lie in the way ---------------------------------------------------------------------


def test_another_repository_in_the_place_is_left_alone_and_the_others_are_fetched(vault: Vault) -> None:
    vault.store(FIRST, API, "acme/fork", EMPTY)
    into = vault.folder / "out"
    for name in (API, EMPTY):
        shutil.copytree(vault.organisation.sources["acme/public"], into / f"{name}.git")
    before = served_refs(into / "acme/api.git")
    run = vault.restore("fetch", "--all", "--into", into, "--as", "mirrors")
    assert run.code == 1
    assert run.failures.keys() == {API, EMPTY}
    assert "move it away" in run.failures[API]
    assert "move it away" in run.failures[EMPTY]
    assert served_refs(into / "acme/api.git") == before
    assert served_refs(into / "acme/fork.git") == vault.organisation.refs("acme/fork")


@pytest.mark.parametrize("thing", ["file", "folder"])
def test_what_is_no_repository_is_left_alone(vault: Vault, thing: str) -> None:
    (entry,) = entries_of(vault.store(FIRST, API))
    place = vault.folder / "out" / "acme" / "api"
    (place if thing == "folder" else place.parent).mkdir(parents=True)
    if thing == "file":
        place.write_text("mine")
    with pytest.raises(FetchError, match="already exists and can't be read as a repository"):
        fetch(vault, entry, "clones")
    assert place.is_dir() or place.read_text() == "mine"


def test_a_clone_with_new_work_in_it_is_left_as_it_is(vault: Vault) -> None:
    (entry,) = entries_of(vault.store(FIRST, API))
    fetch(vault, entry, "clones")
    clone = vault.folder / "out" / API
    (clone / "new.txt").write_text("new")
    git("-C", clone, "add", ".")
    git("-C", clone, "commit", "--quiet", "--message=new")
    assert fetch(vault, entry, "clones") == "already there"
    assert (clone / "new.txt").exists()


@pytest.mark.parametrize("rest", ["beginning", "other", "longer", "same size"])
def test_what_an_earlier_download_left_is_continued_or_replaced(vault: Vault, rest: str) -> None:
    manifest = vault.store(FIRST, HEAVY)
    (entry,) = entries_of(manifest)
    body = vault.read(manifest["repos"][0])
    left = {
        "beginning": body[: len(body) // 2],
        "other": b"?" * 1000,
        "longer": body + b"?",
        "same size": body[:-1] + bytes([body[-1] ^ 1]),
    }[rest]
    path = vault.folder / "heavy.bundle"
    path.with_name("heavy.bundle.part").write_bytes(left)
    arrived: list[int] = []
    with S3Proxy(vault.stack.s3.url) as proxy:
        vault.client = type(vault.stack.s3)(proxy.url).client()
        assert vault.reader().download(entry, path, arrived.append) is True
        gets = [request for request in proxy.requests if request.startswith("GET")]
    assert path.read_bytes() == body
    assert not path.with_name("heavy.bundle.part").exists()
    assert len(gets) == {"beginning": 1, "other": 2, "longer": 1, "same size": 1}[rest]
    assert sum(arrived) == len(body)


def test_a_connection_that_breaks_is_taken_up_where_it_broke(vault: Vault, vault_proxy: S3Proxy) -> None:
    manifest = vault.store(FIRST, HEAVY)
    vault_proxy.faults = [S3Fault(r"GET .*/heavy\.bundle", "cut", times=2)]
    run = vault.restore("fetch", HEAVY, "--into", vault.folder / "out")
    assert run.code == 0, run.stderr
    assert (vault.folder / "out" / f"{HEAVY}.bundle").read_bytes() == vault.read(manifest["repos"][0])
    assert len(run.named("retrying")) == 2
    assert len([request for request in vault_proxy.requests if "heavy.bundle" in request]) == 3


def test_a_connection_that_always_breaks_fails_its_repository_alone(vault: Vault, vault_proxy: S3Proxy) -> None:
    vault.store(FIRST, HEAVY, API)
    vault_proxy.faults = [S3Fault(r"GET .*/heavy\.bundle", "cut")]
    run = vault.restore("fetch", "--all", "--into", vault.folder / "out")
    assert run.code == 1
    assert run.failures.keys() == {HEAVY}
    assert (vault.folder / "out" / f"{API}.bundle").exists()
    vault_proxy.faults = []
    assert vault.restore("fetch", "--all", "--into", vault.folder / "out").code == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "Ctrl-C"])
def test_a_stopped_fetch_goes_on_where_it_was(vault: Vault, vault_proxy: S3Proxy, number: signal.Signals) -> None:
    vault.store(FIRST, HEAVY, API)
    vault_proxy.faults = [S3Fault(r"GET .*/heavy\.bundle", "slow", times=1)]
    report = vault.folder / "report.json"
    options = ("--into", str(vault.folder / "out"), "--as", "mirrors", "--report", str(report))
    process = vault.start("fetch", HEAVY, API, "no/such", *options)
    part = vault.folder / "out" / PARTIAL_FOLDER

    def begun() -> None:
        assert [file for file in part.glob("*.part") if file.stat().st_size >= 1024**2]

    wait_until(begun, "the download that is stopped")
    process.send_signal(number)
    stopped = vault.end(process)
    assert stopped.code == 143
    assert "run the same command to continue" in stopped.events[-1]["event"]
    assert stopped.named("fetch stopped")[0]["exit_code"] == 143
    assert list(part.glob("*.part"))
    told = json.loads(report.read_text())
    assert HEAVY in told["repositories_left"]
    assert {*told["repositories_left"], *told["repositories_done"]} == {HEAVY, API}
    assert [failure["full_name"] for failure in told["failures"]] == ["no/such"]
    again = vault.restore("fetch", "--all", *options)
    assert again.code == 0, again.stderr
    ranges = [request for request in vault_proxy.requests if "heavy.bundle" in request]
    assert len(ranges) == 2
    assert served_refs(vault.folder / "out" / f"{HEAVY}.git") == vault.organisation.refs(HEAVY)
    assert not part.exists()


def test_a_server_that_never_answers_does_not_keep_a_stopped_fetch(vault: Vault, vault_proxy: S3Proxy) -> None:
    vault.store(FIRST, API)
    vault_proxy.faults = [S3Fault(r"GET .*/api\.bundle", "hang")]
    process = vault.start("fetch", "--all", "--into", vault.folder / "out")
    wait_until(
        lambda: _assert(any("api.bundle" in request for request in vault_proxy.requests)), "the request that hangs"
    )
    process.send_signal(signal.SIGTERM)
    assert vault.end(process).code == 143


def _assert(condition: object) -> None:
    assert condition


# -- what may be wrong in the bucket -------------------------------------------------------------


def test_what_is_missing_or_spoiled_costs_no_other_repository(vault: Vault) -> None:
    names = (API, "acme/fork", "acme/public", "acme/archived", "acme/gitlinks", "acme/odd-tags")
    manifest = vault.store(FIRST, *names)
    by_name = {entry["full_name"]: entry for entry in manifest["repos"]}
    vault.destroy(by_name["acme/fork"])
    vault.client.delete_object(Bucket=vault.bucket, Key=by_name["acme/public"]["s3_key"])
    vault.client.put_object(Bucket=vault.bucket, Key=by_name["acme/archived"]["s3_key"], Body=b"ransom")
    vault.destroy(by_name["acme/gitlinks"])
    vault.client.put_object(Bucket=vault.bucket, Key=by_name["acme/gitlinks"]["s3_key"], Body=b"ransom")
    by_name["acme/odd-tags"]["sha256"] = "0" * 64
    vault.write(FIRST, manifest)
    into = vault.folder / "out"
    run = vault.restore("fetch", "--all", "--into", into)
    assert run.code == 1
    assert run.failures.keys() == {"acme/fork", "acme/gitlinks", "acme/odd-tags"}
    assert "NoSuchKey" in run.failures["acme/fork"] or "NoSuchVersion" in run.failures["acme/fork"]
    assert f"{vault.bucket}/" in run.failures["acme/fork"]
    assert "SHA-256" in run.failures["acme/odd-tags"]
    for name in (API, "acme/public", "acme/archived"):
        assert bundled_refs(into / f"{name}.bundle") == vault.organisation.refs(name)
    assert sorted(path.name for path in into.rglob("*.*")) == ["api.bundle", "archived.bundle", "public.bundle"]


def test_a_copy_of_the_bucket_with_other_version_ids_serves_as_well(vault: Vault) -> None:
    manifest = vault.store(FIRST, API, "acme/fork", "acme/public")
    api, fork, public = manifest["repos"]
    api["version_id"] = "3LgKh0mQ6jVKY8cPVN4YV7vPo0yJ3W9q"  # of the form that AWS gives out
    fork["version_id"] = fork["version_id"][::-1]
    public["version_id"] = None
    vault.write(FIRST, manifest)
    run = vault.restore("fetch", "--all", "--into", vault.folder / "out")
    assert run.code == 0, run.stderr


def test_the_right_bytes_are_found_under_another_version(vault: Vault) -> None:
    """In a copy of the bucket the version of the manifest is unknown, and the newest one is somebody's garbage."""
    manifest = vault.store(FIRST, API)
    entry = manifest["repos"][0]
    body = vault.read(entry)
    vault.client.put_object(Bucket=vault.bucket, Key=entry["s3_key"], Body=bytes(len(body)))
    entry["version_id"] = entry["version_id"][::-1]
    path = vault.folder / "api.bundle"
    assert vault.reader().download(next(entries_of(manifest)), path, no_bytes)
    assert path.read_bytes() == body
    assert {event["event"] for event in vault.events} == {"trying another version of the object"}


def test_a_header_counts_only_if_its_refs_are_those_of_the_manifest(vault: Vault) -> None:
    manifest = vault.store(FIRST, API)
    other = vault.store(FIRST, "acme/fork")["repos"][0]
    (entry,) = manifest["repos"]
    vault.client.put_object(Bucket=vault.bucket, Key=entry["s3_key"], Body=vault.read(other))
    entry["version_id"] = entry["version_id"][::-1]
    refs = vault.reader().header(next(entries_of(manifest))).refs
    assert {name.decode(): oid.decode() for name, oid in refs.items()} == vault.organisation.refs(API)
    vault.destroy(entry)
    vault.client.put_object(Bucket=vault.bucket, Key=entry["s3_key"], Body=vault.read(other))
    with pytest.raises(DownloadError, match="do not match the manifest"):
        vault.reader().header(next(entries_of(manifest)))


@pytest.mark.parametrize("versions_denied", [True, False], ids=["versions too", "objects alone"])
def test_a_denied_object_is_said_and_the_others_are_fetched(
    vault: Vault, vault_proxy: S3Proxy, versions_denied: bool
) -> None:
    vault.store(FIRST, API, "acme/fork")
    vault_proxy.faults = [S3Fault(r"GET .*/api\.bundle", "deny"), S3Fault(r"GET .*\?.*versions", "deny")]
    vault_proxy.faults = vault_proxy.faults[: 2 if versions_denied else 1]
    run = vault.restore("fetch", "--all", "--into", vault.folder / "out")
    assert run.code == 1
    assert run.failures.keys() == {API}
    assert "AccessDenied" in run.failures[API]
    assert "s3:GetObject" in run.failures[API]


def test_whoever_may_only_read_can_fetch(vault: Vault) -> None:
    vault.store(FIRST, API)
    run = vault.restore(
        "fetch", API, "--into", vault.folder / "out", AWS_ACCESS_KEY_ID=READER[0], AWS_SECRET_ACCESS_KEY=READER[1]
    )
    assert run.code == 0, run.stderr


# -- a manifest that lies ------------------------------------------------------------------------


def change(manifest: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return manifest | {"repos": [entry | fields for entry in manifest["repos"]]}


@pytest.mark.parametrize("form", ["mirrors", "clones"])
def test_refs_that_the_manifest_did_not_count_are_no_restore(vault: Vault, form: Form) -> None:
    manifest = change(vault.store(FIRST, API), refs_sha256="0" * 64)
    with pytest.raises(UnbundleError, match="do not match the manifest"):
        fetch(vault, next(entries_of(manifest)), form)
    assert not (vault.folder / "out" / API).exists()


def test_a_wrong_size_is_no_restore(vault: Vault) -> None:
    manifest = change(vault.store(FIRST, API), size_bytes=1)
    with pytest.raises(DownloadError):
        vault.reader().download(next(entries_of(manifest)), vault.folder / "x", no_bytes)
    assert not (vault.folder / "x").exists()


def test_forged_entries_fail_alone_and_write_nothing(vault: Vault) -> None:
    """`git status` in a folder acme/.git of somebody else's making would run what its configuration says."""
    manifest = vault.store(FIRST, API, "acme/fork")
    api, fork = manifest["repos"]
    names = (".git", ".GIT", ".giT", ".", "..", "../../escaped", "a/b", "a b", "")
    forged = [api | {"full_name": f"acme/{name}", "name": name, "id": 1000 + i} for i, name in enumerate(names)]
    forged += [
        api | {"full_name": "../api", "owner": ".."},
        api | {"full_name": "acme/other", "id": 7},
        api | {"id": "../../../escaped"},
        api | {"default_branch": "\u001b[2J"},
    ]
    vault.write(FIRST, manifest | {"repos": [*forged, fork]})
    into = vault.folder / "in" / "out"
    run = vault.restore("fetch", "--all", "--into", into, "--as", "clones")
    assert run.code == 1
    assert len(run.named("failed")) == len(forged)
    assert run.failures.keys() == {entry["full_name"] for entry in forged}
    assert "the manifest's entry is broken" in run.failures["acme/.GIT"]
    assert "\x1b" not in run.stderr
    assert list((vault.folder / "in").glob("*/*")) == [into / "acme"]
    assert list((into / "acme").iterdir()) == [into / "acme" / "fork"]


def test_names_that_look_like_options_are_restored(vault: Vault) -> None:
    manifest = vault.store(FIRST, API)
    names = ("-", "-x-", "--all")
    entries = [
        manifest["repos"][0] | {"full_name": f"acme/{name}", "name": name, "id": 1000 + i}
        for i, name in enumerate(names)
    ]
    vault.write(FIRST, manifest | {"repos": entries})
    for form, suffix in (("bundles", ".bundle"), ("mirrors", ".git"), ("clones", "")):
        run = vault.restore("fetch", "--all", "--into", vault.folder / form, "--as", form)
        assert run.code == 0, run.stderr
        assert {path.name for path in (vault.folder / form / "acme").iterdir()} == {f"{name}{suffix}" for name in names}


@pytest.mark.parametrize("form", ["bundles", "mirrors", "clones"])
def test_what_is_no_bundle_of_the_repository_is_not_kept(vault: Vault, form: Form) -> None:
    """The checksums in the manifest are right: whoever wrote it wrote the objects too."""
    manifest = vault.store(FIRST, API, "acme/fork")
    api, fork = manifest["repos"]
    garbage = vault.put(FIRST, "acme/garbage", b"#!/bin/sh\necho pwned\n", name_of=API)
    other = vault.put(FIRST, "acme/other", vault.read(fork), name_of=API)
    cut = vault.put(FIRST, "acme/cut", vault.read(api)[:100], name_of=API)
    entries = [
        entry | {"full_name": f"acme/{name}", "name": name, "id": 1000 + number}
        for number, (name, entry) in enumerate({"garbage": garbage, "other": other, "cut": cut}.items())
    ]
    vault.write(FIRST, manifest | {"repos": [*entries, fork]})
    into = vault.folder / "out"
    run = vault.restore("fetch", "--all", "--into", into, "--as", form)
    assert run.code == 1
    assert run.failures.keys() == {"acme/garbage", "acme/other", "acme/cut"}
    assert "does not start like a git bundle" in run.failures["acme/garbage"]
    assert "do not match the manifest" in run.failures["acme/other"]
    suffix = {"bundles": ".bundle", "mirrors": ".git", "clones": ""}[form]
    assert list(into.iterdir()) == [into / "acme"]
    assert list((into / "acme").iterdir()) == [into / "acme" / f"fork{suffix}"]


def test_a_file_that_is_no_bundle_is_not_taken_for_one_that_was_fetched(vault: Vault) -> None:
    manifest = vault.store(FIRST, API)
    vault.write(FIRST, manifest | {"repos": [vault.put(FIRST, API, b"garbage")]})
    place = vault.folder / "out" / f"{API}.bundle"
    place.parent.mkdir(parents=True)
    place.write_bytes(b"garbage")
    run = vault.restore("fetch", API, "--into", vault.folder / "out")
    assert "does not start like a git bundle" in run.failures[API]


# -- headers -------------------------------------------------------------------------------------


def ranges_asked(vault: Vault, body: bytes) -> tuple[list[tuple[int, int]], str]:
    """Return the byte ranges that are asked for to read the header of a bundle, and the error."""
    (entry,) = entries_of(vault.store(FIRST) | {"repos": [vault.put(FIRST, API, body)]})
    asked: list[tuple[int, int]] = []

    def note(params: dict[str, Any], **_: Any) -> None:
        first, last = params["Range"].removeprefix("bytes=").split("-")
        asked.append((int(first), int(last)))

    vault.client = vault.stack.s3.new_client()
    vault.client.meta.events.register("provide-client-params.s3.GetObject", note)
    with pytest.raises(DownloadError) as error:
        vault.reader().header(entry)
    return asked, str(error.value)


def test_a_header_with_a_wrong_signature_is_read_no_further(vault: Vault) -> None:
    asked, error = ranges_asked(vault, bytes(10_000_000))
    assert asked == [(0, FIRST_HEADER_SIZE - 1)]
    assert "does not start like a git bundle" in error


def test_a_header_without_an_end_is_read_to_a_limit_and_no_byte_twice(vault: Vault) -> None:
    asked, error = ranges_asked(vault, b"# v2 git bundle\n" + bytes(MAX_HEADER + 10_000_000))
    assert asked[-1][1] == MAX_HEADER - 1
    assert [first for first, _ in asked[1:]] == [last + 1 for _, last in asked[:-1]]
    assert "a line of the header is too long" in error


def test_a_file_without_a_whole_pack_is_no_bundle(vault: Vault) -> None:
    whole = vault.read(vault.store(FIRST, API)["repos"][0])
    header = whole.partition(b"\n\n")[0] + b"\n\n"
    into = vault.folder / "into"
    for forged in (header, whole[:-1], whole[:-1] + bytes([whole[-1] ^ 1])):
        vault.write(FIRST, vault.store(FIRST) | {"repos": [vault.put(FIRST, API, forged)]})
        for form in ("bundles", "mirrors"):
            assert API in vault.restore("fetch", API, "--date", FIRST, "--into", into, "--as", form).failures
    assert not list(into.glob("acme/*")), "nothing that is no bundle stays"


# -- this machine --------------------------------------------------------------------------------


def test_the_machines_git_configuration_is_not_used(vault: Vault) -> None:
    vault.store(FIRST, API)
    hooks = vault.folder / "hooks"
    hooks.mkdir()
    (hooks / "post-checkout").write_text(f"#!/bin/sh\ntouch {vault.folder}/ran\n")
    (hooks / "post-checkout").chmod(0o755)
    (vault.folder / ".gitconfig").write_text(
        f'[core]\n\thooksPath = {hooks}\n[url "ext::false"]\n\tinsteadOf = /\n[fetch]\n\tfsckObjects = true\n'
    )
    (vault.folder / ".netrc").write_text("default login x password y\n")
    run = vault.restore("fetch", API, "--into", vault.folder / "out", "--as", "clones", GIT_DIR="/nowhere")
    assert run.code == 0, run.stderr
    assert not (vault.folder / "ran").exists()


@pytest.mark.skipif(not namespaces_work(), reason="a small file system needs unshare and user namespaces")
def test_a_full_disk_costs_no_other_repository(vault: Vault) -> None:
    vault.store(FIRST, HEAVY, API)
    into = vault.folder / "out"
    into.mkdir()
    run = vault.restore("fetch", "--all", "--into", into, prefix=tuple(small_disk(into, 3)))
    assert run.code == 1
    assert run.failures.keys() == {HEAVY}
    assert "No space left on device: 5.0 MB needed" in run.failures[HEAVY]
    assert [event["full_name"] for event in run.named("fetched")] == [API]


@pytest.mark.skipif(not namespaces_work(), reason="a small file system needs unshare and user namespaces")
@pytest.mark.parametrize("form", ["bundles", "mirrors"])
def test_repositories_that_fill_the_disk_together_are_fetched_one_by_one(
    vault: Vault, vault_proxy: S3Proxy, form: str
) -> None:
    """Each would fit alone. Both start at once, and both may find the disk full: then one of them must still come."""
    manifest = vault.store(FIRST, HEAVY, API)
    heavy, api = sorted(manifest["repos"], key=lambda entry: -entry["size_bytes"])
    twin = heavy | {"full_name": "acme/twin", "name": "twin", "id": 7}
    vault.write(FIRST, manifest | {"repos": [heavy, twin, api]})
    vault_proxy.faults = [S3Fault(r"GET .*/heavy\.bundle", "slow")]
    into = vault.folder / "out"
    into.mkdir()
    megabytes = {"bundles": 8, "mirrors": 13}[form]
    run = vault.restore("fetch", "--all", "--into", into, "--as", form, prefix=tuple(small_disk(into, megabytes)))
    assert run.code == 1
    assert len(run.failures) == 1
    assert run.failures.keys() < {HEAVY, "acme/twin"}
    fetched = {event["full_name"] for event in run.named("fetched")}
    assert fetched | run.failures.keys() == {HEAVY, "acme/twin", API}
    assert run.named("disk full, retrying alone")


@pytest.mark.skipif(not namespaces_work(), reason="a read-only file system needs unshare and user namespaces")
def test_a_folder_that_can_not_be_written_is_said(vault: Vault) -> None:
    vault.store(FIRST, API)
    into = vault.folder / "read-only"
    into.mkdir()
    script = f'mount -t tmpfs -o ro none "{into}" && exec "$@"'
    run = vault.restore("fetch", API, "--into", into, prefix=(*UNSHARE, "sh", "-c", script, "sh"))
    assert run.code == 1
    assert "Read-only file system" in run.stderr


def test_a_file_where_the_folder_should_be_is_said(vault: Vault) -> None:
    (vault.folder / "file").write_text("mine")
    run = vault.restore("fetch", API, "--into", vault.folder / "file" / "out")
    assert run.code == 1
    assert "Not a directory" in run.problems[0]


@pytest.mark.parametrize("workers", [1, 3])
def test_as_many_are_fetched_at_once_as_asked_for(vault: Vault, vault_proxy: S3Proxy, workers: int) -> None:
    vault.store(FIRST, API, "acme/fork", "acme/public", "acme/archived", "acme/gitlinks")
    vault_proxy.faults = [S3Fault(r"GET .*\.bundle", "slow")]
    into = str(vault.folder / "out")
    assert vault.restore("fetch", "--all", "--into", into, "--concurrency", str(workers)).code == 0
    assert vault_proxy.most_at_once == workers


def test_a_person_at_a_terminal_sees_a_bar_and_whole_lines(vault: Vault, vault_proxy: S3Proxy) -> None:
    vault.store(FIRST, API, HEAVY, failures=[{"full_name": "acme/huge", "stage": "clone", "error": "too big"}])
    vault_proxy.faults = [S3Fault(r"GET .*/heavy\.bundle", "slow")]
    code, output = vault.on_terminal("fetch", "--all", "--into", vault.folder / "out")
    assert code == 1, output
    assert "Traceback" not in output
    assert re.search(r"fetching \d/2(, \d+ min left)?: +\d+%\|", output)
    lines = [line.rpartition("\r")[2] for line in output.replace("\r\n", "\n").splitlines()]
    said = [re.sub(r"\x1b\[\d*[mA-Z]", "", line)[9:] for line in lines if re.match(r"(\x1b\[\d+m)?\d\d:", line)]
    assert said[0].startswith("about to fetch: 2 repositories, 5.0 MB, git=5.0 MB, disk_free=")
    assert said[1].startswith("fetched acme/api: ")
    assert said[2].startswith("fetched acme/heavy: 5.0 MB, 1 refs")
    assert said[3] == "failed acme/huge: error=not in this backup: clone: too big"
    assert said[4].startswith("fetch finished: ")


# -- wrong usage ---------------------------------------------------------------------------------


def test_two_commands_in_one_folder_and_a_machine_without_git_are_told(whole: Vault, tmp_path: Path) -> None:
    into = tmp_path / "into"
    into.mkdir()
    other = os.open(into, os.O_RDONLY)
    fcntl.flock(other, fcntl.LOCK_EX)
    assert whole.restore("fetch", API, "--into", into).problems == [
        f"another command is working in {into}: wait until it has ended"
    ]
    os.close(other)
    assert whole.restore("fetch", API, "--into", into).code == 0
    assert whole.restore("fetch", API, "--into", into, PATH=str(tmp_path)).problems == [
        "git is not installed here: install git 2.30 or newer"
    ]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "COMMAND"),
        (("fetch", "--into", "x"), "--all"),
        (("fetch", API, "--all", "--into", "x"), "--all"),
        (("fetch", API), "--into"),
        (("fetch", API, "--into", "x", "--as", "tarballs"), "--as"),
        (("fetch", API, "--into", "x", "--concurrency", "0"), "whole number"),
        (("list", "--date", "yesterday"), "not a date"),
        (("list", "--run", "abc"), "--date"),
        (("list", "--bucket", "s3://backups/"), "the bare name of a bucket"),
        (("diff", FIRST), "DATE"),
        (("verify", "--within-days", "7"), "--every-hours"),
        (("verify", "--within-days", "7", "--every-hours", "24"), "--report s3://"),
        (("verify", "--within-days", "7", "--every-hours", "24", "--report", "file.json"), "--report s3://"),
        (("verify", "--all", "--report", "s3://"), "s3://BUCKET/PREFIX/"),
        (("verify", "--all", "--report", "s3://bucket"), "s3://BUCKET/PREFIX/"),
        (("verify", "--all", "--within-days", "7", "--every-hours", "24", "--report", "s3://b/p/"), "--all"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_wrong_usage_is_explained(
    arguments: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("S3_BUCKET", "backups")
    with pytest.raises(SystemExit) as exit_info:
        parse(list(arguments))
    assert exit_info.value.code == 2
    assert said in capsys.readouterr().err


def test_a_bucket_must_be_named(vault: Vault) -> None:
    run = vault.restore("list", S3_BUCKET=None)
    assert run.code == 2
    assert "--bucket" in run.stderr
