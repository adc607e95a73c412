"""The manifest: what a run stored, and what it could not.

The classes here are the only description of its form: msgspec reads and checks manifests by them, and
docs/manifest.schema.json is generated from them.
"""

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from github_s3_backup.records.content import IssuesSummary, Kind, LfsSummary, NotRead, ReleasesSummary
from github_s3_backup.records.json_fields import (
    Count,
    Date,
    FullName,
    Id,
    Moment,
    Oid,
    Sha256,
    Text,
    Words,
    parse_moment,
    schema_of,
    utc,
)
from github_s3_backup.records.stored_object import StoredObject
from github_s3_backup.repository import WIKI_SUFFIX, Repository, Settings, is_safe_name
from github_s3_backup.runtime.redaction import printable
from github_s3_backup.version import TOOL_VERSION

SCHEMA_VERSION: Literal[1] = 1
STORED = ("stored", "unchanged")
NO_REFS_SHA256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

Stage = Literal["clone", "bundle", "verify", "upload", "list"]
Status = Literal["stored", "unchanged", "empty", "gone"]


class ManifestError(Exception):
    """The file is not a manifest, or one with a schema version that this program does not know."""


class RefSummary(msgspec.Struct, frozen=True, kw_only=True):
    """What a manifest says of a repository's refs; `sha` is the commit of the default branch."""

    ref_count: int
    refs_sha256: str
    sha: str | None


class Base(msgspec.Struct, frozen=True, kw_only=True):
    """The full bundle that a bundle of changes stands on."""

    s3_key: Text
    version_id: Annotated[Text | None, Meta(description="Null where the bucket is not versioned")]
    size_bytes: Annotated[int, Meta(ge=1)]
    sha256: Annotated[Sha256, Meta(description="SHA-256 of the bundle")]
    backed_up_at: Annotated[Moment, Meta(description="When the full bundle was made")]
    s3_checksum_sha256: Annotated[str | None, Meta(description="As in an entry")] = None

    def __post_init__(self) -> None:
        parse_moment(self.backed_up_at)

    @property
    def object(self) -> StoredObject:
        """The full bundle in S3."""
        return StoredObject(
            key=self.s3_key,
            version_id=self.version_id,
            size_bytes=self.size_bytes,
            sha256=self.sha256,
            checksum=self.s3_checksum_sha256,
        )


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """A repository that is stored, empty, or gone."""

    full_name: FullName
    id: Id
    owner: str
    name: str
    private: bool
    archived: bool
    fork: bool
    default_branch: Text
    sha: Annotated[Oid | None, Meta(description="Commit of the default branch; null where it does not exist")]
    status: Status
    s3_key: Text | None
    version_id: Annotated[Text | None, Meta(description="Null where the bucket is not versioned")]
    size_bytes: Annotated[int, Meta(ge=0, description="Size of the bundle; 0 without one")]
    sha256: Annotated[Sha256 | None, Meta(description="SHA-256 of the bundle")]
    ref_count: Annotated[int, Meta(ge=0, description="Number of refs, HEAD not counted")]
    refs_sha256: Annotated[
        Sha256 | None,
        Meta(description="SHA-256 of the lines '<oid> <ref>\\n' of all refs, and of HEAD where it resolves, sorted"),
    ]
    backed_up_at: Annotated[Moment, Meta(description="When the bundle was made")]
    duration_seconds: Annotated[float, Meta(ge=0)]
    s3_checksum_sha256: Annotated[
        str | None,
        Meta(
            description="SHA-256 of the object as S3 keeps it, in base64; of an upload in parts that of the parts' "
            "checksums, a dash, and their number"
        ),
    ] = None
    base: Annotated[
        Base | None,
        Meta(
            description="Null where s3_key is a full bundle. Else s3_key is a bundle of changes, and this is the full "
            "bundle that it stands on: the refs are those that both together restore"
        ),
    ] = None
    objects: Annotated[
        StoredObject | None,
        Meta(description="The list of the full bundle's objects; null: no bundle of changes can stand on it"),
    ] = None
    wiki: Annotated[
        "Entry | None",
        Meta(description="The wiki, with an entry of its own; null where there is none, or it is not read"),
    ] = None
    lfs: Annotated[LfsSummary | None, Meta(description="Null where LFS objects are not looked for")] = None
    releases: Annotated[ReleasesSummary | None, Meta(description="Null where releases are not read")] = None
    issues: Annotated[IssuesSummary | None, Meta(description="Null where none of them are read")] = None
    settings: Annotated[
        Settings | None, Meta(description="Description, topics, visibility, and more; null: the listing was not kept")
    ] = None
    not_read: Annotated[
        tuple[NotRead, ...], Meta(description="What GitHub does not let the App read, in its words")
    ] = ()

    def __post_init__(self) -> None:
        if self.full_name != f"{self.owner}/{self.name}" or not is_safe_name(self.owner, self.name):
            raise ValueError(f"{self.full_name!r} is not a plain owner/name")
        if self.status in STORED and not (self.s3_key and self.sha256 and self.refs_sha256 and self.size_bytes):
            raise ValueError(f"{self.full_name} is {self.status} and has no object")
        _check_base(self)
        _check_wiki(self)
        parse_moment(self.backed_up_at)

    @property
    def object(self) -> StoredObject | None:
        """The repository's bundle in S3, None where it has none."""
        return _object(self)

    @property
    def bundles(self) -> tuple[StoredObject, ...]:
        """The bundles in S3 that restore the repository: the full one, then that of changes."""
        return _bundles(self)

    @property
    def full(self) -> Base | None:
        """The full bundle, None where the repository has none."""
        if self.base or self.s3_key is None or self.sha256 is None:
            return self.base
        return Base(
            s3_key=self.s3_key,
            version_id=self.version_id,
            size_bytes=self.size_bytes,
            sha256=self.sha256,
            backed_up_at=self.backed_up_at,
            s3_checksum_sha256=self.s3_checksum_sha256,
        )

    @property
    def restore_bytes(self) -> int:
        """The bytes of all bundles that restore the repository."""
        return sum(stored.size_bytes for stored in self.bundles)


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """A repository, or all of an owner's (`owner/*`), that could not be stored, and why."""

    full_name: Annotated[Words, Meta(description="owner/name, or owner/* for what could not be listed")]
    id: Annotated[int | None, Meta(description="GitHub's id; null where it stands for an owner")]
    stage: Stage
    error: Annotated[Words, Meta(description="The words of git, GitHub or S3, credentials removed")]
    partial: Annotated[Entry | None, Meta(description="What was stored of it all the same; null: nothing")] = None
    not_stored: Annotated[
        tuple[Kind, ...],
        Meta(description="The parts that this run could not store: `partial` has an older state of them, or not all"),
    ] = ()
    timed_out: Annotated[
        bool, Meta(description="It took too long. The next run gives this repository far more time")
    ] = False


