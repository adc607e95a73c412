"""The manifest: what a run stored, and what it could not.

The classes here and in entry.py are the only description of its form: msgspec reads and checks manifests by them, and
docs/manifest.schema.json is generated from them.
"""

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from github_s3_backup.records.entry import STORED, Entry, Failure, Vanished
from github_s3_backup.records.json_fields import Count, Date, Moment, Sha256, Text, Words, parse_moment, schema_of, utc
from github_s3_backup.runtime.redaction import printable
from github_s3_backup.version import TOOL_VERSION

SCHEMA_VERSION: Literal[1] = 1


class ManifestError(Exception):
    """The file is not a manifest, or one with a schema version that this program does not know."""


class PreviousRun(msgspec.Struct, frozen=True, kw_only=True):
    """A run before this one, and what its manifest was when this run read it."""

    date: Date
    run_id: Text
    sha256: Annotated[Sha256, Meta(description="SHA-256 of the bytes of that run's manifest")]


class Manifest(msgspec.Struct, frozen=True, kw_only=True, rename={"entries": "repos"}):
    """What one run stored and what it did not. Made by `new_manifest` and `parse_manifest`."""

    schema_version: Literal[1]
    date: Annotated[Date, Meta(description="UTC day on which the run started; also the folder in the bucket")]
    run_id: Text
    complete: Annotated[bool, Meta(description="False: the run was stopped; what is not in repos is in failures")]
    started_at: Moment
    finished_at: Moment
    tool_version: Words
    git_version: Words
    total_repos: Annotated[int, Meta(ge=0, description="success_count + gone_count + failure_count")]
    success_count: Annotated[int, Meta(ge=0, description="stored, unchanged and empty")]
    failure_count: Count
    gone_count: Count
    entries: tuple[Entry, ...]
    failures: tuple[Failure, ...]
    vanished: Annotated[
        tuple[Vanished, ...],
        Meta(description="Stored by an earlier run, and no longer at GitHub. Not counted in total_repos"),
    ]
    last_good: Annotated[
        tuple[Entry, ...],
        Meta(description="What earlier runs stored of what is in failures, or belongs to an owner there. Not counted"),
    ] = ()
    previous: Annotated[
        tuple[PreviousRun, ...] | None,
        Meta(description="The runs before this one that no other names yet, the newest first; null: it does not say"),
    ] = None
    variables: Annotated[
        dict[str, Words], Meta(description="The variables that said what to back up, those left out that were not set")
    ] = {}
    signing_key: Annotated[
        Sha256 | None,
        Meta(
            description="SHA-256 of the public key (DER, SubjectPublicKeyInfo) whose signature of this manifest is in "
            "the object <run_id>.json.sig; null: it is not signed"
        ),
    ] = None

    @property
    def started(self) -> datetime:
        return parse_moment(self.started_at)

    @property
    def finished(self) -> datetime:
        return parse_moment(self.finished_at)

    @property
    def unchanged_count(self) -> int:
        return sum(entry.status == "unchanged" for entry in self.entries)

    @property
    def issues_waiting(self) -> int:
        """How many issues, pull requests and discussions the next runs have still to read."""
        return sum(entry.issues.waiting for entry in self._stored_entries if entry.issues)

    @property
    def _stored_entries(self) -> list[Entry]:
        """What is stored, also of repositories that failed in part."""
        return [*self.entries, *(failure.partial for failure in self.failures if failure.partial)]

    @property
    def new_bundles(self) -> list[Entry]:
        """What was stored of repositories and wikis in this run, also of those that failed in part."""
        bundles = [bundle for entry in self._stored_entries for bundle in (entry, entry.wiki) if bundle]
        return [bundle for bundle in bundles if bundle.status == "stored"]

    @property
    def ref_count(self) -> int:
        return sum(entry.ref_count for entry in self.entries)

    def to_json(self) -> bytes:
        """Return the manifest as UTF-8 JSON."""
        document = msgspec.to_builtins(self)
        return json.dumps(document, indent=2, ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\n"


def new_manifest(
    *,
    run_id: str,
    started_at: datetime,
    finished_at: datetime,
    complete: bool,
    git_version: str,
    entries: Iterable[Entry],
    failures: Iterable[Failure],
    vanished: Iterable[Vanished] = (),
    last_good: Iterable[Entry] = (),
    previous: tuple[PreviousRun, ...] | None = None,
    signing_key: str | None = None,
    variables: Mapping[str, str] = MappingProxyType({}),
    tool_version: str = TOOL_VERSION,
) -> Manifest:
    """Return a run's manifest, its counts computed, everything in the order of its name."""
    entries = tuple(sorted(entries, key=lambda entry: (entry.full_name, entry.id)))
    failures = tuple(sorted(failures, key=lambda failure: failure.full_name))
    gone = sum(entry.status == "gone" for entry in entries)
    return Manifest(
        schema_version=SCHEMA_VERSION,
        date=f"{started_at.astimezone(UTC):%Y-%m-%d}",
        run_id=run_id,
        complete=complete,
        started_at=utc(started_at),
        finished_at=utc(finished_at),
        tool_version=tool_version,
        git_version=git_version,
        total_repos=len(entries) + len(failures),
        success_count=len(entries) - gone,
        failure_count=len(failures),
        gone_count=gone,
        entries=entries,
        failures=failures,
        vanished=tuple(sorted(vanished, key=lambda repository: (repository.full_name, repository.id))),
        last_good=tuple(sorted(last_good, key=lambda entry: (entry.full_name, entry.id))),
        previous=previous,
        variables=dict(variables),
        signing_key=signing_key,
    )


def parse_manifest(body: bytes) -> Manifest:
    """Return the manifest that `to_json` wrote; unknown fields are ignored.

    An entry that is broken or forged becomes a failure, so that the others can be restored. Raises ManifestError.
    """
    try:
        document = json.loads(body)
        version = document["schema_version"]
        if version != SCHEMA_VERSION:
            raise ManifestError(
                f"it has schema version {version}, and this program knows {SCHEMA_VERSION}: use a newer release"
            )
        entries, failures = _parse_entries(document["repos"])
        vanished = [record for record in document.get("vanished", []) if _is_valid(record, Vanished)]
        last_good = [record for record in document.get("last_good", []) if _is_valid(record, Entry)]
        failures += [_printable(failure) for failure in document["failures"]]
        manifest = msgspec.convert(
            document | {"repos": [], "failures": failures, "vanished": vanished, "last_good": last_good}, Manifest
        )
        return new_manifest(
            run_id=manifest.run_id,
            started_at=manifest.started,
            finished_at=manifest.finished,
            complete=manifest.complete,
            git_version=manifest.git_version,
            tool_version=manifest.tool_version,
            entries=entries,
            failures=manifest.failures,
            vanished=manifest.vanished,
            last_good=manifest.last_good,
            previous=manifest.previous,
            signing_key=manifest.signing_key,
            variables=manifest.variables,
        )
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        reason = printable(f"{type(error).__name__} {error}")
        raise ManifestError(f"it is not a manifest: {reason}") from None


def _parse_entries(documents: list[Any]) -> tuple[list[Entry], list[dict[str, Any]]]:
    entries: list[Entry] = []
    failures: list[dict[str, Any]] = []
    ids: dict[int, str] = {}
    for document in documents:
        try:
            entry = msgspec.convert(document, Entry)
        except (ValueError, OverflowError) as error:
            failures.append(_broken(document, str(error)))
            continue
        if entry.id in ids:
            failures.append(_broken(document | {"id": None}, f"{ids[entry.id]} has the id {entry.id} too"))
            continue
        ids[entry.id] = entry.full_name
        entries.append(entry)
    return entries, failures


def _broken(document: Any, reason: str) -> dict[str, Any]:
    """Return the failure of an entry that can't be used."""
    fields = document if isinstance(document, dict) else {}
    name, number = fields.get("full_name"), fields.get("id")
    return {
        "full_name": printable(name) if isinstance(name, str) and name else "?/?",
        "id": number if isinstance(number, int) and not isinstance(number, bool) else None,
        "stage": "list",
        "error": printable(f"the manifest's entry is broken: {reason}"),
    }


def _is_valid(document: Any, kind: type) -> bool:
    try:
        msgspec.convert(document, kind)
    except ValueError:
        return False
    return True


def _printable(failure: dict[str, Any]) -> dict[str, Any]:
    """Return a failure that can be shown, without what is broken in it."""
    shown = {key: printable(text) if isinstance(text, str) else text for key, text in failure.items()}
    partial: Any = shown.get("partial")
    is_good = _is_valid(partial, Entry) and partial["id"] == shown.get("id")
    return {"id": None} | shown | {"partial": partial if is_good else None}


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of a manifest."""
    schema = schema_of(Manifest, "github-backup manifest, schema version 1")
    schema["$defs"]["Entry"] |= {
        "if": {"properties": {"status": {"enum": list(STORED)}}},
        "then": {
            "properties": {
                "s3_key": {"type": "string", "pattern": r"\.bundle$"},
                "size_bytes": {"minimum": 1},
                "sha256": {"type": "string"},
                "refs_sha256": {"type": "string"},
                "ref_count": {"minimum": 1},
            }
        },
        "else": {
            "properties": {key: {"type": "null"} for key in ("s3_key", "version_id", "sha256", "base", "objects")}
        },
    }
    return schema
