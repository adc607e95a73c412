"""What can be said of a shard whose tasks all died: what they stored before, and that the rest is missing."""

from github_s3_backup.backup.plan.records import Report
from github_s3_backup.backup.plan.store import PlanStore
from github_s3_backup.records.manifest import Failure


def report_of_lost_shard(number: str, store: PlanStore) -> Report:
    """Return a report in the place of the one that is missing. Raises PlanFolderError."""
    shard, stored = store.shard(number), store.stored(number)
    done = {entry.id for entry in stored}
    error = f"shard {number} did not finish, whatever was tried; the log streams of its tasks say why"
    return Report(
        shard=number,
        entries=tuple(stored),
        failures=tuple(
            Failure(full_name=repository.full_name, id=repository.id, stage="clone", error=error)
            for repository in shard.repositories
            if repository.id not in done
        ),
        bytes_uploaded=sum(entry.size_bytes for entry in stored),
        state="lost",
    )
