"""`check`: the newest complete backup, and whether it is recent enough."""

import json
from datetime import timedelta
from typing import Any

from github_s3_backup.records.entry import Failure
from github_s3_backup.records.manifest import Manifest
from github_s3_backup.restore.selection.records import Unavailable
from github_s3_backup.restore.session import Session, finish, service_name
from github_s3_backup.restore.terminal import age, show
from github_s3_backup.runtime import metrics
from github_s3_backup.s3.errors import S3Error


def run(session: Session) -> int:
    """Print the newest complete backup and return the exit code."""
    newest = newest_complete(session)
    if newest:
        _print(newest, session)
        if session.options.publish:
            seconds = _age_seconds(newest, session)
            metrics.publish(session.aws, service_name(), {metrics.BACKUP_AGE: seconds}, session.log)
    return finish(session, check_age(newest, session), done=1 if newest else 0)


def _print(newest: Manifest, session: Session) -> None:
    failures = [_failure(failure) for failure in newest.failures]
    summary = {
        "date": newest.date,
        "run": newest.run_id,
        "finished_at": newest.finished_at,
        "repositories": newest.success_count,
        "failed": newest.failure_count,
        "vanished": len(newest.vanished),
    }
    if session.options.json:
        document = summary | {"age_seconds": _age_seconds(newest, session), "failures": failures}
        print(json.dumps(document, indent=2), flush=True)
        return
    show([summary], as_json=False, now=session.started_at)
    if failures:
        print()
        rows = [{"repository": f["full_name"], "stage": f["stage"], "error": f["error"]} for f in failures]
        show(rows, as_json=False, now=session.started_at)


def _age_seconds(newest: Manifest, session: Session) -> float:
    return max(0.0, round((session.started_at - newest.finished).total_seconds()))


def _failure(failure: Failure) -> dict[str, Any]:
    shown = {name: getattr(failure, name) for name in ("full_name", "id", "stage", "error")}
    return shown | {"in_part": failure.partial is not None}


# -- how old it is -------------------------------------------------------------------------------


def newest_complete(session: Session) -> Manifest | None:
    """Return the manifest of the newest complete backup, None if there is none. Raises S3Error."""
    for date, run_id in session.catalogue.runs(f"{session.started_at:%Y-%m-%d}"):
        try:
            manifest = session.catalogue.manifest(date, run_id)
        except S3Error as error:
            session.log.warning("backup skipped", date=date, error=str(error))
            continue
        if manifest.complete:
            return manifest
    return None


def check_age(newest: Manifest | None, session: Session) -> list[Unavailable]:
    """Return a failure if the newest complete backup is missing, or older than --max-age-hours."""
    max_age = session.options.max_age_hours
    if newest is None:
        return [Unavailable("newest backup", f"no complete backup is readable: {session.catalogue.no_backup()}")]
    if max_age is None or session.started_at - newest.finished <= timedelta(hours=max_age):
        return []
    passed = age(newest.finished, session.started_at)
    return [Unavailable("newest backup", f"it finished {passed} ago, at {newest.finished_at}: more than {max_age} h")]
