"""The latest backup of each repository: one that failed today was stored yesterday."""

import contextlib
import dataclasses
from collections.abc import Iterator
from datetime import UTC, datetime

import msgspec
from structlog.typing import FilteringBoundLogger

from github_s3_backup.records.entry import Entry, Failure
from github_s3_backup.records.manifest import Manifest
from github_s3_backup.repository import WIKI_SUFFIX, is_safe_name
from github_s3_backup.restore.selection.records import (
    Selected,
    Selection,
    Unavailable,
    restorable,
    unstored,
    with_vanished,
)
from github_s3_backup.s3.catalogue import MAX_DAYS, Catalogue
from github_s3_backup.s3.errors import AbsentError, S3Error

LATEST = "latest"


def select_latest(catalogue: Catalogue, log: FilteringBoundLogger, newest_allowed: datetime) -> Selection:
    """Return each repository from the newest backup that holds it. Raises S3Error."""
    dates = _past_dates(catalogue, log)[:MAX_DAYS]
    manifest, broken, dates = _newest(catalogue, dates, log)
    if manifest.finished > newest_allowed:
        with contextlib.suppress(S3Error):  # the very first backup has none before it
            manifest, more, dates = _newest(catalogue, dates[1:], log)
            broken += more
    selected, failures = list(restorable(manifest)), unstored(manifest)
    known = {repository.entry.id for repository in selected} | {record.id for record in manifest.vanished}
    earlier = _earlier_manifests(catalogue, manifest, dates, log)
    while failures and (older := next(earlier, None)):
        recovered = list(_recover(older, failures, known))
        selected += recovered
        known |= {repository.entry.id for repository in recovered}
        failures = _unrecovered(failures, older, known)
    selection = with_vanished(manifest, selected, failures)
    return Selection(manifest, selection.selected, (*broken, *selection.unavailable))


def moment_of(text: str) -> datetime | None:
    """Return the moment that a text such as 2026-11-23T06:00Z names, None where it is none, or has no time zone."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment.astimezone(UTC) if moment.tzinfo else None


def as_of(catalogue: Catalogue, date: str) -> tuple[Catalogue, str]:
    """Return where to look for a backup of `date`: the latest one until then where it is a moment."""
    moment = moment_of(date)
    return (catalogue.until(moment), LATEST) if moment else (catalogue, date)


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
            # A run that is still going, or was killed, has no manifest: nothing is broken.
            if not isinstance(error, AbsentError):
                broken.append(Unavailable(f"manifest of {date}", str(error)))
    raise S3Error("; ".join([catalogue.no_backup(), *(item.error for item in broken)]))


def _earlier_manifests(
    catalogue: Catalogue, newest: Manifest, dates: list[str], log: FilteringBoundLogger
) -> Iterator[Manifest]:
    """Yield what the newest manifest keeps of what failed, then the other runs of these days, newest first."""
    yield msgspec.structs.replace(newest, entries=newest.last_good, failures=())
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
    for repository in restorable(older):
        entry = repository.entry
        if entry.id not in known and (entry.id in by_id or names & {entry.full_name, f"{entry.owner}/*"}):
            renamed = _rename(entry, by_id.get(entry.id, entry.full_name))
            date = min(repository.date, entry.backed_up_at[:10]) if entry in older.last_good else repository.date
            yield dataclasses.replace(repository, entry=renamed, date=date, origin="older backup")


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


def manifest_of(catalogue: Catalogue, date: str, run_id: str | None, log: FilteringBoundLogger) -> Manifest:
    """Return the manifest of a run; of a day that of its newest complete run; of LATEST the newest readable one, of a
    moment the newest readable one until then.

    Raises S3Error.
    """
    catalogue, date = as_of(catalogue, date)
    if date == LATEST:
        return _newest(catalogue, _past_dates(catalogue, log), log)[0]
    if run_id:
        return catalogue.manifest(date, run_id)
    manifest = catalogue.newest_of_day(date)
    if not catalogue.run_ids(date):
        log.warning("manifest was deleted, using its last version", date=date)
    return manifest
