"""Which repositories, from which backup."""

import contextlib
import dataclasses
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import msgspec
from structlog.typing import FilteringBoundLogger

from github_s3_backup.records.content import Kind
from github_s3_backup.records.manifest import Entry, Failure, Manifest, Vanished
from github_s3_backup.repository import WIKI_SUFFIX, is_safe_name
from github_s3_backup.repository_filter import matches, matches_any
from github_s3_backup.s3.catalogue import DATE, MAX_DAYS, Catalogue
from github_s3_backup.s3.errors import AbsentError, S3Error

LATEST = "latest"


@dataclass(frozen=True)
class Selected:
    """A repository with its wiki, or a wiki alone, and the date of the backup it is taken from.

    `origin`: the backup that was asked for, an older one because it failed there, or the last one before it vanished.
    `lacks`: why it was stored only in part, None where it was stored whole.
    """

    entry: Entry
    date: str
    origin: Literal["backup", "older backup", "vanished"] = "backup"
    lacks: str | None = None

    @property
    def size_bytes(self) -> int:
        """The size of everything that is stored of it."""
        return sum(sizes(self.entry).values())

    def facts(self) -> dict[str, Any]:
        """Return what the log says about it."""
        return {"size_bytes": self.size_bytes, "refs": self.entry.ref_count, "date": self.date}


def sizes(entry: Entry) -> dict[Kind | Literal["git"], int]:
    """Return the size of each part that is stored of a repository."""
    found: dict[Kind | Literal["git"], int] = {"git": entry.size_bytes}
    if entry.wiki and entry.wiki.status != "gone":
        found["wiki"] = entry.wiki.size_bytes
    if entry.lfs:
        found["lfs"] = entry.lfs.size_bytes
    if entry.releases:
        found["releases"] = entry.releases.size_bytes
    return found


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


def select(
    catalogue: Catalogue,
    date: str,
    run_id: str | None,
    patterns: list[str],
    log: FilteringBoundLogger,
    min_age: timedelta = timedelta(0),
    git_only: bool = False,
) -> Selection:
    """Return the repositories that match a pattern. Raises S3Error if there is no such backup.

    `date` is a day, or LATEST: then each repository comes from the newest backup that holds it, because one that
    failed today was stored yesterday. A backup younger than `min_age` is skipped if there is an older one. What had
    vanished from GitHub is taken from its last backup. What was stored only in part is selected, and unavailable too.
    `git_only`: without wikis, LFS objects and releases.
    """
    if date == LATEST:
        selection = _select_latest(catalogue, log, datetime.now(UTC) - min_age)
    else:
        manifest = manifest_of(catalogue, date, run_id, log)
        selection = _with_vanished(manifest, list(_restorable(manifest)), _unstored(manifest))
    selection = _filter(selection, patterns)
    if git_only:
        selected = tuple(map(_without_content, selection.selected))
        selection = Selection(selection.manifest, selected, selection.unavailable)
    selection = _refuse_duplicates(selection, log)
    for repository in selection.selected:
        _say_what_is_special(repository, log)
    _say_what_was_not_read(selection.selected, log)
    in_part = (_in_part(repository) for repository in selection.selected if repository.lacks)
    return Selection(selection.manifest, selection.selected, (*selection.unavailable, *in_part))


def _say_what_is_special(repository: Selected, log: FilteringBoundLogger) -> None:
    """Warn where a repository is not from the backup that was asked for, or not all of it."""
    entry = repository.entry
    about = {"full_name": entry.full_name, "date": repository.date}
    if repository.origin == "older backup":
        log.warning("taken from an older backup", **about)
    elif repository.origin == "vanished":
        log.warning("vanished from GitHub, using its last backup", **about)
    if repository.lacks:
        log.warning("stored only in part", **about, error=repository.lacks)
    missing = {
        "lfs": entry.lfs.missing if entry.lfs else 0,
        "releases": entry.releases.missing if entry.releases else 0,
    }
    for content, files in missing.items():
        if files:
            log.warning("GitHub lacked some content", **about, content=content, files=files)


def _say_what_was_not_read(selected: Iterable[Selected], log: FilteringBoundLogger) -> None:
    """Warn once for each kind of content that the App could not read."""
    refused: dict[str, list[tuple[str, str]]] = {}
    for repository in selected:
        for item in repository.entry.not_read:
            refused.setdefault(item.content, []).append((repository.entry.full_name, item.error))
    for content, found in refused.items():
        first, error = found[0]
        about = {"content": content, "repositories": len(found), "error": f"{first}: {error}"}
        log.warning("the App could not read all content", **about)


