"""What older backups hold of what the last one failed to store or to list."""

from collections.abc import Iterable, Iterator

from github_s3_backup.backup.plan.listing import Listed, failed_owners
from github_s3_backup.records.manifest import Entry, Manifest
from github_s3_backup.s3.catalogue import MAX_DAYS, Catalogue, CatalogueError


def older_entries(listed: Listed, last: Manifest, catalogue: Catalogue) -> Iterable[Entry]:
    """Return the newest older entry of each repository that the last backup names as a failure only.

    Asked for where it makes a difference: a repository that is not listed today, and the repositories of an owner that
    could not be listed then, and was today. What is listed and was not stored then, because a task died or the time was
    over, is looked for in one older backup: it may be unchanged since.
    """
    failed = {failure.id for failure in last.failures if failure.partial is None} & listed.ids
    ids = {failure.id for failure in last.failures} - listed.ids - {None}
    owners = failed_owners(last.failures) - failed_owners(listed.failures)
    not_wanted = {entry.id for entry in last.entries} | {repository.id for repository in last.vanished}
    found: dict[int, Entry] = {}
    older = _older_manifests(last, catalogue) if failed or ids or owners else iter(())
    for manifest in older:
        for entry in manifest.entries:
            is_wanted = entry.id in failed or entry.id in ids or entry.owner in owners
            if is_wanted and entry.id not in not_wanted and entry.status != "gone":
                found.setdefault(entry.id, entry)
        failed.clear()
        ids -= found.keys()
        owners &= failed_owners(manifest.failures)
        if not ids and not owners:
            break
    return found.values()


def _older_manifests(last: Manifest, catalogue: Catalogue) -> Iterator[Manifest]:
    """Yield the newest complete manifest of each day before the last backup's, the newest day first."""
    try:
        dates = [date for date in catalogue.dates() if date < last.date][:MAX_DAYS]
    except CatalogueError:
        return
    for date in dates:
        try:
            manifest = catalogue.newest_of_day(date)
        except CatalogueError:
            continue
        if manifest.complete:
            yield manifest
