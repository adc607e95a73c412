"""`list`: the dates, the runs of a day, or the repositories of a backup."""

from collections.abc import Callable
from typing import Any

import msgspec

from github_s3_backup.records.content import ISSUE_KINDS
from github_s3_backup.records.entry import Entry
from github_s3_backup.records.manifest import Manifest
from github_s3_backup.restore.selection.latest import LATEST, manifest_of
from github_s3_backup.restore.selection.records import Selected, Unavailable, sizes
from github_s3_backup.restore.session import Session, finish
from github_s3_backup.restore.terminal import show
from github_s3_backup.runtime.units import format_bytes
from github_s3_backup.s3.catalogue import DATE
from github_s3_backup.s3.errors import AbsentError, S3Error


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
        except S3Error as error:
            if isinstance(error, AbsentError):
                session.log.warning("no manifest: the run is in progress or was killed", date=date)
            else:
                unreadable.append(Unavailable(date, str(error)))
    if not rows and not unreadable:
        raise S3Error(session.catalogue.no_backup())
    show(rows, session.options.json, session.started_at)
    return finish(session, unreadable, len(rows))


def _list_runs(session: Session) -> int:
    catalogue, date = session.catalogue, session.options.date
    if not DATE.fullmatch(date or ""):
        date = manifest_of(catalogue, date or LATEST, None, session.log).date
    run_ids = sorted({*catalogue.run_ids(date), *catalogue.deleted_run_ids(date)}, reverse=True)
    if not run_ids:
        raise S3Error(catalogue.no_backup(date))
    rows, unreadable = [], []
    for run_id in run_ids:
        try:
            manifest = catalogue.manifest(date, run_id)
            rows.append({"run": run_id, **_summary(manifest), "signing_key": manifest.signing_key})
        except S3Error as error:
            unreadable.append(Unavailable(run_id, str(error)))
    if not session.options.json:
        rows = _with_short_keys(rows)
    show(rows, session.options.json, session.started_at)
    return finish(session, unreadable, len(rows))


def _with_short_keys(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows for a table, with the beginning of each key's id, and without keys where nothing is signed."""
    if any(row["signing_key"] for row in rows):
        return [row | {"signing_key": (row["signing_key"] or "-")[:16]} for row in rows]
    return [{name: value for name, value in row.items() if name != "signing_key"} for row in rows]


def _list_repositories(session: Session) -> int:
    selection = session.select()
    rows = [_row(repository) for repository in selection.selected]
    if not session.options.json:
        rows = _compact(rows)
    show(rows, session.options.json, session.started_at)
    return finish(session, selection.unavailable, len(rows))


def _row(repository: Selected) -> dict[str, Any]:
    entry, status = repository.entry, str(repository.entry.status)
    if repository.origin == "vanished":
        status = "vanished"
    elif repository.lacks:
        status = "in part"
    return {
        "repository": entry.full_name,
        "date": repository.date,
        "status": status,
        "size_bytes": _size(entry),
        "refs": entry.ref_count,
        "default_branch": entry.default_branch,
        "backed_up_at": entry.backed_up_at,
        "wiki": msgspec.to_builtins(entry.wiki),
        "lfs": msgspec.to_builtins(entry.lfs),
        "releases": msgspec.to_builtins(entry.releases),
        "issues": msgspec.to_builtins(entry.issues),
        "not_read": msgspec.to_builtins(entry.not_read),
        "lacks": repository.lacks,
    }


def _size(entry: Entry) -> int:
    """Return the bytes that a restore downloads: bundles, LFS objects, files of releases, and issues."""
    return sum(sizes(entry).values())


def _compact(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows for a table: a cell for each kind of content, a column only where a repository has it."""
    columns = {"wiki": _wiki, "lfs": _counted("objects"), "releases": _counted("count"), "issues": _issues}
    shown = [name for name, cell in columns.items() if any(cell(row[name]) != "-" for row in rows)]
    plain = [name for name in (rows[0] if rows else {}) if name not in (*columns, "not_read", "lacks")]
    return [{name: row[name] for name in plain} | {name: columns[name](row[name]) for name in shown} for row in rows]


def _wiki(wiki: dict[str, Any] | None) -> str:
    bundles = [wiki, wiki["base"]] if wiki and wiki["s3_key"] else []
    return format_bytes(sum(bundle["size_bytes"] for bundle in bundles if bundle)) if bundles else "-"


def _issues(summary: dict[str, Any] | None) -> str:
    if not summary or not summary["list"]:
        return "-"
    stored = sum((summary[kind] or {"stored": 0})["stored"] for kind in ISSUE_KINDS)
    return f"{stored}, {format_bytes(summary['list']['size_bytes'])}"


def _counted(count: str) -> Callable[[dict[str, Any] | None], str]:
    """Return what makes a cell of a number of files, with their size: `3, 1.2 GB`."""

    def cell(summary: dict[str, Any] | None) -> str:
        return f"{summary[count]}, {format_bytes(summary['size_bytes'])}" if summary and summary[count] else "-"

    return cell


def _summary(manifest: Manifest) -> dict[str, Any]:
    return {
        "date": manifest.date,
        "complete": manifest.complete,
        "repositories": manifest.success_count,
        "failed": manifest.failure_count,
        "vanished": len(manifest.vanished),
        "size_bytes": sum(map(_size, manifest.entries)),
        "finished_at": manifest.finished_at,
    }
