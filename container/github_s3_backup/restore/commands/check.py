"""`check`: the newest complete backup, and whether it is recent enough."""

import json
from typing import Any

from github_s3_backup import metrics
from github_s3_backup.manifest import Failure, Manifest
from github_s3_backup.restore.freshness import check_age, newest_complete
from github_s3_backup.restore.session import Session, service_name
from github_s3_backup.restore.summary import finish
from github_s3_backup.restore.terminal import show


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
