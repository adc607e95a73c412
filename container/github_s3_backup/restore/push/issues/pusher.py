"""Push issues, in the order of their numbers. What is there already is recognized by its mark."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from structlog.typing import FilteringBoundLogger

from github_s3_backup.git.refs import Refs
from github_s3_backup.github.issue_writer import (
    LONGEST_LABEL,
    LONGEST_TITLE,
    Branches,
    ExistingIssue,
    IssueWriter,
    NewIssue,
)
from github_s3_backup.github.transport.rest import GitHubError
from github_s3_backup.records.entry import Entry
from github_s3_backup.restore.errors import PushError
from github_s3_backup.restore.push.actions import Action
from github_s3_backup.restore.push.comparison import Push
from github_s3_backup.restore.push.issues.item import Item, Label, read_items
from github_s3_backup.restore.push.issues.numbers import Numbers, plan_numbers
from github_s3_backup.restore.push.issues.texts import Text, missing, placeholder, texts
from github_s3_backup.s3.download import BucketReader, OnBytes

# Issues between two lines in the log.
OFTEN = 100
NOT_PLANNED = ("NOT_PLANNED", "DUPLICATE", "OUTDATED")


@dataclass(frozen=True)
class _Plan:
    """What is to be written of the list at `path`.

    `comments`, `others`: how many comments, and how many issues are to be closed or locked.
    """

    path: Path
    numbers: Numbers
    comments: int
    others: int

    @property
    def new(self) -> int:
        return len(self.numbers.new) - len(self.numbers.there)

    def says(self) -> Iterator[str]:
        """Yield it in words."""
        if self.new:
            changed = self.numbers.changed
            about = (
                f"{changed} of them with another number: the target has issues" if changed else "with the same numbers"
            )
            yield f"create {self.new} issues, {about}"
        if self.numbers.gaps:
            yield f"fill {len(self.numbers.gaps)} gaps in the numbers with closed issues"
        if self.comments:
            yield f"write {self.comments} comments"
        if self.others:
            yield f"close or lock {self.others} issues"


@dataclass(frozen=True)
class IssuePusher:
    """Pushes issues, pull requests and discussions as issues."""

    reader: BucketReader
    log: FilteringBoundLogger

    def actions(self, push: Push) -> list[Action]:
        """Return what brings the issues that the target lacks. Raises GitHubError, DownloadError and ListError."""
        writer, entry = push.target.issues, push.entry
        if writer is None or entry.issues is None or entry.issues.list is None:
            return []
        path = push.folder / "issues.gz"
        self.reader.download(entry.issues.list, path, lambda _: None)
        existing = writer.existing() if push.target.existing else []
        plan = _plan(push, path, existing)
        says = tuple(plan.says())
        if says and push.target.existing and push.target.existing.archived:
            raise PushError(f"{push.target.url} is archived and lacks issues: unarchive it first")
        size = entry.issues.list.size_bytes
        return [Action(says, lambda on_bytes: self._push(push, plan, writer, on_bytes), size, "issues")] if says else []

    def notes(self, push: Push) -> list[str]:
        """Return what is left out, in words."""
        if push.entry.issues is None or push.entry.issues.list is None:
            return []
        if push.target.issues is None:
            return ["restore no issues: the target is not GitHub"]
        if _is_original(push):
            return ["restore no discussions: the repository is the one that was backed up"]
        return ["restore closed pull requests and discussions as issues, without reactions, assignees and events"]

    def _push(self, push: Push, plan: _Plan, writer: IssueWriter, on_bytes: OnBytes) -> None:
        """Write everything. Raises PushError, ListError and GitHubError; another push goes on from there."""
        push.target.check()
        path = plan.path
        milestones = _add_labels_and_milestones(_wanted(push, path, plan.numbers), writer)
        target = _Target(push.entry, writer, milestones, push.remote.refs(), self.log)
        gaps = sorted(plan.numbers.gaps)
        numbers, item_size = plan.numbers, path.stat().st_size // len(plan.numbers.new)
        for done, item in enumerate(_wanted(push, path, numbers), start=1):
            while gaps and gaps[0] < item.number:
                _fill(push.entry, gaps.pop(0), writer)
            number = _write(target, item, numbers)
            if number != numbers.new[item.number]:
                numbers = numbers.moved(item.number, number)
            on_bytes(item_size)
            if done % OFTEN == 0:
                self.log.info("issues restored", full_name=push.entry.full_name, done=done, of=len(numbers.new))


def _wanted(push: Push, path: Path, numbers: Numbers | None = None) -> Iterator[Item]:
    """Yield what is to be in the target, without what is there as it was.

    GitHub does not list discussions as issues: in the repository that was backed up they may still be there.
    """
    is_original = _is_original(push)
    for item in read_items(path):
        if not (is_original and item.kind == "discussion") and not (numbers and item.number in numbers.originals):
            yield item


def _is_original(push: Push) -> bool:
    return push.target.existing is not None and push.target.existing.id == push.entry.id


def _plan(push: Push, path: Path, existing: list[ExistingIssue]) -> _Plan:
    """Compare the list with what is there."""
    numbers = plan_numbers(push.entry.id, {item.number: item.id for item in _wanted(push, path)}, existing)
    comments = others = 0
    for item in _wanted(push, path, numbers):
        there = numbers.there.get(item.number)
        wanted = len(texts(item, push.entry.id, numbers.renamed)) - 1
        comments += max(0, wanted - there.comments) if there else wanted
        others += bool(_lacks_state(item, there))
    return _Plan(path, numbers, comments, others)


def _lacks_state(item: Item, there: ExistingIssue | None) -> bool:
    to_close = item.is_closed and (there is None or there.is_open)
    return to_close or (item.locked and (there is None or not there.locked))


def _add_labels_and_milestones(items: Iterator[Item], writer: IssueWriter) -> dict[str, int]:
    """Create the labels and milestones that are missing; return the numbers of all milestones."""
    labels, milestones = writer.labels(), writer.milestones()
    for item in items:
        for label in map(_shortened, item.labels):
            if label.name.lower() not in labels:
                writer.create_label(label.name, label.color, label.description)
                labels.add(label.name.lower())
        if item.milestone and item.milestone.title not in milestones:
            milestones[item.milestone.title] = writer.create_milestone(item.milestone.title)
    return milestones


def _shortened(label: Label) -> Label:
    return Label(label.name[:LONGEST_LABEL], label.color, label.description)


def _fill(entry: Entry, number: int, writer: IssueWriter) -> None:
    """Create and close what fills a gap."""
    text = placeholder(entry.id, number)
    made = writer.create(NewIssue(f"(number {number} is not in the backup)", text.marked))
    _check_number(made, number)
    writer.close(number, "not_planned")


def _check_number(made: ExistingIssue, number: int) -> None:
    """Raise PushError where an issue that was to keep its number did not get it."""
    if made.number != number:
        raise PushError(
            f"GitHub gave number {made.number} where {number} was the next: somebody else writes issues, pull requests "
            "or discussions there. Push again to go on, with other numbers"
        )


@dataclass(frozen=True)
class _Target:
    """Where issues are written. `milestones`: their numbers, by title; `refs`: those that are there."""

    entry: Entry
    writer: IssueWriter
    milestones: dict[str, int]
    refs: Refs
    log: FilteringBoundLogger

    def create(self, item: Item, text: Text) -> ExistingIssue:
        """Create an issue, or the pull request that it was where that was open and its branches are there."""
        labels = [_shortened(label).name for label in item.labels]
        milestone = self.milestones.get(item.milestone.title) if item.milestone else None
        issue = NewIssue(item.title[:LONGEST_TITLE] or "(no title)", text.marked, labels, milestone)
        if self._has_branches(item):
            try:
                branches = Branches(item.head_ref_name, item.base_ref_name, item.is_draft)
                return self.writer.create_pull(issue, branches)
            except GitHubError as error:
                if not error.refused:
                    raise
                self.log.warning("a pull request becomes an issue", number=item.number, error=str(error))
        return self.writer.create(issue)

    def _has_branches(self, item: Item) -> bool:
        head, base = (f"refs/heads/{name}".encode() for name in (item.head_ref_name, item.base_ref_name))
        is_open = item.kind == "pull_request" and not item.is_closed and not item.is_cross_repository
        return is_open and self.refs.get(head) == item.head_ref_oid.encode() and base in self.refs


def _write(target: _Target, item: Item, numbers: Numbers) -> int:
    """Write what the target lacks of one issue, and return its number there."""
    writer = target.writer
    first, *rest = texts(item, target.entry.id, numbers.renamed)
    there = numbers.there.get(item.number)
    if there is None:
        there = target.create(item, first)
        if numbers.keep:
            _check_number(there, numbers.new[item.number])
    for text in _unwritten(rest, there, writer):
        writer.comment(there.number, text.marked)
    if item.is_closed and there.is_open:
        writer.close(there.number, "not_planned" if item.state_reason in NOT_PLANNED else "completed")
    if item.locked and not there.locked:
        writer.lock(there.number)
    return there.number


def _unwritten(wanted: list[Text], there: ExistingIssue, writer: IssueWriter) -> list[Text]:
    """Return the comments that are not there. One that has enough of them is not asked for them."""
    if there.comments == 0 or there.comments >= len(wanted):
        return wanted[there.comments :]
    return missing(wanted, writer.comments(there.number))
