"""Which repositories of which backup are to be restored."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase

from structlog.typing import FilteringBoundLogger

from github_s3_backup.manifest import Entry, Failure, Manifest
from github_s3_backup.s3.catalogue import NEWEST_LOOKED_AT, Catalogue, CatalogueError

LATEST = "latest"


@dataclass(frozen=True)
class Chosen:
    """A repository and the backup that it is taken from."""

    entry: Entry
    date: str


@dataclass(frozen=True)
class Missing:
    """What was asked for and can't be had."""

    full_name: str
    error: str


@dataclass(frozen=True)
class Selection:
    """What was asked for: found, and not found."""

    manifest: Manifest
    chosen: tuple[Chosen, ...]
    missing: tuple[Missing, ...]


def matches(full_name: str, pattern: str) -> bool:
    """Return whether a repository is meant by `owner/name`, a glob, or an owner alone; case is ignored as on GitHub."""
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
    settled: timedelta = timedelta(0),
) -> Selection:
    """Return the repositories that match one of the patterns. Raises CatalogueError where there is no such backup.

    `date` is a day, or LATEST: then each repository is taken from the newest backup that holds it, because a
    repository that failed today was stored yesterday. A backup younger than `settled` is left out where there is
    an older one.
    """
    if date == LATEST:
        selection = _latest(catalogue, log, datetime.now(UTC) - settled)
    else:
        manifest = manifest_of(catalogue, date, version_id, log)
        selection = Selection(manifest, _stored(manifest), tuple(_missing(one) for one in manifest.failures))
    return _matching(selection, patterns)


def manifest_of(catalogue: Catalogue, date: str, version_id: str | None, log: FilteringBoundLogger) -> Manifest:
    """Return a day's manifest, its newest version where somebody deleted it. Raises CatalogueError.

    LATEST is the newest that can be read.
    """
    if date == LATEST:
        return _newest(catalogue, _past_dates(catalogue, log), log)[0]
    try:
        return catalogue.manifest(date, version_id)
    except CatalogueError as error:
        deleted = catalogue.deleted_manifest(date) if error.absent and not version_id else None
        if deleted is None:
            raise
        log.warning("manifest was deleted, its newest version is used", date=date)
        return deleted


def _latest(catalogue: Catalogue, log: FilteringBoundLogger, settled_by: datetime) -> Selection:
    dates = _past_dates(catalogue, log)[:NEWEST_LOOKED_AT]
    manifest, broken, dates = _newest(catalogue, dates, log)
    if manifest.finished_at > settled_by:
        with contextlib.suppress(CatalogueError):  # the first backup of all has none before it
            manifest, more, dates = _newest(catalogue, dates[1:], log)
            broken += more
    chosen, wanted = list(_stored(manifest)), list(manifest.failures)
    earlier = _earlier(catalogue, manifest, dates, log)
    while wanted and (older := next(earlier, None)):
        found = _recovered(older, wanted, {one.entry.id for one in chosen})
        for one in found:
            log.warning("taken from an older backup", full_name=one.entry.full_name, date=one.date)
        chosen.extend(found)
        names = {one.entry.full_name for one in found}
        listed = {f"{one.owner}/*" for one in older.entries} - {one.full_name for one in older.failures}
        wanted = [one for one in wanted if one.full_name not in names | listed]
    return Selection(manifest, tuple(chosen), (*broken, *(_missing(one) for one in wanted)))


def _past_dates(catalogue: Catalogue, log: FilteringBoundLogger) -> list[str]:
    """Return the dates of the backups, the newest first, without those of days to come: a clock was wrong."""
    dates, today = catalogue.dates(), f"{datetime.now(UTC):%Y-%m-%d}"
    for date in dates:
        if date > today:
            log.warning("backup left out", date=date, error="it is of a day to come")
    return [date for date in dates if date <= today]


def _earlier(catalogue: Catalogue, newest: Manifest, dates: list[str], log: FilteringBoundLogger) -> Iterator[Manifest]:
    """Yield the manifests of the other runs of these days, the newest first."""
    for date in dates:
        for version_id in _version_ids(catalogue, date):
            try:
                manifest = catalogue.manifest(date, version_id)
            except CatalogueError as error:
                log.warning("backup left out", date=date, error=str(error))
                continue
            if manifest.run_id != newest.run_id:
                yield manifest


def _version_ids(catalogue: Catalogue, date: str) -> list[str | None]:
    """Return the versions of a day's manifest, the newest first; None, the newest, where listing is forbidden."""
    try:
        return [one.version_id for one in catalogue.versions(date)]
    except CatalogueError:
        return [None]


def _newest(
    catalogue: Catalogue, dates: list[str], log: FilteringBoundLogger
) -> tuple[Manifest, list[Missing], list[str]]:
    """Return the newest manifest that can be read, those that can't, and the dates from its own on."""
    broken: list[Missing] = []
    for number, date in enumerate(dates):
        try:
            return manifest_of(catalogue, date, None, log), broken, dates[number:]
        except CatalogueError as error:
            # A run that is still on its way, or was killed, has no manifest: no fault of the backups.
            log.warning("backup left out", date=date, error=str(error))
            if not error.absent:
                broken.append(Missing(f"manifest of {date}", str(error)))
    raise CatalogueError("; ".join([catalogue.nothing_here(), *(one.error for one in broken)]))


def _stored(manifest: Manifest) -> tuple[Chosen, ...]:
    return tuple(Chosen(one, manifest.date) for one in manifest.entries if one.status != "gone")


def _recovered(earlier: Manifest, wanted: list[Failure], have: set[int]) -> list[Chosen]:
    """Return what an earlier backup holds of the repositories that failed; `owner/*` stands for all of an owner."""
    names = {one.full_name for one in wanted}
    return [
        one
        for one in _stored(earlier)
        if one.entry.id not in have and (one.entry.full_name in names or f"{one.entry.owner}/*" in names)
    ]


def _missing(failure: Failure) -> Missing:
    return Missing(failure.full_name, f"this backup does not hold it: {failure.stage}: {failure.error}")


def _matching(selection: Selection, patterns: list[str]) -> Selection:
    chosen = tuple(one for one in selection.chosen if matches_any(one.entry.full_name, patterns))
    # What is no repository (a manifest that can't be read) concerns everyone.
    missing = [one for one in selection.missing if "/" not in one.full_name or matches_any(one.full_name, patterns)]
    names = [*(one.entry.full_name for one in chosen), *(one.full_name for one in missing)]
    for pattern in patterns:
        if not any(matches(name, pattern) for name in names):
            unlisted = [one.error for one in selection.missing if matches(pattern, one.full_name)]
            if unlisted:
                missing.append(Missing(pattern, unlisted[0]))
                continue
            hint = f"`list --date {selection.manifest.date}` shows what it holds; another day has it perhaps (`list`)"
            missing.append(
                Missing(pattern, f"the backup of {selection.manifest.date} holds no such repository: {hint}")
            )
    return Selection(selection.manifest, tuple(sorted(chosen, key=lambda one: one.entry.full_name)), tuple(missing))
