"""Backs up one shard: every repository of it, and a report of what became of each."""

from collections.abc import Callable, Collection, Sequence

import msgspec

from github_s3_backup.backup.plan.listing import vanished
from github_s3_backup.backup.plan.records import Report, Shard
from github_s3_backup.backup.repository.backup import Outcome
from github_s3_backup.backup.services import Services
from github_s3_backup.backup.workers import back_up_all
from github_s3_backup.records.manifest import Entry, Failure


def back_up_shard(
    shard: Shard,
    services: Services,
    stored: Collection[Entry] = (),
    save: Callable[[Entry], None] = lambda _entry: None,
) -> Report:
    """Back up the repositories of a shard and return its report.

    `stored`: what earlier tasks have stored in this run, and need not be stored again. `save` is called with each entry
    whose bundle this task has stored.
    """
    services = services.knowing(shard)
    done = {entry.id for entry in stored}
    waiting = [repository for repository in shard.repositories if repository.id not in done]

    def note(outcome: Outcome) -> None:
        if isinstance(outcome.result, Entry) and _has_new_bundle(outcome.result):
            save(outcome.result)

    outcomes = back_up_all(waiting, shard.workers, services, note)
    services.uploader.abort_open_uploads()
    return _report(shard.number, [*stored, *(outcome.result for outcome in outcomes)], services)


def _report(number: str, results: Sequence[Entry | Failure], services: Services) -> Report:
    entries = [result for result in results if isinstance(result, Entry)]
    clean = services.context.redactor.clean
    return Report(
        shard=number,
        entries=tuple(entries),
        failures=tuple(
            msgspec.structs.replace(result, error=clean(result.error))
            for result in results
            if isinstance(result, Failure)
        ),
        vanished=tuple(
            vanished(known, f"{services.context.started_at:%Y-%m-%d}")
            for entry in entries
            if entry.status == "gone" and (known := services.last_backup.stored(entry.id))
        ),
        bytes_uploaded=services.uploader.bytes_uploaded,
        overdue_copies=tuple(services.archive.overdue_copies),
        state="stopped" if services.context.stop.reason == "signal" else "finished",
    )


def _has_new_bundle(entry: Entry) -> bool:
    return "stored" in (entry.status, entry.wiki and entry.wiki.status)
