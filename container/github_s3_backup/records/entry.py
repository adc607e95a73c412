"""What a manifest says of one repository: that it is stored, empty or gone, that it failed, or that it has vanished."""

from datetime import UTC, datetime
from typing import Annotated, Literal

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
    utc,
)
from github_s3_backup.records.stored_object import StoredObject
from github_s3_backup.repository import WIKI_SUFFIX, Repository, Settings, is_safe_name

STORED = ("stored", "unchanged")
NO_REFS_SHA256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

Stage = Literal["clone", "bundle", "verify", "upload", "list"]
Status = Literal["stored", "unchanged", "empty", "gone"]


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
