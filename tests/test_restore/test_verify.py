"""`verify`: what restores is proven, what does not is named with the stage, and the report and metrics say both."""

import json
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest

from embedded.organisation import Stream
from embedded.ports import wait_until
from embedded.real_git import git
from embedded.s3 import READER
from embedded.s3_proxy import S3Fault, S3Proxy
from github_s3_backup.git.refs import refs_sha256
from github_s3_backup.restore.selection.older import OlderBackups, OlderBundles
from github_s3_backup.restore.selection.records import Selected
from github_s3_backup.restore.unbundle import MirrorSource
from github_s3_backup.restore.verify.repository import Verified, Verifier
from github_s3_backup.restore.workers import Pool
from github_s3_backup.runtime.capacity import machine_capacity
from support.vault import FIRST, SECOND, Vault, entries_of

API, HEAVY = "acme/api", "acme/heavy"


def verify(vault: Vault, entry: dict[str, Any]) -> Verified:
    """Verify one repository with the parts of the program alone."""
    scratch = vault.folder / "parts"
    scratch.mkdir()
    capacity = machine_capacity(scratch, vault.stop)
    (parsed,) = entries_of(vault.organisation.manifest | {"repos": [entry]})
    selected = Selected(parsed, FIRST)
    older = OlderBundles(OlderBackups(vault.catalogue(), vault.log), vault.reader())
    verifier = Verifier(MirrorSource(vault.reader(), vault.git()), older, capacity, Pool(2, vault.stop), scratch)
    result = verifier.verify(selected, lambda _: None)
    assert list(scratch.iterdir()) == []
    return result


def bundle_of(folder: Path, *damage: str) -> bytes:
    """Return a bundle of a small repository; `damage`: files of which it lacks the object."""
    path = folder / "source.git"
    git("init", "--quiet", "--bare", "--initial-branch=main", path)
    stream = Stream()
    stream.commit("refs/heads/main", {"kept": b"kept", "lost": b"lost"})
    git(f"--git-dir={path}", "fast-import", "--quiet", stdin=bytes(stream.data))
    objects = {
        line.split()[0] for line in git(f"--git-dir={path}", "rev-list", "--objects", "--all").decode().splitlines()
    }
    lost = {git(f"--git-dir={path}", "rev-parse", f"main:{name}").decode().strip() for name in damage}
    pack = git(f"--git-dir={path}", "pack-objects", "--stdout", stdin="\n".join(objects - lost).encode() + b"\n")
    oid = git(f"--git-dir={path}", "rev-parse", "main").strip()
    return b"# v2 git bundle\n" + oid + b" refs/heads/main\n" + oid + b" HEAD\n\n" + pack


def refs_of(bundle: bytes) -> str:
    lines = bundle.split(b"\n\n", 1)[0].splitlines()[1:]
    return refs_sha256({name: oid for oid, name in (line.split(b" ", 1) for line in lines)})


def test_everything_awkward_is_proven_and_the_report_says_so(whole: Vault) -> None:
    run = whole.restore("verify", "--all", "--publish", AWS_ACCESS_KEY_ID=READER[0], AWS_SECRET_ACCESS_KEY=READER[1])
    assert run.code == 0, run.stderr
    report = json.loads(run.stdout)
    entries = whole.organisation.entries
    assert {key: report[key] for key in ("schema_version", "command", "bucket", "date", "run_id")} == {
        "schema_version": 1,
        "command": "verify",
        "bucket": whole.bucket,
        "date": whole.organisation.date,
        "run_id": whole.organisation.manifest["run_id"],
    }
    assert (report["verified"], report["failed"]) == (len(entries), 0)
    assert report["size_bytes"] == sum(entry["size_bytes"] for entry in entries.values())
    assert report["newest_backup_finished_at"] == whole.organisation.manifest["finished_at"]
    assert 0 <= report["backup_age_seconds"] < 3600
    by_name = {result["full_name"]: result for result in report["repositories"]}
    assert by_name.keys() == entries.keys()
    assert report["restore_seconds"] == max(result["seconds"] for result in by_name.values()) > 0
    for name, entry in entries.items():
        result = by_name[name]
        assert (result["status"], result["stage"], result["error"]) == ("verified", None, None)
        for field in ("s3_key", "version_id", "size_bytes", "ref_count", "id"):
            assert result[field] == entry[field]
    remarked = {name: result["remarks"] for name, result in by_name.items() if result["remarks"]}
    assert remarked.keys() == {"acme/careless", "acme/careless-headless"}
    assert "missingSpaceBeforeDate" in str(remarked["acme/careless"])
    metrics = whole.stack.aws.metrics(whole.service)
    assert metrics["RestoreVerified"] == [len(entries)]
    assert metrics["RestoreFailed"] == [0]
    assert metrics["RestoreSeconds"] == [pytest.approx(report["restore_seconds"])]
    assert run.events[-1]["event"] == "verify finished"


@pytest.mark.parametrize("command", [("list", "--json"), ("verify", "--all")], ids=" ".join)
def test_what_could_not_be_written_to_a_full_disk_is_said(vault: Vault, command: tuple[str, ...]) -> None:
    vault.store(FIRST, API)
    run = vault.restore(*command, prefix=("sh", "-c", 'exec "$@" > /dev/full', "sh"))
    assert run.code == 1
    assert "No space left on device" in run.stderr


