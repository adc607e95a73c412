"""Backups that somebody with access to the bucket forged, and machines that end: a restore stays what it is."""

import hashlib
import json
import signal
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from embedded.real_git import git, served_refs
from github_s3_backup.git.refs import refs_sha256
from github_s3_backup.program import LOCK, scratch_folder
from github_s3_backup.records.lfs_list import LfsList
from github_s3_backup.restore.verify.drill import Reports
from github_s3_backup.runtime.logs import new_logger
from github_s3_backup.runtime.redaction import Redactor, printable
from github_s3_backup.s3 import download, objects
from github_s3_backup.s3.download import DownloadError
from github_s3_backup.s3.errors import DamagedError
from github_s3_backup.s3.objects import Objects
from support.vault import FIRST, PREFIX, Vault, entries_of
from support.vault_content import store_bundle

API = "acme/api"
MAIN = b"what is committed"


def make_source(vault: Vault, name: str = "source") -> Path:
    path = vault.folder / name
    git("init", "--quiet", "--initial-branch=main", path)
    (path / "file").write_bytes(MAIN)
    git("-C", path, "add", ".")
    git("-C", path, "commit", "--quiet", "--message=first")
    return path


def store(vault: Vault, source: Path) -> dict[str, object]:
    entry = store_bundle(vault, FIRST, API, source)
    vault.store(FIRST, repos=[entry])
    return entry


# -- what git obeys ------------------------------------------------------------------------------


def test_replacements_change_nothing_of_what_is_restored(vault: Vault) -> None:
    source = make_source(vault)
    old = git("-C", source, "rev-parse", "HEAD:file").decode().strip()
    new = git("-C", source, "hash-object", "-w", "--stdin", stdin=b"forged").decode().strip()
    git("-C", source, "update-ref", f"refs/replace/{old}", new)
    store(vault, source)
    into = vault.folder / "out"
    clone = vault.restore("fetch", API, "--into", into, "--as", "clones")
    assert clone.code == 0, clone.stderr
    assert (into / "acme/api/file").read_bytes() == MAIN
    assert git("-C", into / "acme/api", "show", "HEAD:file") == MAIN
    assert served_refs(into / "acme/api")[f"refs/kept-replace/{old}"] == new
    assert "not obeyed" in clone.named("clone not as on GitHub")[0]["remark"]
    assert vault.restore("fetch", API, "--into", into, "--as", "clones").named("already there")
    mirror = vault.restore("fetch", API, "--into", into, "--as", "mirrors")
    assert mirror.code == 0, mirror.stderr
    assert git(f"--git-dir={into / 'acme/api.git'}", "show", "HEAD:file") == MAIN
    assert f"refs/replace/{old}" in served_refs(into / "acme/api.git")
    report = json.loads(vault.restore("verify", API).stdout)
    assert "1 refs in refs/replace" in " ".join(report["repositories"][0]["remarks"])


def test_a_mirror_pushes_one_branch_and_not_everything(vault: Vault) -> None:
    vault.store(FIRST, API)
    into = vault.folder / "out"
    assert vault.restore("fetch", API, "--into", into, "--as", "mirrors").code == 0
    config = f"--git-dir={into / 'acme/api.git'}"
    assert git(config, "config", "remote.origin.url").decode().strip() == "https://github.com/acme/api.git"
    assert git(config, "config", "--type=bool", "remote.origin.mirror").strip() == b"false"


# -- what this disk can't hold -------------------------------------------------------------------


