"""The manifest: what a run stored and what it did not, as docs/manifest.schema.json describes it."""

import json
import re
from dataclasses import MISSING, asdict, dataclass, fields
from datetime import UTC, datetime
from typing import Any, Literal, get_args, get_type_hints

from github_s3_backup.redaction import printable
from github_s3_backup.repository import NAME, OWNER, Repository
from github_s3_backup.version import TOOL_VERSION

SCHEMA_VERSION = 1

Stage = Literal["clone", "bundle", "verify", "upload", "list"]
Status = Literal["stored", "unchanged", "empty", "gone"]


class ManifestError(Exception):
    """The file is no manifest, or one of a form that this program does not know."""


@dataclass(frozen=True)
class Entry:
    """A repository that did not fail. Without a bundle `s3_key`, `version_id` and `sha256` are None."""

    full_name: str
    id: int
    owner: str
    name: str
    private: bool
    archived: bool
    fork: bool
    default_branch: str
    sha: str | None
    status: Status
    s3_key: str | None
    version_id: str | None
    size_bytes: int
    sha256: str | None
    ref_count: int
    refs_sha256: str | None
    backed_up_at: str
    duration_seconds: float
    # As S3 has it: for an upload in parts that of the parts' checksums. None: written before there was this field.
    s3_checksum_sha256: str | None = None


@dataclass(frozen=True)
class Failure:
    """A repository, or what stands for several (`owner/*`), that could not be stored, and why."""

    full_name: str
    stage: Stage
    error: str


@dataclass(frozen=True)
class StoredBundle:
    """What S3 holds of a repository, and what that was made from."""

    key: str
    version_id: str | None
    size: int
    sha256: str
    ref_count: int
    refs_sha256: str
    sha: str | None
    s3_checksum: str | None


SHA256 = re.compile(r"[0-9a-f]{64}")
NO_REFS_SHA256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def utc(moment: datetime) -> str:
    """Return the moment as the manifest writes it: 2026-11-23T04:00:00Z."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def entry(repository: Repository, status: Status, stored: StoredBundle | None, seconds: float) -> Entry:
    """Return the manifest's entry for a repository that was stored, is empty, or is gone."""
    return Entry(
        full_name=repository.full_name,
        id=repository.id,
        owner=repository.owner,
        name=repository.name,
        private=repository.private,
        archived=repository.archived,
        fork=repository.fork,
        default_branch=repository.default_branch,
        sha=stored.sha if stored else None,
        status=status,
        s3_key=stored.key if stored else None,
        version_id=stored.version_id if stored else None,
        size_bytes=stored.size if stored else 0,
        sha256=stored.sha256 if stored else None,
        ref_count=stored.ref_count if stored else 0,
        refs_sha256=stored.refs_sha256 if stored else (NO_REFS_SHA256 if status == "empty" else None),
        backed_up_at=utc(datetime.now(UTC)),
        duration_seconds=round(seconds, 3),
        s3_checksum_sha256=stored.s3_checksum if stored else None,
    )


@dataclass(frozen=True)
class Manifest:
    """One run, as it is written to S3."""

    run_id: str
    started_at: datetime
    finished_at: datetime
    complete: bool
    git_version: str
    entries: tuple[Entry, ...]
    failures: tuple[Failure, ...]
    # Of the object that it was read from.
    version_id: str | None = None

    @property
    def date(self) -> str:
        return self.started_at.strftime("%Y-%m-%d")

    @property
    def success_count(self) -> int:
        return len(self.entries) - self.gone_count

    @property
    def gone_count(self) -> int:
        return sum(one.status == "gone" for one in self.entries)

    @property
    def unchanged_count(self) -> int:
        return sum(one.status == "unchanged" for one in self.entries)

    @property
    def failure_count(self) -> int:
        return len(self.failures)

    @property
    def total_count(self) -> int:
        return len(self.entries) + len(self.failures)

    @property
    def bytes_uploaded(self) -> int:
        return sum(one.size_bytes for one in self.entries if one.status == "stored")

    @property
    def ref_count(self) -> int:
        return sum(one.ref_count for one in self.entries)

    def to_json(self) -> bytes:
        """Return the manifest as UTF-8 JSON, repositories and failures in the order of their names."""
        document = {
            "schema_version": SCHEMA_VERSION,
            "date": self.date,
            "run_id": self.run_id,
            "complete": self.complete,
            "started_at": utc(self.started_at),
            "finished_at": utc(self.finished_at),
            "tool_version": TOOL_VERSION,
            "git_version": self.git_version,
            "total_repos": self.total_count,
            "success_count": self.success_count,
            "failure_count": self.failure_count,
            "gone_count": self.gone_count,
            "repos": [asdict(one) for one in sorted(self.entries, key=lambda one: one.full_name)],
            "failures": [asdict(one) for one in sorted(self.failures, key=lambda one: one.full_name)],
        }
        return json.dumps(document, indent=2, ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\n"


def parse_manifest(body: bytes) -> Manifest:
    """Return the manifest that `to_json` wrote; fields that are not known here are left out. Raises ManifestError."""
    try:
        document = json.loads(body)
        version = document["schema_version"]
        if version != SCHEMA_VERSION:
            raise ManifestError(f"it has schema version {version} and this program knows {SCHEMA_VERSION}: use a newer")
        return Manifest(
            run_id=document["run_id"],
            started_at=_parse_moment(document["started_at"]),
            finished_at=_parse_moment(document["finished_at"]),
            complete=document["complete"] is True,
            git_version=document["git_version"],
            entries=tuple(_parse_entry(one) for one in document["repos"]),
            failures=tuple(_parse_failure(one) for one in document["failures"]),
        )
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise ManifestError(f"it is not a manifest: {type(error).__name__} {error}") from None


def _parse_entry(document: dict[str, Any]) -> Entry:
    known = [field.name for field in fields(Entry) if field.default is MISSING or field.name in document]
    one = Entry(**{name: document[name] for name in known})
    for name, kind in get_type_hints(Entry).items():
        if not _fits(getattr(one, name), kind):
            raise ValueError(f"the {name} of {one.full_name!r} is {getattr(one, name)!r}")
    # Names become paths on the disk of whoever restores.
    if one.full_name != f"{one.owner}/{one.name}" or not OWNER.fullmatch(one.owner) or not NAME.fullmatch(one.name):
        raise ValueError(f"{one.full_name!r} is no plain owner/name")
    stored = one.status in ("stored", "unchanged")
    if stored and not (one.s3_key and one.sha256 and one.refs_sha256 and one.size_bytes > 0):
        raise ValueError(f"{one.full_name} is {one.status} and has no object")
    _parse_moment(one.backed_up_at)
    if stored and not SHA256.fullmatch(str(one.sha256)):
        raise ValueError(f"{one.full_name} has the SHA-256 {one.sha256!r}")
    return one


def _fits(value: Any, kind: Any) -> bool:
    """Return whether a value is of the kind that a field is declared with, and fit to be shown and passed on."""
    if kind is Status:
        return value in get_args(Status)
    if isinstance(value, str) and printable(value) != value:
        return False
    return isinstance(value, int | float if kind is float else kind) and isinstance(value, bool) == (kind is bool)


def _parse_failure(document: dict[str, Any]) -> Failure:
    return Failure(printable(document["full_name"]), document["stage"], printable(document["error"]))


def _parse_moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} has no time zone")
    return moment.astimezone(UTC)
