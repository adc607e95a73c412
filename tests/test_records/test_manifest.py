"""A manifest that is read is the one that was written, and what is no manifest is refused before it is believed."""

import json
from datetime import UTC, datetime
from typing import Any

import jsonschema
import pytest

from github_s3_backup.backup.plan.vanished import vanished
from github_s3_backup.records.entry import Failure, RefSummary, new_entry
from github_s3_backup.records.manifest import ManifestError, new_manifest, parse_manifest
from github_s3_backup.records.stored_object import StoredObject
from github_s3_backup.repository import Repository
from support.world import VALIDATOR
from tools.tables import SCHEMAS

REPOSITORY = Repository(7, "acme", "api", True, False, False, "größe/🎉", 10, 1)
KEY = "github-backup/2026-11-23/acme/api.bundle"
BUNDLE = StoredObject(key=KEY, version_id="v1", size_bytes=1234, sha256="a" * 64, checksum=None)
REFS = RefSummary(ref_count=3, refs_sha256="b" * 64, sha="c" * 40)
EMPTY = Repository(8, "acme", "empty", True, True, True, "main", 0, 1)
GONE = Repository(9, "acme", "gone", True, False, False, "main", 0, 1)
MANIFEST = new_manifest(
    run_id="run",
    started_at=datetime(2026, 11, 23, 23, 59, 59, tzinfo=UTC),
    finished_at=datetime(2026, 11, 24, 0, 10, tzinfo=UTC),
    complete=True,
    git_version="2.39.5",
    entries=(
        new_entry(REPOSITORY, "stored", BUNDLE, REFS, 1.5),
        new_entry(EMPTY, "empty", None, None, 0),
        new_entry(GONE, "gone", None, None, 0),
    ),
    failures=(
        Failure(full_name="acme/huge", id=10, stage="clone", error="no"),
        Failure(full_name="acme-labs/*", id=None, stage="list", error="suspended"),
    ),
    vanished=(vanished(new_entry(REPOSITORY, "stored", BUNDLE, REFS, 1.5), "2026-11-20"),),
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
    assert parsed == MANIFEST
    assert [failure.id for failure in parsed.failures] == [None, 10]
    assert parsed.vanished[0].object == BUNDLE
    assert (parsed.date, parsed.success_count, parsed.gone_count, parsed.failure_count) == ("2026-11-23", 2, 1, 2)


def test_an_incomplete_one_is_read_as_such() -> None:
    assert parse_manifest(json.dumps(document(complete=False)).encode()).complete is False
    assert "complete" in refusal(document(complete="yes"))


def test_the_published_schemas_are_those_of_the_program() -> None:
    for path, made in SCHEMAS.items():
        published = json.loads(path.read_text())
        assert made() == published, f"{path.name} differs: run `make docs`"
        jsonschema.Draft202012Validator.check_schema(published)
    VALIDATOR.validate(document())


def test_fields_that_came_later_are_no_hindrance() -> None:
    newer = with_entry(colour="blue") | {"colour": "red"}
    VALIDATOR.validate(newer)
    assert parse_manifest(json.dumps(newer).encode()) == MANIFEST


def test_a_newer_schema_asks_for_a_newer_program() -> None:
    assert "schema version 2, and this program knows 1" in refusal(document(schema_version=2))


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
        {"full_name": "acme/.git", "name": ".git"},
        {"full_name": "acme/.GIT", "name": ".GIT"},
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
def test_a_hostile_or_malformed_entry_is_a_failure_and_the_others_are_read(changes: dict[str, Any]) -> None:
    parsed = parse_manifest(json.dumps(with_entry(**changes)).encode())
    assert len(parsed.entries) == 2
    (broken,) = [failure for failure in parsed.failures if failure.error.startswith("the manifest's entry is broken")]
    assert broken.stage == "list"
    assert "\x1b" not in f"{broken}"


@pytest.mark.parametrize("entry", [None, "acme/api", [], {}, {"full_name": 7, "id": True}], ids=repr)
def test_what_is_no_entry_is_a_failure_too(entry: Any) -> None:
    parsed = parse_manifest(json.dumps(document(repos=[entry, *document()["repos"]])).encode())
    assert len(parsed.entries) == 3
    assert [failure.id for failure in parsed.failures if "broken" in failure.error] == [None]


OPTIONAL = {"s3_checksum_sha256", "base", "objects", "wiki", "lfs", "releases", "issues", "settings", "not_read"}


@pytest.mark.parametrize("field", sorted(document()["repos"][0].keys() - OPTIONAL))
def test_an_entry_without_a_field_is_a_failure(field: str) -> None:
    manifest = document()
    del manifest["repos"][0][field]
    parsed = parse_manifest(json.dumps(manifest).encode())
    assert [field in failure.error for failure in parsed.failures if "broken" in failure.error] == [True]


def test_a_forged_vanished_repository_is_left_out() -> None:
    forged = document()["vanished"][0] | {"full_name": "acme/.git"}
    assert parse_manifest(json.dumps(document(vanished=[forged])).encode()).vanished == ()


def test_what_a_failure_says_is_fit_for_a_terminal() -> None:
    failure = {"full_name": "acme/\x1b[2J", "id": None, "stage": "clone", "error": "\ud800 \x07"}
    (parsed,) = parse_manifest(json.dumps(document(failures=[failure])).encode()).failures
    assert parsed == Failure(full_name=r"acme/\x1b[2J", id=None, stage="clone", error=r"\ud800 \x07")
