"""`verify` of what git alone does not hold: each object is read, and what is wrong is named with its part."""

import json
from typing import Any

import pytest

from embedded.s3_proxy import S3Fault, S3Proxy
from support.vault import FIRST, Vault
from support.vault_content import (
    API,
    FILES,
    WIKI,
    Content,
    lfs_summary,
    make_content,
    sha256,
)
from test_restore.test_fetch_content import spoil

TOOL, NOTES = b"tool " * 2000, b"notes " * 10


def verified(vault: Vault, *arguments: str, code: int = 0) -> dict[str, Any]:
    """Return the report of a verification."""
    run = vault.restore("verify", *(arguments or ("--all",)))
    assert run.code == code, run.stderr
    report: dict[str, Any] = json.loads(run.stdout)
    return report


def size_of_content(content: Content) -> int:
    lfs = sum(len(body) for body in FILES.values())
    return int(lfs + len(TOOL + NOTES + b"new") + content.entry["wiki"]["size_bytes"])


def test_everything_is_read_and_counted(vault: Vault, vault_proxy: S3Proxy) -> None:
    content = make_content(vault)
    content.write(repos=[content.entry, vault.copy(FIRST, "acme/fork")])
    report = verified(vault)
    counted = {"wikis": 1, "lfs_objects": 3, "release_files": 4, "content_bytes": size_of_content(content)}
    assert {name: report[name] for name in counted} == counted
    api, fork = report["repositories"]
    assert {name: api[name] for name in counted} == counted
    assert {name: fork[name] for name in counted} == dict.fromkeys(counted, 0)
    asked = [request for request in vault_proxy.requests if "-lfs/" in request or "-releases/" in request]
    assert len(asked) == 3 + 3


def test_git_only_reads_no_more(vault: Vault, vault_proxy: S3Proxy) -> None:
    content = make_content(vault)
    content.write()
    report = verified(vault, "--all", "--git-only")
    assert (report["verified"], report["lfs_objects"], report["wikis"]) == (1, 0, 0)
    assert not [request for request in vault_proxy.requests if "-lfs/" in request or "wiki" in request]


@pytest.mark.parametrize("what", ["lfs", "releases", "wiki", "lfs list", "release list"])
def test_what_is_broken_is_named_with_its_part_and_the_rest_is_proven(vault: Vault, what: str) -> None:
    content = make_content(vault)
    content.write()
    broken = {
        "lfs": content.object("video.bin"),
        "releases": content.release_file("notes.txt"),
        "wiki": content.entry["wiki"],
        "lfs list": content.entry["lfs"]["list"],
        "release list": content.entry["releases"]["list"],
    }[what]
    spoil(content, broken)
    report = verified(vault, code=1)
    (result,) = report["repositories"]
    stage = {"lfs list": "lfs", "release list": "releases"}.get(what, what)
    assert (result["status"], result["stage"]) == ("failed", stage)
    name = {"lfs": sha256(FILES["video.bin"]), "releases": "v1.0.0/notes.txt"}.get(what, broken["s3_key"])
    assert name in result["error"]
    assert "SHA-256 does not match" in result["error"]
    proven = {"lfs_objects": 3, "release_files": 4, "wikis": 1}
    proven |= {
        "lfs": {"lfs_objects": 2},
        "releases": {"release_files": 3},
        "wiki": {"wikis": 0},
        "lfs list": {"lfs_objects": 0},
        "release list": {"release_files": 0},
    }[what]
    assert {key: result[key] for key in proven} == proven


def test_everything_that_is_broken_is_named(vault: Vault) -> None:
    content = make_content(vault)
    content.write()
    for stored in (content.entry, content.object("old.bin"), content.release_file("new.txt"), content.entry["wiki"]):
        vault.destroy(stored)
    (result,) = verified(vault, code=1)["repositories"]
    assert result["stage"] == "download"
    for words in (f"lfs: 1 of 3 failed: {sha256(FILES['old.bin'])}", "releases: 1 of 3 failed", "wiki: download: "):
        assert words in result["error"]


def test_a_pointer_whose_object_is_not_in_the_list_is_found(vault: Vault) -> None:
    content = make_content(vault)
    lost = content.object("old.bin")
    kept = [item for item in content.lfs_list["objects"] if item != lost]
    content.entry["lfs"] = lfs_summary(vault, FIRST, kept, [])
    content.write()
    (result,) = verified(vault, code=1)["repositories"]
    assert result["stage"] == "lfs"
    assert "points at 1 objects that its list lacks" in result["error"]
    assert lost["oid"] in result["error"]


def test_an_object_that_the_server_did_not_have_is_no_failure(vault: Vault) -> None:
    content = make_content(vault)
    lost = content.object("old.bin")
    kept = [item for item in content.lfs_list["objects"] if item != lost]
    missing = {"oid": lost["oid"], "size_bytes": lost["size_bytes"], "error": "Object does not exist"}
    content.entry["lfs"] = lfs_summary(vault, FIRST, kept, [missing])
    content.write()
    assert verified(vault)["lfs_objects"] == 2


def test_objects_of_a_repository_whose_lfs_objects_are_not_backed_up_are_not_missed(vault: Vault) -> None:
    content = make_content(vault)
    content.entry["lfs"] = None
    content.write()
    assert verified(vault)["verified"] == 1


def test_a_wiki_alone_proves_nothing_of_its_repository(vault: Vault) -> None:
    content = make_content(vault)
    content.write()
    report = verified(vault, WIKI)
    assert [result["full_name"] for result in report["repositories"]] == [WIKI]
    assert (report["last_proven"], report["waiting_since"]) == ({}, {})
    assert list(verified(vault, API)["last_proven"]) == [str(content.entry["id"])]


def test_a_connection_that_breaks_is_taken_up_where_it_broke(vault: Vault, vault_proxy: S3Proxy) -> None:
    make_content(vault).write()
    vault_proxy.faults = [S3Fault(r"GET .*-lfs/", "cut", times=2)]
    report = verified(vault)
    assert (report["verified"], report["lfs_objects"]) == (1, 3)


def test_another_version_is_read_where_somebody_wrote_over_the_object(vault: Vault) -> None:
    content = make_content(vault)
    content.write()
    stored = content.object("video.bin")
    body = b"?" * stored["size_bytes"]
    vault.client.put_object(Bucket=vault.bucket, Key=stored["s3_key"], Body=body)
    forged = [item | {"version_id": None} for item in content.lfs_list["objects"]]
    content.entry["lfs"] = lfs_summary(vault, FIRST, forged, [])
    content.write()
    assert verified(vault)["lfs_objects"] == 3
