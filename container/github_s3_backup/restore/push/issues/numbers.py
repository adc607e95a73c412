"""The numbers that restored issues get: their own where the target has nothing else, or else the next ones."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from operator import attrgetter

from github_s3_backup.github.issue_writer import ExistingIssue
from github_s3_backup.restore.push.issues.texts import issue_mark, mark_of


@dataclass(frozen=True)
class Numbers:
    """The new numbers of all issues, by the old; what there is of them; the numbers to fill with placeholders.

    `originals`: those that are still there as they were, and not as a restore wrote them. `keep`: the target has
    nothing but restored issues under their own numbers, and the others get theirs too.
    """

    new: dict[int, int] = field(default_factory=dict)
    there: dict[int, ExistingIssue] = field(default_factory=dict)
    originals: frozenset[int] = frozenset()
    gaps: frozenset[int] = frozenset()
    keep: bool = True

    @property
    def changed(self) -> int:
        """How many get another number than they had."""
        return sum(old != new for old, new in self.new.items())

    @property
    def renamed(self) -> Mapping[int, int]:
        """The new numbers, where references have to be changed."""
        return {} if self.keep else self.new

    def moved(self, old: int, number: int) -> "Numbers":
        """Return the numbers after GitHub gave an issue another one: the issues that follow are moved with it."""
        by = number - self.new[old]
        moved = {n: new + by if n >= old and n not in self.there else new for n, new in self.new.items()}
        return replace(self, new=moved)


def plan_numbers(repository_id: int, wanted: Mapping[int, str], existing: list[ExistingIssue]) -> Numbers:
    """Return the numbers of the wanted issues, in whose order they are created. `wanted`: GraphQL's ids, by number."""
    by_mark, by_id = ({key(issue): issue for issue in existing} for key in (_mark, attrgetter("node_id")))
    last = max((issue.number for issue in existing), default=0)
    numbers = sorted(wanted)
    originals = {n: by_id[wanted[n]] for n in numbers if wanted[n] in by_id}
    there = {n: issue for n in numbers if (issue := by_mark.get(issue_mark(repository_id, n)))} | originals
    waiting = [n for n in numbers if n not in there]
    ours = all(_mark(issue) == issue_mark(repository_id, issue.number) for issue in existing)
    keep = ours and (not waiting or waiting[0] > last)
    new = {n: issue.number for n, issue in there.items()}
    new |= {n: n if keep else last + place for place, n in enumerate(waiting, start=1)}
    gaps = set(range(last + 1, waiting[-1])) - set(waiting) if keep and waiting else set()
    return Numbers(new, there, frozenset(originals), frozenset(gaps), keep)


def _mark(issue: ExistingIssue) -> str | None:
    return mark_of(issue.body)