def test_what_does_not_restore_is_named_with_its_stage_and_the_others_are_proven(vault: Vault) -> None:
    names = (API, "acme/fork", "acme/public", "acme/archived", "acme/gitlinks", "acme/empty")
    manifest = vault.store(FIRST, *names)
    by_name = {entry["full_name"]: entry for entry in manifest["repos"]}
    vault.destroy(by_name["acme/fork"])
    by_name["acme/public"]["sha256"] = "0" * 64
    by_name["acme/archived"]["refs_sha256"] = "0" * 64
    body = bytearray(vault.read(by_name["acme/gitlinks"]))
    body[-40] ^= 1
    by_name["acme/gitlinks"] |= vault.put(FIRST, "acme/gitlinks", bytes(body))
    vault.write(FIRST, manifest | {"failures": [{"full_name": "acme/huge", "stage": "clone", "error": "too big"}]})
    file = vault.folder / "report.json"
    run = vault.restore("verify", "--all", "--report", file, "--publish")
    assert run.code == 1
    assert run.stdout == ""
    report = json.loads(file.read_text())
    assert {result["full_name"]: result["stage"] for result in report["repositories"]} == {
        API: None,
        "acme/empty": None,
        "acme/fork": "download",
        "acme/public": "checksum",
        "acme/archived": "refs",
        "acme/gitlinks": "clone",
    }
    assert (report["verified"], report["failed"]) == (2, 5)
    assert [item["full_name"] for item in report["missing"]] == ["acme/huge"]
    assert run.failures.keys() == {"acme/fork", "acme/public", "acme/archived", "acme/gitlinks", "acme/huge"}
    assert "clone: too big" in run.failures["acme/huge"]
    metrics = vault.stack.aws.metrics(vault.service)
    assert (metrics["RestoreVerified"], metrics["RestoreFailed"]) == ([2], [5])


def test_a_missing_object_is_found(vault: Vault) -> None:
    whole, hollow = bundle_of(vault.folder / "a"), bundle_of(vault.folder / "b", "lost")
    good = verify(vault, vault.put(FIRST, API, whole, refs_of(whole)))
    assert (good.status, good.error) == ("verified", None)
    shutil.rmtree(vault.folder / "parts")
    bad = verify(vault, vault.put(FIRST, API, hollow, refs_of(hollow)))
    assert (bad.status, bad.stage) == ("failed", "clone")
    assert bad.error


@pytest.mark.parametrize(
    "body",
    [b"", b"garbage", b"# v2 git bundle\n", b"# v2 git bundle\nno-ref\n\nPACK", b"# v2 git bundle\n\xff\xfe\n\n"],
    ids=repr,
)
def test_what_is_no_bundle_is_found_though_its_checksum_is_right(vault: Vault, body: bytes) -> None:
    result = verify(vault, vault.put(FIRST, API, body or b"\n"))
    assert (result.status, result.stage) == ("failed", "refs")


def test_a_repository_larger_than_the_disk_fails_and_says_what_helps(vault: Vault) -> None:
    (entry,) = vault.store(FIRST, API)["repos"]
    result = verify(vault, entry | {"size_bytes": 10**15})
    assert (result.status, result.stage) == ("failed", "download")
    assert "TMPDIR" in str(result.error)


def test_a_drill_that_can_not_begin_raises_its_alarm(vault: Vault) -> None:
    run = vault.restore("verify", "--all", "--publish", "--bucket", f"{vault.bucket}-missing")
    assert run.code == 1
    assert "NoSuchBucket" in run.problems[0]
    assert vault.stack.aws.metrics(vault.service) == {"RestoreVerified": [0], "RestoreFailed": [1]}


def test_a_report_that_can_not_be_written_is_a_failure(vault: Vault) -> None:
    vault.store(FIRST, API)
    run = vault.restore("verify", API, "--report", "/nowhere/report.json")
    assert run.code == 1
    assert run.failures.keys() == {"report"}
    assert run.events[-1]["done"] == 1


def test_a_verification_without_cloudwatch_is_one_all_the_same(vault: Vault) -> None:
    vault.store(FIRST, API)
    run = vault.restore("verify", API, "--publish", AWS_ENDPOINT_URL="http://127.0.0.1:9")
    assert run.code == 0, run.stderr
    assert len(run.named("metrics not published")) == 1


def test_a_denied_object_is_a_failed_download(vault: Vault, vault_proxy: S3Proxy) -> None:
    vault.store(FIRST, API, "acme/fork")
    vault.store(SECOND, API, "acme/fork")
    vault_proxy.faults = [S3Fault(rf"GET .*{SECOND}/acme/api\.bundle", "deny")]
    run = vault.restore("verify", "--all")
    assert run.code == 1
    assert {result["full_name"]: result["stage"] for result in json.loads(run.stdout)["repositories"]} == {
        API: "download",
        "acme/fork": None,
    }


def test_a_stopped_verification_reports_what_it_has_proven(vault: Vault, vault_proxy: S3Proxy) -> None:
    vault.store(FIRST, HEAVY, API)
    vault_proxy.faults = [S3Fault(r"GET .*/heavy\.bundle", "slow", times=1)]
    report = vault.folder / "report.json"
    process = vault.start("verify", "--all", "--publish", "--report", str(report))

    def begun() -> None:
        assert any("heavy.bundle" in request for request in vault_proxy.requests)

    wait_until(begun, "the download that is stopped")
    process.send_signal(signal.SIGTERM)
    assert vault.end(process).code == 143
    told = json.loads(report.read_text())
    assert HEAVY in told["left"]
    assert {line["full_name"] for line in told["repositories"]} == {HEAVY, API} - {*told["left"]}
    assert "RestoreVerified" not in vault.organisation.stack.aws.metrics(vault.service)