def _in_part(repository: Selected) -> Unavailable:
    hint = "The rest may be in an earlier backup: see `list` and --date"
    error = f"the backup of {repository.date} holds only a part of it: {repository.lacks}. {hint}"
    return Unavailable(repository.entry.full_name, error)


def manifest_of(catalogue: Catalogue, date: str, run_id: str | None, log: FilteringBoundLogger) -> Manifest:
    """Return the manifest of a run; of a day that of its newest complete run; of LATEST the newest readable one.

    Raises S3Error.
    """
    if date == LATEST:
        return _newest(catalogue, _past_dates(catalogue, log), log)[0]
    if run_id:
        return catalogue.manifest(date, run_id)
    manifest = catalogue.newest_of_day(date)
    if not catalogue.run_ids(date):
        log.warning("manifest was deleted, using its last version", date=date)
    return manifest


# -- the latest backup of each repository --------------------------------------------------------


def _select_latest(catalogue: Catalogue, log: FilteringBoundLogger, newest_allowed: datetime) -> Selection:
    dates = _past_dates(catalogue, log)[:MAX_DAYS]
    manifest, broken, dates = _newest(catalogue, dates, log)
    if manifest.finished > newest_allowed:
        with contextlib.suppress(S3Error):  # the very first backup has none before it
            manifest, more, dates = _newest(catalogue, dates[1:], log)
            broken += more
    selected, failures = list(_restorable(manifest)), _unstored(manifest)
    known = {repository.entry.id for repository in selected} | {record.id for record in manifest.vanished}
    earlier = _earlier_manifests(catalogue, manifest, dates, log)
    while failures and (older := next(earlier, None)):
        recovered = list(_recover(older, failures, known))
        selected += recovered
        known |= {repository.entry.id for repository in recovered}
        failures = _unrecovered(failures, older, known)
    selection = _with_vanished(manifest, selected, failures)
    return Selection(manifest, selection.selected, (*broken, *selection.unavailable))


def _past_dates(catalogue: Catalogue, log: FilteringBoundLogger) -> list[str]:
    """Return the dates of the backups, newest first, without future ones: those were made with a wrong clock."""
    dates, today = catalogue.dates(), f"{datetime.now(UTC):%Y-%m-%d}"
    for date in dates:
        if date > today:
            log.warning("backup skipped", date=date, error="its date is in the future")
    return [date for date in dates if date <= today]


def _newest(
    catalogue: Catalogue, dates: list[str], log: FilteringBoundLogger
) -> tuple[Manifest, list[Unavailable], list[str]]:
    """Return the newest readable manifest, the unreadable ones before it, and the dates from its own on."""
    broken: list[Unavailable] = []
    for number, date in enumerate(dates):
        try:
            return manifest_of(catalogue, date, None, log), broken, dates[number:]
        except S3Error as error:
            log.warning("backup skipped", date=date, error=str(error))
            if not isinstance(
                error, AbsentError
            ):  # a run that is still going, or was killed, has no manifest: nothing is broken
                broken.append(Unavailable(f"manifest of {date}", str(error)))
    raise S3Error("; ".join([catalogue.no_backup(), *(item.error for item in broken)]))


def _earlier_manifests(
    catalogue: Catalogue, newest: Manifest, dates: list[str], log: FilteringBoundLogger
) -> Iterator[Manifest]:
    """Yield the manifests of the other runs of these days, newest first."""
    for date in dates:
        for run_id in catalogue.run_ids(date) or catalogue.deleted_run_ids(date):
            if run_id == newest.run_id:
                continue
            try:
                yield catalogue.manifest(date, run_id)
            except S3Error as error:
                log.warning("backup skipped", date=date, error=str(error))


def _recover(older: Manifest, failures: list[Failure], known: set[int]) -> Iterator[Selected]:
    """Yield what an older backup holds of the failed repositories, under the names that they have now.

    Failures without an id stand for an owner (`owner/*`), or come from a manifest that had no ids yet.
    """
    by_id = {failure.id: failure.full_name for failure in failures if failure.id is not None}
    names = {failure.full_name for failure in failures if failure.id is None}
    for repository in _restorable(older):
        entry = repository.entry
        if entry.id not in known and (entry.id in by_id or names & {entry.full_name, f"{entry.owner}/*"}):
            renamed = _rename(entry, by_id.get(entry.id, entry.full_name))
            yield dataclasses.replace(repository, entry=renamed, origin="older backup")


def _unrecovered(failures: list[Failure], older: Manifest, known: set[int]) -> list[Failure]:
    """Return the failures that the older backup does not settle."""
    names = {entry.full_name for entry in older.entries if entry.id in known}
    owners = {f"{entry.owner}/*" for entry in older.entries} - {failure.full_name for failure in older.failures}
    return [
        failure
        for failure in failures
        if failure.id not in known and (failure.id is not None or failure.full_name not in names | owners)
    ]


