"""What a backup holds: the repositories that can be restored, and what can't."""

import dataclasses
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from github_s3_backup.records.content import Kind
from github_s3_backup.records.entry import Entry, Failure, Vanished
from github_s3_backup.records.manifest import Manifest
from github_s3_backup.repository_filter import matches_any
from github_s3_backup.runtime.units import format_bytes
from github_s3_backup.s3.catalogue import DATE


@dataclass(frozen=True)
class Selected:
    """A repository with its wiki, or a wiki alone, and the date of the backup it is taken from.

    `origin`: the backup that was asked for, an older one because it failed there, or the last one before it vanished.
    `lacks`: why it was stored only in part, None where it was stored whole. `is_first`: it must come before others.
    """

    entry: Entry
    date: str
    origin: Literal["backup", "older backup", "vanished"] = "backup"
    lacks: str | None = None
    is_first: bool = False

    @property
    def size_bytes(self) -> int:
        """The size of everything that is stored of it."""
        return sum(sizes(self.entry).values())

    @property
    def has_issues(self) -> bool:
        return self.entry.issues is not None and self.entry.issues.list is not None

    def before_issues(self) -> "Selected":
        """Return what is pushed before issues: a repository that has some is archived after them."""
        archived = self.entry.archived and not self.has_issues
        return dataclasses.replace(self, entry=msgspec.structs.replace(self.entry, issues=None, archived=archived))

    def with_issues_alone(self, has_failed: bool) -> "Selected":
        """Return the git data, which is looked at first, and the issues. What has failed is not archived."""
        archived = self.entry.archived and not has_failed
        entry = msgspec.structs.replace(self.entry, wiki=None, lfs=None, releases=None, archived=archived)
        return dataclasses.replace(self, entry=entry)

    def facts(self) -> dict[str, Any]:
        """Return what the log says about it."""
        return {"size_bytes": self.size_bytes, "refs": self.entry.ref_count, "date": self.date}


def sizes(entry: Entry) -> dict[Kind | Literal["git"], int]:
    """Return the size of each part that is stored of a repository."""
    found: dict[Kind | Literal["git"], int] = {"git": entry.restore_bytes}
    if entry.wiki and entry.wiki.status != "gone":
        found["wiki"] = entry.wiki.restore_bytes
    if entry.lfs:
        found["lfs"] = entry.lfs.size_bytes
    if entry.releases:
        found["releases"] = entry.releases.size_bytes
    if entry.issues and entry.issues.list:
        found["issues"] = entry.issues.list.size_bytes
    return found


def sizes_in_words(selected: Sequence[Selected]) -> dict[str, str]:
    """Return how many bytes each part of the repositories has, as a person reads it."""
    total: Counter[str] = Counter()
    for repository in selected:
        total.update(sizes(repository.entry))
    return {part: format_bytes(size) for part, size in total.items() if size}


@dataclass(frozen=True)
class Unavailable:
    """Something that was asked for and can't be restored."""

    full_name: str
    error: str


@dataclass(frozen=True)
class Selection:
    """What was asked for: the repositories that can be restored, and what can't. `manifest`: the newest one used."""

    manifest: Manifest
    selected: tuple[Selected, ...]
    unavailable: tuple[Unavailable, ...]

    def without(self, patterns: list[str]) -> "Selection":
        """Return the selection without what matches a pattern."""
        selected = tuple(item for item in self.selected if not matches_any(item.entry.full_name, patterns))
        unavailable = tuple(item for item in self.unavailable if not matches_any(item.full_name, patterns))
        return Selection(self.manifest, selected, unavailable)

    def with_first(self, patterns: list[str]) -> "Selection":
        """Return the selection, in which what matches a pattern comes before the rest."""
        marked = (dataclasses.replace(s, is_first=matches_any(s.entry.full_name, patterns)) for s in self.selected)
        return Selection(self.manifest, tuple(marked), self.unavailable)


# -- one manifest --------------------------------------------------------------------------------


def restorable(manifest: Manifest) -> Iterator[Selected]:
    """Yield the repositories that were stored, whole or in part."""
    for entry in manifest.entries:
        if entry.status != "gone":
            yield Selected(entry, manifest.date)
    for failure in manifest.failures:
        if failure.partial and failure.partial.status != "gone":
            yield Selected(failure.partial, manifest.date, lacks=f"{failure.stage}: {failure.error}")


def unstored(manifest: Manifest) -> list[Failure]:
    """Return the failures of which nothing was stored."""
    return [failure for failure in manifest.failures if not failure.partial or failure.partial.status == "gone"]


def with_vanished(manifest: Manifest, selected: list[Selected], failures: list[Failure]) -> Selection:
    """Return the selection with the manifest's vanished repositories."""
    known = {repository.entry.id for repository in selected}
    unavailable = [
        Unavailable(failure.full_name, f"not in this backup: {failure.stage}: {failure.error}") for failure in failures
    ]
    for record in manifest.vanished:
        if record.id in known:
            continue
        try:
            selected.append(_last_backup(record))
        except ValueError as error:
            unavailable.append(Unavailable(record.full_name, f"it vanished, and its last backup is unknown: {error}"))
    return Selection(manifest, tuple(selected), tuple(unavailable))


def _last_backup(record: Vanished) -> Selected:
    """Return the last backup of a vanished repository. Raises ValueError if the manifest does not hold enough of it."""
    owner, _, name = record.full_name.partition("/")
    dated = re.search(DATE, record.s3_key or "")
    date = dated[0] if dated else record.since
    entry = Entry(
        full_name=record.full_name,
        id=record.id,
        owner=owner,
        name=name,
        private=True,
        archived=False,
        fork=False,
        default_branch=record.default_branch,
        sha=None,
        status="stored" if record.s3_key else "empty",
        s3_key=record.s3_key,
        version_id=record.version_id,
        size_bytes=record.size_bytes,
        sha256=record.sha256,
        ref_count=record.ref_count,
        refs_sha256=record.refs_sha256,
        backed_up_at=f"{date}T00:00:00Z",
        duration_seconds=0.0,
        base=record.base,
        wiki=record.wiki,
        lfs=record.lfs,
        releases=record.releases,
        issues=record.issues,
    )
    return Selected(entry, date, "vanished")
