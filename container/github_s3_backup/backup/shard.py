"""Backs up one shard: every repository of it, and a report of what became of each."""

from collections.abc import Callable, Collection, Sequence

import msgspec

from github_s3_backup.backup.issues.phase import add_issues
from github_s3_backup.backup.plan.records import Report, Shard
from github_s3_backup.backup.plan.vanished import LookedUp, LookUp, unconfirmed, vanished
from github_s3_backup.backup.repository.backup import Outcome
from github_s3_backup.backup.repository.identity import Identities
from github_s3_backup.backup.services import Services
from github_s3_backup.backup.workers import back_up_all
from github_s3_backup.records.entry import Entry, Failure
from github_s3_backup.repository import Repository

# How often a repository that was renamed while it was stored is stored again.
MAX_RENAMES = 3


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
    done, identities = {entry.id for entry in stored}, Identities(services)

    def note(outcome: Outcome) -> None:
        if isinstance(outcome.result, Entry) and _has_new_bundle(outcome.result):
            save(outcome.result)
        identities.note(outcome.result)

    def back_up(repositories: Sequence[Repository]) -> list[Outcome]:
        identities.expect(repositories)
        waiting = [repository for repository in repositories if repository.id not in done]
        return back_up_all(waiting, services, note)

    outcomes = back_up(shard.repositories)
    found = _look_up(shard, services)  # last, because a rate limit may end here
    outcomes += back_up(found.alive)
    for entry in stored:
        outcomes.append(Outcome(entry, "upload", entry.duration_seconds, entry.id))
        identities.note(entry)
    outcomes = _confirmed(outcomes, identities, lambda renamed: back_up_all(renamed, services, note))
    outcomes = add_issues(outcomes, [*shard.repositories, *found.alive], services)
    services.uploader.abort_open_uploads()
    report = _report(shard, [outcome.result for outcome in outcomes], found, services)
    return msgspec.structs.replace(report, bytes_uploaded=report.bytes_uploaded + _uploaded_bytes(stored))


def _confirmed(
    outcomes: list[Outcome], identities: Identities, back_up: Callable[[Sequence[Repository]], list[Outcome]]
) -> list[Outcome]:
    """Return what became of each id. What has another name now is backed up again from there."""
    for _ in range(MAX_RENAMES):
        right, renamed = identities.confirm(outcomes)
        if not renamed:
            return right
        identities.expect(renamed)
        outcomes = right + back_up(renamed)
    right, renamed = identities.confirm(outcomes)
    again = {repository.id for repository in renamed}
    moving = [outcome for outcome in outcomes if outcome.id in again]
    return right + [identities.failure(outcome, "it was renamed each time that it was stored") for outcome in moving]


def _look_up(shard: Shard, services: Services) -> LookedUp:
    context = services.context
    look_up = LookUp(
        services.github, services.archive, services.repository_filter, shard.patient, context.stop, context.log
    )
    return look_up.all(shard.unlisted)


def _report(shard: Shard, results: Sequence[Entry | Failure], found: LookedUp, services: Services) -> Report:
    entries = [result for result in results if isinstance(result, Entry)]
    failures = [*(result for result in results if isinstance(result, Failure)), *found.failures]
    clean, stored = services.context.redactor.clean, services.last_backup.stored
    gone = [vanished(known, services.context.date) for e in entries if e.status == "gone" and (known := stored(e.id))]
    return Report(
        shard=shard.number,
        entries=tuple(entries),
        failures=tuple(msgspec.structs.replace(failure, error=clean(failure.error)) for failure in failures),
        vanished=(*gone, *found.vanished),
        last_good=_last_good(failures, shard.known),
        bytes_uploaded=services.uploader.bytes_uploaded,
        overdue_copies=tuple(services.archive.overdue_copies),
        state="stopped" if services.context.stop.reason == "signal" else "finished",
    )


def report_of_lost_shard(shard: Shard, stored: Sequence[Entry]) -> Report:
    """Return a report in the place of one that is missing, because all tasks of the shard died.

    `stored`: what these had stored. The rest is missing, and what was to be looked up was not.
    """
    done = {entry.id for entry in stored}
    error = f"shard {shard.number} did not finish in any attempt; see the log streams of its tasks"
    failures = tuple(
        Failure(full_name=repository.full_name, id=repository.id, stage="clone", error=error)
        for repository in shard.repositories
        if repository.id not in done
    )
    return Report(
        shard=shard.number,
        entries=tuple(stored),
        failures=failures,
        vanished=tuple(record for item in shard.unlisted if item.id not in done and (record := unconfirmed(item))),
        last_good=_last_good(failures, shard.known),
        bytes_uploaded=_uploaded_bytes(stored),
        state="lost",
    )


def _last_good(failures: Sequence[Failure], known: Sequence[Entry]) -> tuple[Entry, ...]:
    """Return what earlier runs stored of the repositories of which this one stored nothing."""
    ids = {failure.id for failure in failures if failure.partial is None}
    return tuple(entry for entry in known if entry.id in ids)


def _has_new_bundle(entry: Entry) -> bool:
    return "stored" in (entry.status, entry.wiki and entry.wiki.status)


def _uploaded_bytes(entries: Collection[Entry]) -> int:
    """Return the bytes of the bundles that a run has stored, and of the lists of their objects."""
    bundles = [bundle for entry in entries for bundle in (entry, entry.wiki) if bundle and bundle.status == "stored"]
    lists = [bundle.objects.size_bytes for bundle in bundles if bundle.objects and not bundle.base]
    return sum(bundle.size_bytes for bundle in bundles) + sum(lists)