def _rename(entry: Entry, full_name: str) -> Entry:
    owner, _, name = full_name.partition("/")
    if full_name == entry.full_name or not is_safe_name(owner, name):
        return entry
    wiki = entry.wiki and _rename(entry.wiki, f"{full_name}{WIKI_SUFFIX}")
    return msgspec.structs.replace(entry, full_name=full_name, owner=owner, name=name, wiki=wiki)


# -- one manifest --------------------------------------------------------------------------------


def _restorable(manifest: Manifest) -> Iterator[Selected]:
    """Yield the repositories that were stored, whole or in part."""
    for entry in manifest.entries:
        if entry.status != "gone":
            yield Selected(entry, manifest.date)
    for failure in manifest.failures:
        if failure.partial and failure.partial.status != "gone":
            yield Selected(failure.partial, manifest.date, lacks=f"{failure.stage}: {failure.error}")


def _unstored(manifest: Manifest) -> list[Failure]:
    """Return the failures of which nothing was stored."""
    return [failure for failure in manifest.failures if not failure.partial or failure.partial.status == "gone"]


def _with_vanished(manifest: Manifest, selected: list[Selected], failures: list[Failure]) -> Selection:
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
        wiki=record.wiki,
        lfs=record.lfs,
        releases=record.releases,
    )
    return Selected(entry, date, "vanished")


def _refuse_duplicates(selection: Selection, log: FilteringBoundLogger) -> Selection:
    """Return the selection with one repository for each name: two would end up in the same place.

    A vanished repository is dropped without a failure: its name was reused.
    """
    first: dict[str, Selected] = {}
    refused = []
    for repository in selection.selected:
        entry, date = repository.entry, repository.date
        kept = first.setdefault(entry.full_name.lower(), repository)
        if kept is repository:
            if entry.wiki:
                first[entry.wiki.full_name.lower()] = repository
            continue
        if repository.origin == "vanished":
            log.warning("name reused, vanished repository skipped", full_name=entry.full_name, last_backup=date)
            continue
        error = f"two repositories have this name, and only the one with id {kept.entry.id} is restored. The other one"
        refused.append(Unavailable(entry.full_name, f"{error} (id {entry.id}) is in the backup of {date}: see --date"))
    selected = tuple({id(repository): repository for repository in first.values()}.values())
    return Selection(selection.manifest, selected, (*selection.unavailable, *refused))


# -- patterns ------------------------------------------------------------------------------------


def _filter(selection: Selection, patterns: list[str]) -> Selection:
    """Return the part of the selection that matches the patterns, each pattern without a match as unavailable."""
    selected = list(_matching(selection.selected, patterns))
    # What is no repository, such as an unreadable manifest, concerns every pattern.
    unavailable = [
        item for item in selection.unavailable if "/" not in item.full_name or matches_any(item.full_name, patterns)
    ]
    names = [*(item.entry.full_name for item in selected), *(item.full_name for item in unavailable)]
    for pattern in patterns:
        if not any(matches(name, pattern) for name in names):
            unavailable.append(Unavailable(pattern, _why_no_match(selection, pattern)))
    selected.sort(key=lambda item: item.entry.full_name.lower())  # stable: of one name the newest backup stays first
    return Selection(selection.manifest, tuple(selected), tuple(unavailable))


def _matching(selected: Iterable[Selected], patterns: list[str]) -> Iterator[Selected]:
    """Yield the repositories that match, with their wikis; of others a wiki that matches by its own name."""
    for repository in selected:
        wiki = repository.entry.wiki
        if matches_any(repository.entry.full_name, patterns):
            yield repository
        elif wiki and wiki.status != "gone" and matches_any(wiki.full_name, patterns):
            yield dataclasses.replace(repository, entry=wiki, lacks=None)


def _without_content(repository: Selected) -> Selected:
    """Return the repository's git data alone, which is there even where it was stored only in part."""
    entry = msgspec.structs.replace(repository.entry, wiki=None, lfs=None, releases=None, not_read=())
    return dataclasses.replace(repository, entry=entry, lacks=None)


def _why_no_match(selection: Selection, pattern: str) -> str:
    for item in selection.unavailable:
        if matches(pattern, item.full_name):  # its owner could not be listed
            return item.error
    for repository in selection.selected:
        if matches(f"{repository.entry.full_name}{WIKI_SUFFIX}", pattern):
            lacks = f": {repository.lacks}" if repository.lacks else ""
            return f"the backup of {repository.date} holds no wiki of {repository.entry.full_name}{lacks}"
    date = selection.manifest.date
    return (
        f"the backup of {date} has no such repository: `list --date {date}` shows what it holds; "
        "another day may have it (`list`)"
    )