def test_a_clone_without_a_file_or_a_ref_is_better_than_none(vault: Vault) -> None:
    source = make_source(vault)
    tree = git("-C", source, "rev-parse", "HEAD^{tree}").decode().strip()
    for _ in range(30):  # a path of more than 4096 bytes
        line = f"040000 tree {tree}\t{'d' * 200}\n"
        tree = git("-C", source, "mktree", stdin=line.encode()).decode().strip()
    head = git("-C", source, "rev-parse", "HEAD").decode().strip()
    commit = git("-C", source, "commit-tree", tree, "-p", head, "-m", "too long").decode().strip()
    git("-C", source, "update-ref", "refs/heads/main", commit)
    git("-C", source, "update-ref", "refs/remotes/origin/main", head)
    # Too long for a file of its own, as refs in a single file may be.
    git("-C", source, "pack-refs", "--all")
    packed = source / ".git/packed-refs"
    title, *lines = packed.read_text().splitlines()
    lines = sorted([*lines, f"{head} refs/heads/{'n' * 251}"], key=lambda line: line.split()[1])
    packed.write_text("\n".join([title, *lines, ""]))
    store(vault, source)
    into = vault.folder / "out"
    run = vault.restore("fetch", API, "--into", into, "--as", "clones")
    assert run.code == 0, run.stderr
    remarks = " ".join(event["remark"] for event in run.named("clone not as on GitHub"))
    assert "some files can't be on this disk" in remarks
    assert "1 refs are in no clone (refs/remotes/origin/main)" in remarks
    clone = into / "acme/api"
    assert git("-C", clone, "rev-parse", "HEAD").decode().strip() == commit
    assert served_refs(clone)["refs/remotes/origin/" + "n" * 251] == head
    assert vault.restore("fetch", API, "--into", into, "--as", "clones").named("already there")


def test_a_damaged_mirror_is_not_already_there(vault: Vault) -> None:
    vault.store(FIRST, API)
    into = vault.folder / "out"
    arguments = ("fetch", API, "--into", into, "--as", "mirrors")
    assert vault.restore(*arguments).code == 0
    (pack,) = (into / "acme/api.git/objects/pack").glob("*.pack")
    pack.chmod(0o644)
    content = bytearray(pack.read_bytes())
    for spoiled in (content[:-100], content[:50] + bytes([content[50] ^ 1]) + content[51:]):
        pack.write_bytes(spoiled)
        run = vault.restore(*arguments)
        assert "is damaged" in run.failures[API]
        assert "move it away" in run.failures[API]


# -- forged text ---------------------------------------------------------------------------------

FORGED = 'no\n04:00:00 push finished: failed=0\u202egnp\u2028{"event": "push finished"}'


def test_foreign_text_is_one_line_wherever_it_is_shown(vault: Vault) -> None:
    failure = {"full_name": "acme/lost", "id": 7, "stage": "clone", "error": FORGED, "partial": None, "not_stored": []}
    entry = vault.copy(FIRST, API) | {"not_read": [{"content": "releases", "error": FORGED}]}
    vault.store(FIRST, repos=[entry], failures=[failure])
    code, output = vault.on_terminal("fetch", "--all", "--into", vault.folder / "out", "--date", FIRST)
    assert code == 1
    assert "no\\n04:00:00" in output
    for run in (output, vault.restore("check").stdout):
        assert not any(line.startswith("04:00:00 push finished") for line in run.splitlines())
        assert "\u202e" not in run
        assert "\u2028" not in run


def test_a_traceback_keeps_its_lines_and_the_words_in_it_do_not_forge_any(vault: Vault) -> None:
    log = new_logger(vault.log_lines, Redactor())
    try:
        raise ValueError(FORGED)
    except ValueError:
        log.exception("bug, please report it")
    (event,) = vault.events
    assert "\n  File " in event["exception"]
    assert printable(FORGED).isprintable()


def test_no_value_of_a_manifest_ends_with_a_line_break(vault: Vault) -> None:
    for field in ("sha256", "default_branch", "s3_key", "backed_up_at"):
        entry = vault.copy(FIRST, API)
        vault.store(FIRST, repos=[entry | {field: f"{entry[field]}\n"}])
        run = vault.restore("fetch", API, "--into", vault.folder / "out", "--date", FIRST)
        assert "the manifest's entry is broken" in run.failures[API], field


