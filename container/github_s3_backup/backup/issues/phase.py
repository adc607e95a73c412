"""Adds issues, pull requests and discussions to the entries of a shard, once its git data is stored.

Repositories and issues are asked for by their ids, so that a name that means another repository meanwhile does no harm.
"""

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any

from msgspec.structs import replace
from structlog.contextvars import bound_contextvars

from github_s3_backup.backup.issues.repository import back_up_issues, nothing_read
from github_s3_backup.backup.issues.views import AT_ONCE, GRACE, View, views_of
from github_s3_backup.backup.repository.backup import Outcome
from github_s3_backup.backup.repository.content import TITLES
from github_s3_backup.backup.repository.errors import ContentError, Failed, attempt
from github_s3_backup.backup.repository.unchanged import may_be_named
from github_s3_backup.backup.services import Services
from github_s3_backup.github.issues.reader import Seen
from github_s3_backup.records.content import ISSUE_KINDS, IssueKind, IssuesSummary, NotRead
from github_s3_backup.records.entry import Entry, Failure
from github_s3_backup.repository import Repository
from github_s3_backup.runtime.stop import Stopped
from github_s3_backup.runtime.threads import map_at_once, within_grace

NO_PERMISSION = "the App has no permission to read them in this installation"


def add_issues(outcomes: Sequence[Outcome], repositories: Iterable[Repository], services: Services) -> list[Outcome]:
    """Return the outcomes with the issues of their repositories. A repository whose issues fail becomes a failure."""
    wanted = frozenset(kind for kind in ISSUE_KINDS if kind in services.content.wanted)
    if not wanted:
        return list(outcomes)
    ids = {outcome.id for outcome in outcomes if _entry(outcome)}
    known = {repository.id: repository for repository in repositories if repository.id in ids}
    views = views_of(list(known.values()), wanted, services)

    def add(outcome: Outcome) -> Outcome:
        entry = _entry(outcome)
        if entry is None or outcome.id not in known:
            return outcome
        with bound_contextvars(full_name=entry.full_name, stage="clone"):
            return _Addition(outcome, entry, wanted, services).run(known[outcome.id], views.get(outcome.id))

    return map_at_once(add, outcomes, AT_ONCE)


def _entry(outcome: Outcome) -> Entry | None:
    """Return what is stored of a repository, None where nothing is."""
    entry = outcome.result.partial if isinstance(outcome.result, Failure) else outcome.result
    return entry if entry and entry.status != "gone" else None


class _Addition:
    """Adds the issues of one repository to its entry."""

    def __init__(self, outcome: Outcome, entry: Entry, wanted: frozenset[IssueKind], services: Services) -> None:
        self._outcome, self._entry, self._wanted, self._services = outcome, entry, wanted, services
        known = services.last_backup.stored(entry.id)
        last = known.issues if known else None
        # What there is where today's can't be read. What is too old may expire before this manifest.
        self._last = last if last and may_be_named(last.list, services) else None

    def run(self, repository: Repository, view: View | Failed | None) -> Outcome:
        ended = self._attempt(repository, view)
        if isinstance(ended, Failed):
            return self._failed(ended)
        self._log(ended)
        granted = view.granted if isinstance(view, View) else self._wanted
        refusals = [
            NotRead(content=kind, error=NO_PERMISSION) for kind in ISSUE_KINDS if kind in self._wanted - granted
        ]
        return self._outcome_with(ended, not_read=(*self._entry.not_read, *refusals))

    def _attempt(self, repository: Repository, view: View | Failed | None) -> IssuesSummary | Failed | None:
        """Return the summary of today, or of the last backup where today's was not reached; or why there is none."""
        if isinstance(view, Failed):
            return view
        if view and (lost := self._lost(view.granted)):
            names = ", ".join(TITLES[kind] for kind in lost)
            return Failed(ContentError(f"{NO_PERMISSION}, though the last backup has {names}", "list"), "list")
        kinds = view.granted if view else self._wanted
        if view is None or view.seen is None:
            return self._last or (
                nothing_read({kind: Seen(0, None) for kind in kinds}, self._services) if kinds else None
            )
        seen, stop = view.seen, self._services.context.stop
        try:
            return attempt(lambda: within_grace(lambda: back_up_issues(repository, seen, self._services), stop, GRACE))
        except Stopped:
            return self._last or nothing_read(seen, self._services)
        except Exception as error:
            self._services.context.log.exception("bug, please report it")
            return Failed(ContentError(f"bug: {error!r}", "clone"), "clone")

    def _lost(self, granted: frozenset[IssueKind]) -> list[IssueKind]:
        """Return the kinds that the last backup has and the App may no longer read."""
        counts = {kind: self._last.count(kind) if self._last else None for kind in self._wanted - granted}
        return sorted(kind for kind, count in counts.items() if count and count.stored)

    def _log(self, summary: IssuesSummary | None) -> None:
        log = self._services.context.log
        if summary and summary != self._last and summary.list:
            log.info("issues stored", issues=summary.stored, size_bytes=summary.list.size_bytes)
        if summary and summary.waiting:
            log.info("issues not all read, the next run reads on", waiting=summary.waiting)

    def _failed(self, failed: Failed) -> Outcome:
        """Return the failure of the repository, of which everything else is stored."""
        before, context = self._outcome.result, self._services.context
        words = f"issues: {context.redactor.clean(str(failed.error))}"
        context.log.error("failed", stage=failed.stage, duration=round(self._outcome.seconds, 3), error=words)
        kinds = tuple(kind for kind in ISSUE_KINDS if kind in self._wanted)
        if isinstance(before, Failure):
            failure = replace(before, error=f"{before.error}; {words}", not_stored=(*before.not_stored, *kinds))
        else:
            failure = Failure(
                full_name=before.full_name,
                id=before.id,
                stage=failed.stage,
                error=words,
                partial=before,
                not_stored=kinds,
            )
        self._outcome = dataclasses.replace(self._outcome, result=failure)
        return self._outcome_with(self._last)

    def _outcome_with(self, summary: IssuesSummary | None, **changes: Any) -> Outcome:
        """Return the outcome, its entry with this summary."""
        entry, result = replace(self._entry, issues=summary, **changes), self._outcome.result
        whole = replace(result, partial=entry) if isinstance(result, Failure) else entry
        return dataclasses.replace(self._outcome, result=whole)
