"""Writes the pages of one repository: an index, and a page for each issue, pull request and discussion."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2
import msgspec

from github_s3_backup.records.content import ListError
from github_s3_backup.records.issue_list import LINE_KINDS, read_lines
from github_s3_backup.restore.pages.text import Texts

# Made before there are threads, as all decoders are.
DECODER = msgspec.json.Decoder(dict[str, Any])
INDEX = "index.html"
TITLES = {"issue": "Issues", "pull_request": "Pull requests", "discussion": "Discussions"}


@dataclass(frozen=True)
class Row:
    """A line of the index."""

    number: int
    kind: str
    title: str
    state: str
    author: str
    created: str
    labels: tuple[str, ...]
    comments: int


def write_pages(full_name: str, date: str, lines: Path, folder: Path) -> int:
    """Write the pages of a list into a folder, and return how many issues there are. Raises ListError and OSError.

    `date`: of the backup. One issue is in memory at a time, and of the others a line.
    """
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.ChainableUndefined, trim_blocks=True, lstrip_blocks=True, loader=_loader()
    )
    rows = [_row(item) for item in _items(lines)]
    about = {"full_name": full_name, "date": date, "titles": TITLES}
    texts = Texts({row.number for row in rows})
    environment.filters["markdown"] = texts.html
    environment.filters["day"] = _day
    environment.filters["login"] = _login
    page = environment.get_template("issue.html.jinja")
    for item in _items(lines):
        shown = {"item": item, "state": _state(item), "events": _in_order(item), **about}
        (folder / f"{item['number']}.html").write_text(page.render(shown), errors="backslashreplace")
    index = environment.get_template("index.html.jinja")
    groups = [(TITLES[kind], [row for row in reversed(rows) if row.kind == kind]) for kind in LINE_KINDS.values()]
    (folder / INDEX).write_text(index.render(groups=groups, **about), errors="backslashreplace")
    return len(rows)


def _loader() -> jinja2.BaseLoader:
    return jinja2.FunctionLoader(lambda name: (files(__package__) / name).read_text())


def _items(lines: Path) -> Iterator[dict[str, Any]]:
    """Yield what the lines say. Raises ListError."""
    for line in read_lines(lines):
        try:
            item = DECODER.decode(line)
            if item["kind"] not in TITLES or not isinstance(item["number"], int) or not isinstance(item["title"], str):
                raise ListError("it is not a list of issues: a line has no kind, number or title")
            yield item
        except (msgspec.DecodeError, KeyError, RecursionError) as error:
            raise ListError(f"it is not a list of issues: {error!r}") from None


def _row(item: dict[str, Any]) -> Row:
    labels = tuple(str(label.get("name")) for label in _dicts(item.get("labels")))
    said = [*_dicts(item.get("comments")), *_dicts(item.get("reviews"))]
    return Row(
        number=item["number"],
        kind=item["kind"],
        title=item["title"],
        state=_state(item),
        author=_login(item.get("author")),
        created=_day(item.get("createdAt")),
        labels=labels,
        comments=len(said),
    )


def _state(item: dict[str, Any]) -> str:
    """Return open, closed, or merged; of a discussion also whether it is answered."""
    if item["kind"] == "discussion":
        return "answered" if item.get("isAnswered") else "closed" if item.get("closed") else "open"
    return str(item.get("state", "")).lower()


def _in_order(item: dict[str, Any]) -> list[dict[str, Any]]:
    """Return what was said and done, in the order in which it was."""
    found = [
        *({"what": "comment", **comment} for comment in _dicts(item.get("comments"))),
        *({"what": "review", **review} for review in _dicts(item.get("reviews"))),
        *({"what": "event", "name": _event(event), **event} for event in _dicts(item.get("timelineItems"))),
    ]
    return sorted(found, key=lambda each: str(each.get("submittedAt") or each.get("createdAt")))


def _event(event: dict[str, Any]) -> str:
    """Return an event in words: LabeledEvent is "labeled"."""
    name = str(event.get("__typename", "")).removesuffix("Event")
    words = "".join(f" {letter.lower()}" if letter.isupper() else letter for letter in name)
    details = [event.get(field) for field in ("stateReason", "milestoneTitle", "currentTitle", "lockReason")]
    details += [event[field].get("name") for field in ("label",) if isinstance(event.get(field), dict)]
    shown = ", ".join(str(detail).lower() if str(detail).isupper() else str(detail) for detail in details if detail)
    return f"{words.strip()}: {shown}" if shown else words.strip()


def _dicts(value: Any) -> Iterable[dict[str, Any]]:
    """Return the objects in a list, whatever a forged line has in its place."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _day(moment: Any) -> str:
    return str(moment or "")[:10]


def _login(author: Any) -> str:
    """Return who wrote something. An account that was deleted is GitHub's ghost."""
    return str(author.get("login")) if isinstance(author, dict) else "ghost"
