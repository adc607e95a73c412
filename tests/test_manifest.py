"""A manifest that is read is the one that was written, and what is no manifest is refused before it is believed."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from github_s3_backup.manifest import Failure, Manifest, ManifestError, StoredBundle, entry, parse_manifest
from github_s3_backup.repository import Repository
from world import SCHEMA

REPOSITORY = Repository(7, "acme", "api", True, False, False, "größe/🎉", 10, 1)
BUNDLE = StoredBundle("github-backup/2026-11-23/acme/api.bundle", "v1", 1234, "a" * 64, 3, "b" * 64, "c" * 40, None)
EMPTY = Repository(8, "acme", "empty", True, True, True, "main", 0, 1)
GONE = Repository(9, "acme", "gone", True, False, False, "main", 0, 1)
MANIFEST = Manifest(
    run_id="run",
    started_at=datetime(2026, 11, 23, 23, 59, 59, tzinfo=UTC),
    finished_at=datetime(2026, 11, 24, 0, 10, tzinfo=UTC),
    complete=True,
    git_version="2.39.5",
    entries=(
        entry(REPOSITORY, "stored", BUNDLE, 1.5),
        entry(EMPTY, "empty", None, 0),
        entry(GONE, "gone", None, 0),
    ),
    failures=(Failure("acme/huge", "clone", "no"), Failure("acme-labs/*", "list", "suspended")),
)


def document(**changes: Any) -> dict[str, Any]:
    return json.loads(MANIFEST.to_json()) | changes  # type: ignore[no-any-return]


def with_entry(**changes: Any) -> dict[str, Any]:
    whole = document()
    whole["repos"][0] |= changes
    return whole


def refusal(manifest: Any) -> str:
    with pytest.raises(ManifestError) as raised:
        parse_manifest(manifest if isinstance(manifest, bytes) else json.dumps(manifest).encode())
    return str(raised.value)


def test_what_was_written_is_read_back() -> None:
    parsed = parse_manifest(MANIFEST.to_json())
    assert sorted(parsed.entries, key=lambda one: one.id) == list(MANIFEST.entries)
    assert {one.full_name for one in parsed.failures} == {"acme/huge", "acme-labs/*"}
    assert parsed.to_json() == MANIFEST.to_json()
    assert (parsed.date, parsed.success_count, parsed.gone_count, parsed.failure_count) == ("2026-11-23", 2, 1, 2)


def test_an_incomplete_one_is_read_as_such() -> None:
    assert parse_manifest(json.dumps(document(complete=False)).encode()).complete is False
    assert parse_manifest(json.dumps(document(complete="yes")).encode()).complete is False


def test_fields_that_came_later_are_no_hindrance() -> None:
    newer = with_entry(colour="blue") | {"colour": "red"}
    SCHEMA.validate(newer)
    assert parse_manifest(json.dumps(newer).encode()).entries == parse_manifest(MANIFEST.to_json()).entries


def test_a_newer_schema_asks_for_a_newer_program() -> None:
    assert "schema version 2 and this program knows 1" in refusal(document(schema_version=2))


@pytest.mark.parametrize(
    "body",
    [b"", b"\xff\xfe", b"{", b"null", b"[]", b"{}", b'"text"', b"[" * 100_000, MANIFEST.to_json()[:-20], b"<Error/>"],
    ids=lambda body: body[:12].decode(errors="replace"),
)
def test_what_is_no_manifest_is_refused(body: bytes) -> None:
    assert refusal(body).startswith("it is not a manifest: ")


@pytest.mark.parametrize("field", ["schema_version", "run_id", "started_at", "complete", "repos", "failures"])
def test_a_missing_field_is_named(field: str) -> None:
    manifest = document()
    del manifest[field]
    assert field in refusal(manifest)


@pytest.mark.parametrize(
    "changes",
    [
        {"repos": None},
        {"repos": [None]},
        {"repos": ["acme/api"]},
        {"failures": [{"full_name": "acme/x"}]},
        {"failures": [{"full_name": 7, "stage": "clone", "error": "no"}]},
        {"failures": [{"full_name": "acme/x", "stage": "clone", "error": None}]},
        {"started_at": "yesterday"},
        {"started_at": 7},
        {"started_at": "2026-11-23T04:00:00"},
        {"finished_at": "2026-11-23T04:00:00"},
    ],
    ids=repr,
)
def test_a_malformed_field_is_refused(changes: dict[str, Any]) -> None:
    assert refusal(document(**changes)).startswith("it is not a manifest: ")


@pytest.mark.parametrize(
    "changes",
    [
        {"full_name": "../../x/y", "owner": "../../x", "name": "y"},
        {"full_name": "acme/..", "name": ".."},
        {"full_name": "acme/", "name": ""},
        {"full_name": "/etc/x", "owner": "/etc", "name": "x"},
        {"full_name": "acme/a/b", "name": "a/b"},
        {"full_name": "acme/a\x1b[2Jb", "name": "a\x1b[2Jb"},
        {"full_name": "acme/api\n", "name": "api\n"},
        {"full_name": "acme/other"},
        {"name": None},
        {"id": "../../../escaped"},
        {"id": True},
        {"id": None},
        {"default_branch": "a\0b"},
        {"default_branch": "a\x1b[2Jb"},
        {"default_branch": "\ud800"},
        {"default_branch": None},
        {"status": "fine"},
        {"status": ["stored"]},
        {"s3_key": None},
        {"s3_key": ""},
        {"s3_key": 7},
        {"version_id": 7},
        {"sha256": None},
        {"sha256": "?"},
        {"refs_sha256": None},
        {"size_bytes": "1234"},
        {"size_bytes": -1},
        {"size_bytes": 0},
        {"size_bytes": None},
        {"size_bytes": 1.5},
        {"ref_count": "3"},
        {"archived": "no"},
        {"private": 1},
        {"backed_up_at": "yesterday"},
        {"backed_up_at": "2026-11-23T04:00:00"},
        {"backed_up_at": "0001-01-01T00:00:00+14:00"},
        {"duration_seconds": "1"},
    ],
    ids=repr,
)
def test_a_hostile_or_malformed_repository_is_refused(changes: dict[str, Any]) -> None:
    said = refusal(with_entry(**changes))
    assert said.startswith("it is not a manifest: ")
    assert "\x1b" not in said


@pytest.mark.parametrize("field", sorted(document()["repos"][0].keys() - {"s3_checksum_sha256"}))
def test_a_repository_without_a_field_is_refused(field: str) -> None:
    manifest = document()
    del manifest["repos"][0][field]
    assert field in refusal(manifest)


def test_what_a_failure_says_is_fit_for_a_terminal() -> None:
    failure = {"full_name": "acme/\x1b[2J", "stage": "clone", "error": "\ud800 \x07"}
    (parsed,) = parse_manifest(json.dumps(document(failures=[failure])).encode()).failures
    assert parsed == Failure(r"acme/\x1b[2J", "clone", r"\ud800 \x07")
