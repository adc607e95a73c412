"""What a push is about to do, and what would keep all of it from succeeding, told before it begins."""

import shutil
from collections.abc import Callable, Sequence

from github_s3_backup.records.entry import Entry
from github_s3_backup.restore.push.targets.github import GitHubTarget
from github_s3_backup.restore.push.targets.pace import writing_time
from github_s3_backup.restore.selection.records import Selected, sizes_in_words
from github_s3_backup.restore.session import Session
from github_s3_backup.restore.terminal import no_limit
from github_s3_backup.runtime.capacity import restore_reservation
from github_s3_backup.runtime.units import format_bytes

# Requests that make a repository: create it, switch Actions off, set its default branch.
WRITES_EACH = 3


def look_ahead(session: Session, target: GitHubTarget, selected: Sequence[Selected], has_limits: bool) -> None:
    """Log how much there is to do, and what there is. Raises GitHubError where nothing can be pushed at all."""
    target.check_owners({session.options.to or repository.entry.owner for repository in selected})
    writes = sum(_writes(repository.entry) for repository in selected)
    least = least_time(selected) if has_limits else no_limit
    largest = max((repository.size_bytes for repository in selected), default=0)
    needed, free = restore_reservation(largest).disk, shutil.disk_usage(session.scratch).free
    session.log.info(
        "about to push",
        repositories=len(selected),
        size_bytes=sum(repository.size_bytes for repository in selected),
        **sizes_in_words(selected),
        disk_needed=format_bytes(needed),
        disk_free=format_bytes(free),
        writes=writes,
        minutes_at_least=round(least(1.0) / 60),
    )
    if needed > free:
        words = f"the largest repository needs {format_bytes(needed)} and {format_bytes(free)} are free: set TMPDIR"
        session.log.warning("disk too small", error=words)


def least_time(selected: Sequence[Selected]) -> Callable[[float], float]:
    """Return the seconds that a share of it takes at least, by GitHub's limits."""
    writes = sum(_writes(repository.entry) for repository in selected)
    return lambda share: writing_time(round(share * writes))


def _writes(entry: Entry) -> int:
    """Return how many requests restore a repository that is not there yet, as GitHub counts what changes something."""
    releases = entry.releases.count + entry.releases.files if entry.releases else 0
    issues = entry.issues.stored if entry.issues else 0
    return WRITES_EACH + releases + issues + bool(entry.settings and entry.settings.topics)
