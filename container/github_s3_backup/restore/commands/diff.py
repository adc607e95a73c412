"""`diff`: what changed from one backup to another."""

from dataclasses import asdict

from github_s3_backup.capacity import machine_capacity, restore_reservation
from github_s3_backup.repository_filter import matches_any
from github_s3_backup.restore.compare import Difference, changed_pairs, compare_lists, compare_repository
from github_s3_backup.restore.selection import Selected, manifest_of
from github_s3_backup.restore.session import Session
from github_s3_backup.restore.summary import finish
from github_s3_backup.restore.terminal import show
from github_s3_backup.restore.workers import for_each
from github_s3_backup.s3.download import OnBytes


def run(session: Session) -> int:
    """Print the differences and return the exit code."""
    options = session.options
    old, new = (manifest_of(session.catalogue, date, None, session.log) for date in (options.old, options.new))
    pairs = {after.id: (before, after) for before, after in changed_pairs(old, new)}
    changed = [Selected(after, new.date) for _, after in pairs.values()]
    changed = [repository for repository in changed if matches_any(repository.entry.full_name, session.patterns)]
    git = None if options.quick else session.git()
    capacity = machine_capacity(session.scratch, session.stop)

    def compare(repository: Selected, on_bytes: OnBytes) -> list[Difference]:
        before, after = pairs[repository.entry.id]
        with capacity.reserve(restore_reservation(0 if options.quick else after.size_bytes)):
            differences = list(compare_repository(before, after, session.reader, git, session.scratch))
        on_bytes(after.size_bytes)
        return differences

    compared, failures = for_each(changed, compare, "comparing", options.concurrency, session.stop, session.log)
    differences = [item for item in compare_lists(old, new) if matches_any(item.full_name, session.patterns)]
    differences += [item for items in compared for item in items]
    differences.sort(key=lambda item: (item.full_name, item.kind))
    show([asdict(item) for item in differences], options.json, session.started_at)
    if not (differences or failures or options.json):
        print(f"no repository appeared, vanished, failed, shrank or was rewritten from {old.date} to {new.date}")
    return finish(session, failures, len(differences))
