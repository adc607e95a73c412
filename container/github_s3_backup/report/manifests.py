"""Reads the manifests of many runs quickly: several at once, only what a report needs, and keeps a summary of each."""

import hashlib
from array import array
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import msgspec

from github_s3_backup.records.json_fields import parse_moment
from github_s3_backup.records.manifest import PreviousRun
from github_s3_backup.records.signing import PublicKey
from github_s3_backup.runtime.threads import map_at_once
from github_s3_backup.s3.catalogue import Catalogue
from github_s3_backup.s3.errors import AbsentError

# More would hold more manifests in memory, and two CPUs are no faster with them.
READERS = 4
KINDS = ("git", "wikis", "LFS", "releases", "issues")

Outcome = Literal["good", "with failures", "stopped", "unreadable"]
Signature = Literal["good", "wrong", "missing", "by another key", "not checked", "none"]


class Sized(msgspec.Struct, frozen=True):
    """A part of a repository: its wiki, LFS objects, or releases."""

    size_bytes: int = 0


class Listed(msgspec.Struct, frozen=True):
    """The issues of a repository, which are in a list."""

    list: Sized | None = None

    @property
    def size_bytes(self) -> int:
        return self.list.size_bytes if self.list else 0


class Unread(msgspec.Struct, frozen=True):
    """Content that GitHub did not let the App read."""

    content: str
    error: str


class Repository(msgspec.Struct, frozen=True):
    """An entry of a manifest."""

    full_name: str
    id: int
    status: str
    size_bytes: int
    wiki: Sized | None = None
    lfs: Sized | None = None
    releases: Sized | None = None
    issues: Listed | None = None
    not_read: tuple[Unread, ...] = ()


class Failed(msgspec.Struct, frozen=True):
    """A failure in a manifest."""

    full_name: str
    id: int | None
    stage: str
    error: str


class Full(msgspec.Struct, frozen=True):
    """The full bundle that a bundle of changes stands on."""

    s3_key: str


class Lost(msgspec.Struct, frozen=True):
    """A repository that vanished."""

    full_name: str
    id: int
    since: str
    size_bytes: int = 0
    s3_key: str | None = None
    base: Full | None = None


class Document(msgspec.Struct, frozen=True):
    """A manifest."""

    date: str
    run_id: str
    complete: bool
    started_at: str
    finished_at: str
    tool_version: str
    git_version: str
    repos: tuple[Repository, ...]
    failures: tuple[Failed, ...]
    vanished: tuple[Lost, ...] = ()
    previous: tuple[PreviousRun, ...] | None = None
    variables: dict[str, str] = {}
    signing_key: str | None = None


# Made before there are threads: msgspec can crash where several look into a type for the first time at once.
DECODER = msgspec.json.Decoder(Document)


@dataclass(frozen=True)
class Run:
    """What a report needs of a run. `good`: the ids of the repositories that it stored or found unchanged.

    `sizes`: bytes by kind of what the manifest names. `changed`: how many repositories it stored
    anew, and `changed_bytes` of bundles.
    """

    date: str
    run_id: str
    sha256: str
    outcome: Outcome
    signature: Signature
    started: datetime
    finished: datetime
    repositories: int
    good: "array[int]"
    sizes: dict[str, int]
    changed: int
    changed_bytes: int
    versions: tuple[str, str]
    kinds: tuple[str, ...]
    failures: tuple[Failed, ...]
    previous: tuple[PreviousRun, ...] | None
    signing_key: str | None
    variables: dict[str, str]


@dataclass(frozen=True)
class Unreadable:
    """A run whose manifest can't be used."""

    date: str
    run_id: str
    sha256: str
    error: str


def read_runs(catalogue: Catalogue, since: str, keys: Sequence[PublicKey]) -> list[Run | Unreadable]:
    """Return all runs from the day `since` on, the oldest first. Raises S3Error where one can't be read."""
    dates = sorted(date for date in catalogue.dates() if date >= since)
    days = map_at_once(lambda date: [(date, run_id) for run_id in reversed(catalogue.run_ids(date))], dates, READERS)
    runs = map_at_once(lambda run: _read(catalogue, *run, keys), [run for day in days for run in day], READERS)
    return [run for run in runs if run]


def read_document(catalogue: Catalogue, run: Run) -> Document:
    """Return a run's manifest. Raises S3Error."""
    return DECODER.decode(catalogue.manifest_bytes(run.date, run.run_id))


def _read(catalogue: Catalogue, date: str, run_id: str, keys: Sequence[PublicKey]) -> Run | Unreadable | None:
    try:
        body = catalogue.manifest_bytes(date, run_id)
    except AbsentError:  # expired a moment ago
        return None
    sha256 = hashlib.sha256(body).hexdigest()
    try:
        document = DECODER.decode(body)
        started, finished = parse_moment(document.started_at), parse_moment(document.finished_at)
    except (msgspec.MsgspecError, ValueError) as error:
        return Unreadable(date, run_id, sha256, str(error))
    good = [entry for entry in document.repos if entry.status != "gone"]
    stored = [entry for entry in good if entry.status == "stored"]
    return Run(
        date=date,
        run_id=run_id,
        sha256=sha256,
        outcome="stopped" if not document.complete else "with failures" if document.failures else "good",
        signature=_signature(catalogue, document, body, keys),
        started=started,
        finished=finished,
        repositories=len(document.repos) + len(document.failures),
        good=array("q", [entry.id for entry in good]),
        sizes=_sizes(good),
        changed=len(stored),
        changed_bytes=sum(entry.size_bytes for entry in stored),
        versions=(document.tool_version, document.git_version),
        kinds=_kinds(good),
        failures=document.failures,
        previous=document.previous,
        signing_key=document.signing_key,
        variables=document.variables,
    )


def _signature(catalogue: Catalogue, document: Document, body: bytes, keys: Sequence[PublicKey]) -> Signature:
    if document.signing_key is None:
        return "none"
    signature = catalogue.signature(document.date, document.run_id)
    if signature is None:
        return "missing"
    if not keys:
        return "not checked"
    key = next((key for key in keys if key.id == document.signing_key), None)
    if key is None:
        return "by another key"
    return "good" if key.has_signed(body, signature) else "wrong"


def _sizes(entries: Sequence[Repository]) -> dict[str, int]:
    sizes = Counter(dict.fromkeys(KINDS, 0))
    for entry in entries:
        parts = (entry, entry.wiki, entry.lfs, entry.releases, entry.issues)
        sizes.update({kind: part.size_bytes for kind, part in zip(KINDS, parts, strict=True) if part})
    return dict(sizes)


def _kinds(entries: Sequence[Repository]) -> tuple[str, ...]:
    """Return which kinds of content the run read of any repository."""
    found = {"git": bool(entries)}
    found["wikis"] = any(entry.wiki for entry in entries)
    found["LFS"] = any(entry.lfs for entry in entries)
    found["releases"] = any(entry.releases for entry in entries)
    found["issues"] = any(entry.issues for entry in entries)
    return tuple(kind for kind in KINDS if found[kind])
