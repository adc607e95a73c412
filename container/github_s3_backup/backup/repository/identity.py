"""Makes sure that what was transferred by name is that of the id: a name may mean another repository meanwhile.

After its transfer a repository's name is compared with the one that its id has now. A hundred are asked about in one
request, and one by one only those whose names do not agree. What did not change needs no answer: its content is that of
the last backup, which had the same id.
"""

import contextlib
import threading
from collections import defaultdict
from collections.abc import Iterable, Sequence

from github_s3_backup.backup.repository.backup import Outcome
from github_s3_backup.backup.services import Services
from github_s3_backup.github.client import RepositoryGoneError
from github_s3_backup.github.names import BATCH_SIZE
from github_s3_backup.github.transport.rest import GitHubError
from github_s3_backup.records.entry import Entry, Failure, new_entry
from github_s3_backup.repository import Repository
from github_s3_backup.runtime.stop import Stopped
from github_s3_backup.runtime.threads import map_at_once, within_grace

# Seconds after the run was stopped until which GitHub is still asked.
GRACE = 11.0
AT_ONCE = 8
NOT_ASKED = "GitHub could not be asked whether this name still means this repository"


class Identities:
    """What GitHub calls the repositories of a shard now, asked for after their transfers."""

    def __init__(self, services: Services) -> None:
        self._services, self._lock = services, threading.Lock()
        self._listed: dict[int, Repository] = {}
        self._waiting: dict[int, list[Repository]] = defaultdict(list)
        self._names: dict[int, str] = {}

    def expect(self, repositories: Iterable[Repository]) -> None:
        """Tell which repositories are about to be transferred."""
        self._listed |= {repository.id: repository for repository in repositories}

    def note(self, result: Entry | Failure) -> None:
        """Note how a repository's backup ended. Asks GitHub where that makes a hundred. Raises nothing."""
        entry = self._transferred(result)
        if entry is None:
            return
        listed = self._listed[entry.id]
        with self._lock:
            self._names.pop(entry.id, None)  # the answer must be younger than the transfer
            batch = self._waiting[listed.installation_id]
            batch.append(listed)
            full = batch[:BATCH_SIZE] if len(batch) >= BATCH_SIZE else []
            del batch[: len(full)]
        self._ask(full)

    def confirm(self, outcomes: Sequence[Outcome]) -> tuple[list[Outcome], list[Repository]]:
        """Return what the outcomes really are, and which repositories have another name now: they are left out."""
        with self._lock:
            rest = [repository for batch in self._waiting.values() for repository in batch]
            self._waiting.clear()
        self._ask(rest)
        doubtful = {outcome.id: outcome for outcome in outcomes if self._is_doubtful(outcome)}
        found = dict(zip(doubtful, map_at_once(self._look_up, doubtful.values(), AT_ONCE), strict=True))
        right = [outcome for outcome in outcomes if outcome.id not in doubtful]
        right += [answer for answer in found.values() if isinstance(answer, Outcome)]
        return right, [answer for answer in found.values() if isinstance(answer, Repository)]

    def _transferred(self, result: Entry | Failure) -> Entry | None:
        """Return the entry whose content came by name, None where nothing did."""
        entry = result if isinstance(result, Entry) else result.partial
        if entry is None or entry.status == "gone" or entry.id not in self._listed:
            return None
        known = self._services.last_backup.stored(entry.id)
        return None if known and _content(entry) == _content(known) else entry

    def _is_doubtful(self, outcome: Outcome) -> bool:
        entry = self._transferred(outcome.result)
        return entry is not None and self._names.get(entry.id) != entry.full_name

    def _ask(self, batch: list[Repository]) -> None:
        """Ask for the present names. What stays without an answer is looked up by its id."""
        if batch:
            with contextlib.suppress(Stopped):
                github, stop = self._services.github, self._services.context.stop
                found = within_grace(lambda: github.names(batch), stop, GRACE)
                with self._lock:
                    self._names |= found

    def _look_up(self, outcome: Outcome) -> Outcome | Repository:
        """Return the outcome that is right, or the repository under its new name."""
        name, stop, log = outcome.result.full_name, self._services.context.stop, self._services.context.log
        listed = self._listed[outcome.id]
        try:
            found = within_grace(lambda: self._find(listed), stop, GRACE)
        except RepositoryGoneError:
            log.info("gone", full_name=name, stage="verify", duration=round(outcome.seconds, 3))
            return Outcome(new_entry(listed, "gone", None, None, 0.0), "verify", outcome.seconds, outcome.id)
        except (GitHubError, Stopped) as error:
            return self.failure(outcome, f"{NOT_ASKED}: {str(error) or 'the run was stopped'}")
        if found.full_name == name:
            return outcome
        log.warning("repository was renamed", full_name=name, new_name=found.full_name)
        return found

    def _find(self, listed: Repository) -> Repository:
        once = self._services.context.stop.is_set()
        return self._services.github.look_up(listed.id, listed.installation_id, once=once)

    def failure(self, outcome: Outcome, reason: str) -> Outcome:
        """Return the failure of a repository of which nobody knows that this is it. Nothing of it is claimed."""
        name, before = outcome.result.full_name, outcome.result
        reason = f"{before.error}; {reason}" if isinstance(before, Failure) else reason
        words, seconds = self._services.context.redactor.clean(reason), round(outcome.seconds, 3)
        self._services.context.log.error("failed", full_name=name, stage="verify", duration=seconds, error=words)
        failure = Failure(full_name=name, id=outcome.id, stage="verify", error=words)
        return Outcome(failure, "verify", outcome.seconds, outcome.id)


def _content(entry: Entry) -> tuple[object, ...]:
    """Return what an entry names, by which one can tell whether anything of it is new."""
    releases = entry.releases and (entry.releases.releases_sha256, entry.releases.list)
    return entry.refs_sha256, entry.object, entry.wiki and entry.wiki.object, entry.lfs, releases, entry.not_read
