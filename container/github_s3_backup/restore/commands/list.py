"""`list`: the dates, the runs of a day, or the repositories of a backup."""

from typing import Any

from github_s3_backup.manifest import Manifest
from github_s3_backup.restore.selection import LATEST, Unavailable, manifest_of
from github_s3_backup.restore.session import Session
from github_s3_backup.restore.summary import finish
from github_s3_backup.restore.terminal import show
from github_s3_backup.s3.catalogue import CatalogueError


def run(session: Session) -> int:
    """Print what was asked for and return the exit code."""
    options = session.options
    if options.runs:
        return _list_runs(session)
    if options.date or options.patterns:
        return _list_repositories(session)
    return _list_dates(session)


def _list_dates(session: Session) -> int:
    rows, unreadable = [], []
    for date in session.catalogue.dates()[: session.options.limit]:
        try:
            rows.append(_summary(manifest_of(session.catalogue, date, None, session.log)))
        except CatalogueError as error:
            if error.absent:
                session.log.warning("no manifest: the run is in progress or was killed", date=date)
            else:
                unreadable.append(Unavailable(date, str(error)))
    if not rows and not unreadable:
        raise CatalogueError(session.catalogue.no_backup())
    show(rows, session.options.json, session.started_at)
    return finish(session, unreadable, len(rows))


def _list_runs(session: Session) -> int:
    catalogue, date = session.catalogue, session.options.date
    if date in (None, LATEST):
        date = manifest_of(catalogue, LATEST, None, session.log).date
    run_ids = sorted({*catalogue.run_ids(date), *catalogue.deleted_run_ids(date)}, reverse=True)
    if not run_ids:
        raise CatalogueError(catalogue.no_backup(date))
    rows, unreadable = [], []
    for run_id in run_ids:
        try:
            rows.append({"run": run_id, **_summary(catalogue.manifest(date, run_id))})
        except CatalogueError as error:
            unreadable.append(Unavailable(run_id, str(error)))
    show(rows, session.options.json, session.started_at)
    return finish(session, unreadable, len(rows))


def _list_repositories(session: Session) -> int:
    selection = session.select()
    rows = [
        {
            "repository": repository.entry.full_name,
            "date": repository.date,
            "status": "vanished" if repository.origin == "vanished" else repository.entry.status,
            "size_bytes": repository.entry.size_bytes,
            "refs": repository.entry.ref_count,
            "default_branch": repository.entry.default_branch,
            "backed_up_at": repository.entry.backed_up_at,
        }
        for repository in selection.selected
    ]
    show(rows, session.options.json, session.started_at)
    return finish(session, selection.unavailable, len(rows))


def _summary(manifest: Manifest) -> dict[str, Any]:
    return {
        "date": manifest.date,
        "complete": manifest.complete,
        "repositories": manifest.success_count,
        "failed": manifest.failure_count,
        "vanished": len(manifest.vanished),
        "size_bytes": sum(entry.size_bytes for entry in manifest.entries),
        "finished_at": manifest.finished_at,
    }
