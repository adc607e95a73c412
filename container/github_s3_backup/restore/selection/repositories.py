"""Which repositories, from which backup."""

import dataclasses
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import msgspec
from structlog.typing import FilteringBoundLogger

from github_s3_backup.repository import WIKI_SUFFIX
from github_s3_backup.repository_filter import matches, matches_any
from github_s3_backup.restore.selection.latest import LATEST, as_of, manifest_of, select_latest
from github_s3_backup.restore.selection.records import (
    Selected,
    Selection,
    Unavailable,
    restorable,
    unstored,
    with_vanished,
)
from github_s3_backup.s3.catalogue import Catalogue


@dataclass(frozen=True)
class Asked:
    """What is to be restored: which backup, and what of it. `git_only`: without wikis, LFS objects and releases."""

    date: str
    run_id: str | None
    patterns: list[str]
    min_age: timedelta = timedelta(0)
    git_only: bool = False


def select(catalogue: Catalogue, asked: Asked, log: FilteringBoundLogger) -> Selection:
    """Return the repositories that match a pattern. Raises S3Error if there is no such backup.

    `date` is a day, a moment, or LATEST. With the latter two each repository comes from the newest backup that holds
    it, because one that failed today was stored yesterday. A backup younger than `min_age` is skipped if there is an
    older one. What had vanished from GitHub is taken from its last backup. What was stored only in part is selected,
    and unavailable too.
    """
    catalogue, date = as_of(catalogue, asked.date)
    if date == LATEST:
        selection = select_latest(catalogue, log, datetime.now(UTC) - asked.min_age)
    else:
        manifest = manifest_of(catalogue, date, asked.run_id, log)
        selection = with_vanished(manifest, list(restorable(manifest)), unstored(manifest))
    selection = _filter(selection, asked.patterns)
    if asked.git_only:
        selected = tuple(map(_without_content, selection.selected))
        selection = Selection(selection.manifest, selected, selection.unavailable)
    selection = _refuse_duplicates(selection, log)
    for repository in selection.selected:
        _say_what_is_special(repository, log)
    _say_what_was_not_read(selection.selected, log)
    in_part = (_in_part(repository) for repository in selection.selected if repository.lacks)
    return Selection(selection.manifest, selection.selected, (*selection.unavailable, *in_part))


def _say_what_is_special(repository: Selected, log: FilteringBoundLogger) -> None:
    """Warn where a repository is not from the backup that was asked for, or not all of it."""
    entry = repository.entry
    about = {"full_name": entry.full_name, "date": repository.date}
    if repository.origin == "older backup":
        log.warning("taken from an older backup", **about)
    elif repository.origin == "vanished":
        log.warning("vanished from GitHub, using its last backup", **about)
    if repository.lacks:
        log.warning("stored only in part", **about, error=repository.lacks)
    missing = {
        "lfs": entry.lfs.missing if entry.lfs else 0,
        "releases": entry.releases.missing if entry.releases else 0,
    }
    for content, files in missing.items():
        if files:
            log.warning("GitHub lacked some content", **about, content=content, files=files)


def _say_what_was_not_read(selected: Iterable[Selected], log: FilteringBoundLogger) -> None:
    """Warn once for each kind of content that the App could not read."""
    refused: dict[str, list[tuple[str, str]]] = {}
    for repository in selected:
        for item in repository.entry.not_read:
            refused.setdefault(item.content, []).append((repository.entry.full_name, item.error))
    for content, found in refused.items():
        first, error = found[0]
        about = {"content": content, "repositories": len(found), "error": f"{first}: {error}"}
        log.warning("the App could not read all content", **about)


def _in_part(repository: Selected) -> Unavailable:
    hint = "The rest may be in an earlier backup: see `list` and --date"
    error = f"the backup of {repository.date} holds only a part of it: {repository.lacks}. {hint}"
    return Unavailable(repository.entry.full_name, error)


def _refuse_duplicates(selection: Selection, log: FilteringBoundLogger) -> Selection:
    """Return the selection with one repository for each name: two would end up in the same place.

    A vanished repository is dropped without a failure: its name was reused.
    """
    first: dict[str, Selected] = {}
    refused = []
    for repository in selection.selected:
        entry, date = repository.entry, repository.date
        kept = first.setdefault(entry.full_name.lower(), repository)
        if kept is repository:
            if entry.wiki:
                first[entry.wiki.full_name.lower()] = repository
            continue
        if repository.origin == "vanished":
            log.warning("name reused, vanished repository skipped", full_name=entry.full_name, last_backup=date)
            continue
        error = f"two repositories have this name, and only the one with id {kept.entry.id} is restored. The other one"
        refused.append(Unavailable(entry.full_name, f"{error} (id {entry.id}) is in the backup of {date}: see --date"))
    selected = tuple({id(repository): repository for repository in first.values()}.values())
    return Selection(selection.manifest, selected, (*selection.unavailable, *refused))


# -- patterns ------------------------------------------------------------------------------------


def _filter(selection: Selection, patterns: list[str]) -> Selection:
    """Return the part of the selection that matches the patterns, each pattern without a match as unavailable."""
    selected = list(_matching(selection.selected, patterns))
    # What is no repository, such as an unreadable manifest, concerns every pattern.
    unavailable = [
        item for item in selection.unavailable if "/" not in item.full_name or matches_any(item.full_name, patterns)
    ]
    names = [*(item.entry.full_name for item in selected), *(item.full_name for item in unavailable)]
    for pattern in patterns:
        if not any(matches(name, pattern) for name in names):
            unavailable.append(Unavailable(pattern, _why_no_match(selection, pattern)))
    selected.sort(key=lambda item: item.entry.full_name.lower())  # stable: of one name the newest backup stays first
    return Selection(selection.manifest, tuple(selected), tuple(unavailable))


def _matching(selected: Iterable[Selected], patterns: list[str]) -> Iterator[Selected]:
    """Yield the repositories that match, with their wikis; of others a wiki that matches by its own name."""
    for repository in selected:
        wiki = repository.entry.wiki
        if matches_any(repository.entry.full_name, patterns):
            yield repository
        elif wiki and wiki.status != "gone" and matches_any(wiki.full_name, patterns):
            yield dataclasses.replace(repository, entry=wiki, lacks=None)


def _without_content(repository: Selected) -> Selected:
    """Return the repository's git data alone, which is there even where it was stored only in part."""
    entry = msgspec.structs.replace(repository.entry, wiki=None, lfs=None, releases=None, issues=None, not_read=())
    return dataclasses.replace(repository, entry=entry, lacks=None)


def _why_no_match(selection: Selection, pattern: str) -> str:
    for item in selection.unavailable:
        if matches(pattern, item.full_name):  # its owner could not be listed
            return item.error
    for repository in selection.selected:
        if matches(f"{repository.entry.full_name}{WIKI_SUFFIX}", pattern):
            lacks = f": {repository.lacks}" if repository.lacks else ""
            return f"the backup of {repository.date} holds no wiki of {repository.entry.full_name}{lacks}"
    date = selection.manifest.date
    if meant := did_you_mean(pattern, (item.entry.full_name for item in selection.selected)):
        return f"the backup of {date} has no owner {pattern}: {meant}"
    return (
        f"the backup of {date} has no such repository: `list --date {date}` shows what it holds; "
        "another day may have it (`list`)"
    )


def did_you_mean(pattern: str, names: Iterable[str]) -> str:
    """Return a question that names the repositories of which a pattern is the name without the owner, "" for none."""
    meant = [name for name in names if name.lower().endswith(f"/{pattern.lower()}")]
    return f"did you mean {', '.join(meant[:3])}?" if meant else ""
