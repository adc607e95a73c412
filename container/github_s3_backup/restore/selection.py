"""Which repositories, from which backup."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from typing import Any

from structlog.typing import FilteringBoundLogger

from github_s3_backup.manifest import Entry, Failure, Manifest
from github_s3_backup.s3.catalogue import DAYS_SEARCHED, Catalogue, CatalogueError

LATEST = "latest"


@dataclass(frozen=True)
class Selected:
    """A repository, and the date of the backup it is taken from."""

    entry: Entry
    date: str

    def facts(self) -> dict[str, Any]:
        """Return what the log says about it."""
        return {"size_bytes": self.entry.size_bytes, "refs": self.entry.ref_count, "date": self.date}


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


def matches(full_name: str, pattern: str) -> bool:
    """Return whether a pattern (`owner/name`, a glob, or an owner) means this repository; case is ignored."""
    name, wanted = full_name.lower(), pattern.lower()
    return fnmatchcase(name, wanted if "/" in wanted else f"{wanted}/*")


def matches_any(full_name: str, patterns: list[str]) -> bool:
    return any(matches(full_name, pattern) for pattern in patterns)


def select(
    catalogue: Catalogue,
    date: str,
    version_id: str | None,
    patterns: list[str],
    log: FilteringBoundLogger,
    min_age: timedelta = timedelta(0),
) -> Selection:
    """Return the repositories that match a pattern. Raises CatalogueError if there is no such backup.

    `date` is a day, or LATEST: then each repository comes from the newest backup that holds it, because one that
    failed today was stored yesterday. A backup younger than `min_age` is skipped if there is an older one.
    """
    if date == LATEST:
        selection = _select_latest(catalogue, log, datetime.now(UTC) - min_age)
    else:
        manifest = manifest_of(catalogue, date, version_id, log)
        unavailable = tuple(_unavailable(failure) for failure in manifest.failures)
        selection = Selection(manifest, _restorable(manifest), unavailable)
    return _filter(selection, patterns)


def manifest_of(catalogue: Catalogue, date: str, version_id: str | None, log: FilteringBoundLogger) -> Manifest:
    """Return a day's manifest, or its newest version if it was deleted; of LATEST, the newest readable one.

    Raises CatalogueError.
    """
    if date == LATEST:
        return _newest(catalogue, _past_dates(catalogue, log), log)[0]
    try:
        return catalogue.manifest(date, version_id)
    except CatalogueError as error:
        deleted = catalogue.deleted_manifest(date) if error.absent and not version_id else None
        if deleted is None:
            raise
        log.warning("manifest was deleted, using its newest version", date=date)
        return deleted


def _select_latest(catalogue: Catalogue, log: FilteringBoundLogger, newest_allowed: datetime) -> Selection:
    dates = _past_dates(catalogue, log)[:DAYS_SEARCHED]
    manifest, broken, dates = _newest(catalogue, dates, log)
    if manifest.finished_at > newest_allowed:
        with contextlib.suppress(CatalogueError):  # the very first backup has none before it
            manifest, more, dates = _newest(catalogue, dates[1:], log)
            broken += more
    selected, failures = list(_restorable(manifest)), list(manifest.failures)
    earlier = _earlier_manifests(catalogue, manifest, dates, log)
    while failures and (older := next(earlier, None)):
        recovered = _recover(older, failures, {repository.entry.id for repository in selected})
        for repository in recovered:
            log.warning("taken from an older backup", full_name=repository.entry.full_name, date=repository.date)
        selected.extend(recovered)
        names = {repository.entry.full_name for repository in recovered}
        listed = {f"{entry.owner}/*" for entry in older.entries} - {failure.full_name for failure in older.failures}
        failures = [failure for failure in failures if failure.full_name not in names | listed]
    return Selection(manifest, tuple(selected), (*broken, *(_unavailable(failure) for failure in failures)))


def _past_dates(catalogue: Catalogue, log: FilteringBoundLogger) -> list[str]:
    """Return the dates of the backups, newest first, without future ones: those were made with a wrong clock."""
    dates, today = catalogue.dates(), f"{datetime.now(UTC):%Y-%m-%d}"
    for date in dates:
        if date > today:
            log.warning("backup skipped", date=date, error="its date is in the future")
    return [date for date in dates if date <= today]


def _earlier_manifests(
    catalogue: Catalogue, newest: Manifest, dates: list[str], log: FilteringBoundLogger
) -> Iterator[Manifest]:
    """Yield the manifests of the other runs of these days, newest first."""
    for date in dates:
        for version_id in _version_ids(catalogue, date):
            try:
                manifest = catalogue.manifest(date, version_id)
            except CatalogueError as error:
                log.warning("backup skipped", date=date, error=str(error))
                continue
            if manifest.run_id != newest.run_id:
                yield manifest


def _version_ids(catalogue: Catalogue, date: str) -> list[str | None]:
    """Return the versions of a day's manifest, newest first; None, the newest, if listing them is forbidden."""
    try:
        return [version.version_id for version in catalogue.versions(date)]
    except CatalogueError:
        return [None]


