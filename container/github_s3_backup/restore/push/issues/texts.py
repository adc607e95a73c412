"""What a restored issue says: each text as it was, below a line that tells who wrote it and when.

Nobody is notified: a mention gets a character that is not seen (U+2060) and is none. A mark at the end of each text,
which GitHub does not show, tells what it is, so that another push does not write it again.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from github_s3_backup.github.issue_writer import LONGEST_TEXT
from github_s3_backup.restore.push.issues.item import Comment, Item, Person, Thread

WORD_JOINER = "\u2060"
MENTION = re.compile(r"@(?=[\w])")
REFERENCE = re.compile(r"(?<![\w/&#])#([0-9]{1,9})\b")
MARK = re.compile(r"<!-- github-s3-backup (\S+) -->\s*\Z")
NOT_IN_MARKS = re.compile(r"[^\w=+/#.-]")
# A text is cut here, and goes on in a comment: room is left for the line above and the mark below.
LONGEST_PART = LONGEST_TEXT - 2_000
KINDS = {"issue": "issue", "pull_request": "pull request", "discussion": "discussion"}


@dataclass(frozen=True)
class Text:
    """A text to write, and what marks it."""

    mark: str
    body: str

    @property
    def marked(self) -> str:
        return f"{self.body}\n\n<!-- github-s3-backup {self.mark} -->"


def mark_of(body: str) -> str | None:
    """Return the mark at the end of a text."""
    found = MARK.search(body)
    return found[1] if found else None


def issue_mark(repository_id: int, number: int) -> str:
    """Return what marks the restored issue of a number."""
    return f"{repository_id}#{number}"


def placeholder(repository_id: int, number: int) -> Text:
    """Return the text of what fills a gap in the numbers."""
    return Text(
        issue_mark(repository_id, number), f"> The backup has no number {number}. This keeps the numbers equal."
    )


def texts(item: Item, repository_id: int, numbers: Mapping[int, int]) -> list[Text]:
    """Return an issue's texts: its own, and those of its comments. `numbers`: the new ones, by the old."""
    said = [Text(issue_mark(repository_id, item.number), f"{_heading(item)}\n\n{item.body or ''}"), *_said(item)]
    return [part for text in said for part in _parts(_harmless(text, numbers))]


def _heading(item: Item) -> str:
    """Return what stands above an issue's own text."""
    lines = [f"**{_login(item.author)}** opened this {KINDS[item.kind]} on {_moment(item.created_at)}"]
    if item.kind == "pull_request":
        lines.append(f"`{item.head_ref_name}` ({item.head_ref_oid}) into `{item.base_ref_name}` ({item.base_ref_oid})")
        lines += [f"Merged as {item.merge_commit.oid}"] if item.merge_commit else []
    if item.category:
        lines.append(f"Category: {item.category.name}")
    if item.assignees:
        lines.append(f"Assigned: {', '.join(person.login for person in item.assignees)}")
    return "\n".join(f"> {line}  " for line in lines)


def _said(item: Item) -> list[Text]:
    """Return comments, reviews and threads in the order in which they were begun."""
    found: list[tuple[str, list[Text]]] = []
    for comment in item.comments:
        replies = [_comment(reply, "replied") for reply in comment.replies]
        found.append((comment.created_at, [_comment(comment, "wrote"), *replies]))
    for review in item.reviews:
        verdict = review.state.lower().replace("_", " ")
        if review.body or verdict != "commented":  # else all that it says is in its threads
            found.append((review.submitted_at or review.created_at, [_comment(review, f"reviewed ({verdict})")]))
    found += [(thread.comments[0].created_at, [_thread(thread)]) for thread in item.review_threads if thread.comments]
    return [text for _, group in sorted(found, key=lambda each: each[0]) for text in group]


def _comment(comment: Comment, did: str) -> Text:
    when = _moment(comment.submitted_at or comment.created_at)
    return Text(comment.id, f"> **{_login(comment.author)}** {did} on {when}\n\n{comment.body or ''}")


def _thread(thread: Thread) -> Text:
    """Return a thread of a review as one text: the lines that it is about, and what was said."""
    place = f"`{thread.path}`" + (f", line {thread.line}" if thread.line else "")
    hunk = thread.comments[0].diff_hunk or ""
    fence = "`" * (3 + max(map(len, re.findall("`+", hunk)), default=0))
    lines = [f"> On {place}{' (resolved)' if thread.is_resolved else ''}", f"{fence}diff\n{hunk}\n{fence}"]
    return Text(thread.id, "\n\n".join([*lines, *(_comment(comment, "wrote").body for comment in thread.comments)]))


def _harmless(text: Text, numbers: Mapping[int, int]) -> Text:
    """Return a text that notifies nobody, and that names the new numbers."""

    body = MENTION.sub(f"@{WORD_JOINER}", text.body)
    if numbers:
        body = REFERENCE.sub(lambda match: f"#{numbers.get(int(match[1]), match[1])}", body)
    return Text(NOT_IN_MARKS.sub("", text.mark), body)


def _parts(text: Text) -> Iterator[Text]:
    """Yield a text in parts that GitHub takes."""
    yield Text(text.mark, text.body[:LONGEST_PART])
    for part, start in enumerate(range(LONGEST_PART, len(text.body), LONGEST_PART), start=2):
        yield Text(f"{text.mark}/{part}", f"> Continued\n\n{text.body[start : start + LONGEST_PART]}")


def missing(wanted: Iterable[Text], bodies: Iterable[str]) -> list[Text]:
    """Return the texts whose marks are on none of the bodies."""
    there = set(map(mark_of, bodies))
    return [text for text in wanted if text.mark not in there]


def _login(person: Person | None) -> str:
    """Return who wrote something. An account that was deleted is GitHub's ghost."""
    return person.login if person else "ghost"


def _moment(moment: str) -> str:
    """Return a moment of GitHub's in words."""
    return f"{moment[:10]} {moment[11:16]} UTC"
