"""How old the newest complete backup is."""

from datetime import timedelta

from github_s3_backup.manifest import Manifest
from github_s3_backup.restore.selection import Unavailable
from github_s3_backup.restore.session import Session
from github_s3_backup.restore.terminal import age


def newest_complete(session: Session) -> Manifest | None:
    """Return the manifest of the newest complete backup, None if there is none. Raises CatalogueError."""
    return session.catalogue.newest_complete(
        f"{session.started_at:%Y-%m-%d}",
        lambda date, error: session.log.warning("backup skipped", date=date, error=str(error)),
    )


def check_age(newest: Manifest | None, session: Session) -> list[Unavailable]:
    """Return a failure if the newest complete backup is missing, or older than --max-age-hours."""
    max_age = session.options.max_age_hours
    if newest is None:
        return [Unavailable("newest backup", f"no complete backup is readable: {session.catalogue.no_backup()}")]
    if max_age is None or session.started_at - newest.finished <= timedelta(hours=max_age):
        return []
    passed = age(newest.finished, session.started_at)
    return [Unavailable("newest backup", f"it finished {passed} ago, at {newest.finished_at}: more than {max_age} h")]