def _newest(
    catalogue: Catalogue, dates: list[str], log: FilteringBoundLogger
) -> tuple[Manifest, list[Unavailable], list[str]]:
    """Return the newest readable manifest, the unreadable ones before it, and the dates from its own on."""
    broken: list[Unavailable] = []
    for number, date in enumerate(dates):
        try:
            return manifest_of(catalogue, date, None, log), broken, dates[number:]
        except CatalogueError as error:
            log.warning("backup skipped", date=date, error=str(error))
            if not error.absent:  # a run that is still going, or was killed, has no manifest: nothing is broken
                broken.append(Unavailable(f"manifest of {date}", str(error)))
    raise CatalogueError("; ".join([catalogue.no_backup(), *(item.error for item in broken)]))


def _restorable(manifest: Manifest) -> tuple[Selected, ...]:
    return tuple(Selected(entry, manifest.date) for entry in manifest.entries if entry.status != "gone")


def _recover(older: Manifest, failures: list[Failure], known: set[int]) -> list[Selected]:
    """Return what an older backup holds of the failed repositories; `owner/*` stands for all of an owner."""
    names = {failure.full_name for failure in failures}
    return [
        repository
        for repository in _restorable(older)
        if repository.entry.id not in known
        and (repository.entry.full_name in names or f"{repository.entry.owner}/*" in names)
    ]


def _unavailable(failure: Failure) -> Unavailable:
    return Unavailable(failure.full_name, f"not in this backup: {failure.stage}: {failure.error}")


def _filter(selection: Selection, patterns: list[str]) -> Selection:
    """Return the part of the selection that matches the patterns, each pattern without a match as unavailable."""
    selected = [item for item in selection.selected if matches_any(item.entry.full_name, patterns)]
    # What is no repository, such as an unreadable manifest, concerns every pattern.
    unavailable = [
        item for item in selection.unavailable if "/" not in item.full_name or matches_any(item.full_name, patterns)
    ]
    names = [*(item.entry.full_name for item in selected), *(item.full_name for item in unavailable)]
    for pattern in patterns:
        if not any(matches(name, pattern) for name in names):
            unavailable.append(Unavailable(pattern, _why_no_match(selection, pattern)))
    selected.sort(key=lambda item: item.entry.full_name)
    return Selection(selection.manifest, tuple(selected), tuple(unavailable))


def _why_no_match(selection: Selection, pattern: str) -> str:
    for item in selection.unavailable:
        if matches(pattern, item.full_name):  # its owner could not be listed
            return item.error
    date = selection.manifest.date
    return (
        f"the backup of {date} has no such repository: `list --date {date}` shows what it holds; "
        "another day may have it (`list`)"
    )