# -- forged sizes --------------------------------------------------------------------------------


def test_nothing_is_read_whole_that_is_larger_than_it_can_be(vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "LARGEST_LIST", 100)
    monkeypatch.setattr(objects, "LARGEST_DOCUMENT", 100)
    body = LfsList(full_name=API, checked_at="2025-11-20T04:00:00Z", objects=(), missing=()).to_json() + b" " * 200
    (entry,) = entries_of(vault.write(FIRST, vault.store(FIRST, API) | {"repos": [vault.put(FIRST, API, body)]}))
    with pytest.raises(DownloadError, match="too large for a list"):
        vault.reader().read(entry)
    with pytest.raises(DamagedError, match="too many for a document"):
        Objects(vault.client, vault.bucket).get(str(entry.s3_key))


def test_what_ends_after_its_header_is_no_bundle(vault: Vault) -> None:
    header = b"# v2 git bundle\n" + b"1" * 40 + b" refs/heads/main\n\n"
    for pack in (b"", b"PACK" + bytes(100)):
        refs = refs_sha256({b"refs/heads/main": b"1" * 40})
        vault.store(FIRST, repos=[vault.put(FIRST, API, header + pack, refs)])
        run = vault.restore("fetch", API, "--into", vault.folder / "out", "--date", FIRST)
        assert "does not match its own checksum" in run.failures[API]
        assert not list((vault.folder / "out" / "acme").glob("*"))


# -- forged ids ----------------------------------------------------------------------------------


def test_an_id_that_is_there_twice_breaks_no_other_repository(vault: Vault) -> None:
    good, forged = vault.copy(FIRST, API), vault.copy(FIRST, "acme/fork")
    vault.store(FIRST, repos=[good, forged | {"id": good["id"]}])
    run = vault.restore("fetch", "--all", "--into", vault.folder / "out", "--date", FIRST)
    assert run.failures.keys() == {"acme/fork"}
    assert f"{API} has the id {good['id']} too" in run.failures["acme/fork"]
    assert hashlib.sha256((vault.folder / "out/acme/api.bundle").read_bytes()).hexdigest() == good["sha256"]


# -- a wrong clock -------------------------------------------------------------------------------


def test_a_drill_report_of_the_future_counts_for_nothing(vault: Vault) -> None:
    reports, now = Reports(Objects(vault.client, vault.bucket), f"{PREFIX}-drills"), datetime.now(UTC)
    good, future = now - timedelta(days=3), now + timedelta(days=300)
    times = {"1": f"{good:%Y-%m-%dT%H:%M:%SZ}", "2": f"{future:%Y-%m-%dT%H:%M:%SZ}"}
    for moment in (good, future):
        reports.put({"started_at": f"{moment:%Y-%m-%dT%H:%M:%SZ}", "last_proven": times, "waiting_since": {}})
    history = reports.history(now)
    assert history.proven.keys() == {1}


# -- ends ----------------------------------------------------------------------------------------


def test_a_closed_terminal_ends_a_restore_and_all_that_it_started(vault: Vault) -> None:
    vault.store(FIRST, "acme/heavy")
    process = vault.start("verify", "--all")
    while not list(vault.scratch.glob("github-restore-*/home")):
        assert process.poll() is None
    process.send_signal(signal.SIGHUP)
    run = vault.end(process)
    assert run.code in (143, 0)  # 0: it was done already


def test_what_a_killed_process_has_left_is_removed_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    killed, foreign = tmp_path / "github-restore-killed", tmp_path / "github-restore-foreign"
    for folder in (killed, foreign):
        folder.mkdir()
        (folder / "pack").write_bytes(bytes(1000))
    (killed / LOCK).touch()
    with scratch_folder("github-restore-") as first, scratch_folder("github-restore-") as second:
        assert first.exists()
        assert second.exists()
        assert not killed.exists()
        assert foreign.exists()
    assert list(tmp_path.iterdir()) == [foreign]