class Vanished(msgspec.Struct, frozen=True, kw_only=True):
    """A repository that an earlier run stored and that GitHub no longer has, with its last good bundle."""

    full_name: FullName
    id: Id
    since: Annotated[Date, Meta(description="UTC day of the first run that missed it")]
    s3_key: Text | None
    version_id: Text | None
    size_bytes: Count
    sha256: Sha256 | None
    default_branch: Text = "main"
    ref_count: Count = 0
    refs_sha256: Sha256 | None = None
    s3_checksum_sha256: str | None = None
    base: Base | None = None
    wiki: Entry | None = None
    lfs: LfsSummary | None = None
    releases: ReleasesSummary | None = None
    issues: IssuesSummary | None = None
    confirmed: Annotated[
        bool, Meta(description="False: so many were missing that GitHub was not asked about this one")
    ] = True

    def __post_init__(self) -> None:
        owner, _, name = self.full_name.partition("/")
        if not is_safe_name(owner, name):
            raise ValueError(f"{self.full_name!r} is not a plain owner/name")
        _check_base(self)
        _check_wiki(self)

    @property
    def object(self) -> StoredObject | None:
        """The repository's last bundle in S3, None where it was empty."""
        return _object(self)

    @property
    def bundles(self) -> tuple[StoredObject, ...]:
        """The bundles in S3 that restore the repository: the full one, then that of changes."""
        return _bundles(self)


def _check_wiki(record: Entry | Vanished) -> None:
    """Raise ValueError where a wiki is not that of its repository."""
    if record.wiki and record.wiki.full_name != f"{record.full_name}{WIKI_SUFFIX}":
        raise ValueError(f"{record.full_name} has a wiki that is called {record.wiki.full_name}")


def _check_base(record: Entry | Vanished) -> None:
    """Raise ValueError where a full bundle is named without what stands on it."""
    if record.base and (record.s3_key is None or record.s3_key == record.base.s3_key):
        raise ValueError(f"{record.full_name} has a full bundle, and no bundle of changes that stands on it")


def _bundles(record: Entry | Vanished) -> tuple[StoredObject, ...]:
    return tuple(stored for stored in (record.base and record.base.object, _object(record)) if stored)


def _object(record: Entry | Vanished) -> StoredObject | None:
    if record.s3_key is None or record.sha256 is None:
        return None
    return StoredObject(
        key=record.s3_key,
        version_id=record.version_id,
        size_bytes=record.size_bytes,
        sha256=record.sha256,
        checksum=record.s3_checksum_sha256,
    )


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


def new_entry(
    repository: Repository, status: Status, stored: StoredObject | None, refs: RefSummary | None, seconds: float
) -> Entry:
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
        sha=refs.sha if refs else None,
        status=status,
        s3_key=stored.key if stored else None,
        version_id=stored.version_id if stored else None,
        size_bytes=stored.size_bytes if stored else 0,
        sha256=stored.sha256 if stored else None,
        ref_count=refs.ref_count if refs else 0,
        refs_sha256=refs.refs_sha256 if refs else (NO_REFS_SHA256 if status == "empty" else None),
        backed_up_at=utc(datetime.now(UTC)),
        duration_seconds=round(seconds, 3),
        s3_checksum_sha256=stored.checksum if stored else None,
        settings=repository.settings,
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
