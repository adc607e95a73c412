"""`diff`: what changed from one backup to another, to find the last good day."""

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from github_s3_backup.git.process import Git, GitError
from github_s3_backup.git.refs import Refs
from github_s3_backup.records.entry import Entry, Failure, Vanished
from github_s3_backup.records.manifest import Manifest
from github_s3_backup.repository_filter import matches, matches_any
from github_s3_backup.restore.diff.issues import issue_changes
from github_s3_backup.restore.selection.latest import manifest_of
from github_s3_backup.restore.selection.records import Selected, Unavailable
from github_s3_backup.restore.selection.repositories import did_you_mean
from github_s3_backup.restore.session import Session, finish
from github_s3_backup.restore.terminal import show
from github_s3_backup.restore.unbundle import MirrorSource
from github_s3_backup.runtime.capacity import machine_capacity, restore_reservation
from github_s3_backup.s3.download import BucketReader, OnBytes

Kind = Literal[
    "appeared",
    "vanished",
    "failed",
    "renamed",
    "shrank",
    "refs deleted",
    "default branch renamed",
    "default branch moved",
    "default branch rewritten",
    "issues deleted",
    "issues changed",
]
# A bundle below this share of its earlier size lost more than better packing explains.
SHRUNK = 0.9
# Names of what was deleted.
SHOWN = 10
# GitHub adds and removes the refs of pull requests by itself.
COUNTED = (b"refs/heads/", b"refs/tags/", b"refs/notes/")


@dataclass(frozen=True)
class Difference:
    """One change in one repository."""

    full_name: str
    kind: Kind
    detail: str


def run(session: Session) -> int:
    """Print the differences and return the exit code."""
    options = session.options
    old, new = (manifest_of(session.catalogue, date, None, session.log) for date in (options.old, options.new))
    pairs = {after.id: (before, after) for before, after in changed_pairs(old, new)}
    changed = [Selected(after, new.date) for _, after in pairs.values()]
    changed = [repository for repository in changed if matches_any(repository.entry.full_name, session.patterns)]
    git = None if options.quick else session.git()
    capacity = machine_capacity(session.scratch, session.stop)

    def compare(repository: Selected, on_bytes: OnBytes) -> list[Difference]:
        before, after = pairs[repository.entry.id]
        with capacity.reserve(restore_reservation(0 if options.quick else after.restore_bytes)):
            differences = list(compare_repository(before, after, session.reader, git, session.scratch))
            differences += compare_issues(before, after, session.reader, session.scratch)
        on_bytes(after.restore_bytes)
        return differences

    ended = session.workers.each(changed, compare, "comparing")
    differences = [item for item in compare_lists(old, new) if matches_any(item.full_name, session.patterns)]
    differences += [item for items in ended.results for item in items]
    differences.sort(key=lambda item: (item.full_name, item.kind))
    show([asdict(item) for item in differences], options.json, session.started_at)
    unknown = _unknown(session, old, new)
    if not (differences or ended.failures or ended.left or unknown or options.json):
        print(f"no repository appeared, vanished, failed, shrank or was rewritten from {old.date} to {new.date}")
    return finish(session, [*unknown, *ended.failures], len(differences), ended)


def _parts(manifest: Manifest) -> tuple[Sequence[Entry | Failure | Vanished], ...]:
    return manifest.entries, manifest.failures, manifest.vanished


def _unknown(session: Session, old: Manifest, new: Manifest) -> list[Unavailable]:
    """Return the patterns that match nothing in either backup: that nothing changed there means nothing."""
    names = sorted({item.full_name for manifest in (old, new) for part in _parts(manifest) for item in part})
    error = f"neither the backup of {old.date} nor that of {new.date} has it"
    return [
        Unavailable(pattern, f"{error}: {meant}" if (meant := did_you_mean(pattern, names)) else error)
        for pattern in session.options.patterns
        if not any(matches(name, pattern) for name in names)
    ]


# -- comparing -----------------------------------------------------------------------------------


def compare_lists(old: Manifest, new: Manifest) -> Iterator[Difference]:
    """Yield what the manifests alone show: repositories that appeared, vanished, failed or were renamed."""
    before, after = _by_id(old), _by_id(new)
    failed = {failure.full_name: failure for failure in new.failures}
    failed_ids = {failure.id for failure in new.failures}
    for entry in after.values():
        if entry.id not in before:
            yield Difference(entry.full_name, "appeared", f"not in the backup of {old.date}")
        elif before[entry.id].full_name != entry.full_name:
            yield Difference(entry.full_name, "renamed", f"was {before[entry.id].full_name}")
    for entry in before.values():
        if entry.id in after or entry.id in failed_ids:
            continue
        if not {entry.full_name, f"{entry.owner}/*"} & failed.keys():
            yield Difference(entry.full_name, "vanished", f"not in the backup of {new.date}")
    for failure in failed.values():
        yield Difference(failure.full_name, "failed", f"{failure.stage}: {failure.error}")


def changed_pairs(old: Manifest, new: Manifest) -> list[tuple[Entry, Entry]]:
    """Return the repositories of both manifests whose refs, default branch or issues differ."""
    before = _by_id(old)
    pairs = ((before[entry.id], entry) for entry in _by_id(new).values() if entry.id in before)
    return [(a, b) for a, b in pairs if _has_other_refs(a, b) or _has_other_issues(a, b)]


def _has_other_refs(old: Entry, new: Entry) -> bool:
    return old.refs_sha256 != new.refs_sha256 or old.default_branch != new.default_branch


def _has_other_issues(old: Entry, new: Entry) -> bool:
    if old.issues is None or new.issues is None:
        return False
    before, after = old.issues.list, new.issues.list
    return (before and before.sha256) != (after and after.sha256)


def compare_repository(
    old: Entry, new: Entry, reader: BucketReader, git: Git | None, scratch: Path
) -> Iterator[Difference]:
    """Yield how one repository changed. Without `git` only the bundles' headers are read, which is quick.

    Raises DownloadError, UnbundleError and GitError.
    """
    name = new.full_name
    before, after = _full_size(old), _full_size(new)
    if after < before * SHRUNK:
        yield Difference(name, "shrank", f"from {before} to {after} bytes")
    if old.default_branch != new.default_branch:
        yield Difference(name, "default branch renamed", f"from {old.default_branch} to {new.default_branch}")
    deleted = sorted(ref for ref in _refs(old, reader).keys() - _refs(new, reader).keys() if ref.startswith(COUNTED))
    if deleted:
        yield Difference(name, "refs deleted", _counted([ref.decode(errors="replace") for ref in deleted]))
    if old.sha and new.sha and old.sha != new.sha:
        if git is None:
            yield Difference(name, "default branch moved", f"from {old.sha} to {new.sha}")
        elif not _contains(old.sha, new, reader, git, scratch):
            yield Difference(name, "default branch rewritten", f"{old.sha} is not in the history of {new.sha}")


def compare_issues(old: Entry, new: Entry, reader: BucketReader, scratch: Path) -> Iterator[Difference]:
    """Yield what happened to issues. Raises DownloadError and ListError."""
    if not _has_other_issues(old, new):
        return
    changes = issue_changes(old, new, reader, scratch)
    if changes.deleted:
        yield Difference(new.full_name, "issues deleted", _counted([f"#{number}" for number in changes.deleted]))
    if words := str(changes):
        yield Difference(new.full_name, "issues changed", words)


def _counted(names: list[str]) -> str:
    return f"{len(names)}: {', '.join(names[:SHOWN])}{', ...' if len(names) > SHOWN else ''}"


def _by_id(manifest: Manifest) -> dict[int, Entry]:
    in_part = (failure.partial for failure in manifest.failures if failure.partial)
    return {entry.id: entry for entry in (*manifest.entries, *in_part) if entry.status != "gone"}


def _full_size(entry: Entry) -> int:
    """Return the bytes of the full bundle. The changes on top of it say nothing of what became smaller."""
    return entry.full.size_bytes if entry.full else 0


def _refs(entry: Entry, reader: BucketReader) -> Refs:
    return reader.header(entry).refs if entry.s3_key else {}


def _contains(sha: str, new: Entry, reader: BucketReader, git: Git, scratch: Path) -> bool:
    """Return whether the commit is in the history of the newer default branch."""
    with tempfile.TemporaryDirectory(dir=scratch) as name:
        mirror = Path(name) / "mirror.git"
        MirrorSource(reader, git).make(new, mirror, lambda _: None)
        git_dir = f"--git-dir={mirror}"
        try:
            git.run(git_dir, "cat-file", "-e", f"{sha}^{{commit}}")
            git.run(git_dir, "merge-base", "--is-ancestor", sha, str(new.sha))
        except GitError as error:
            if error.returncode not in (1, 128):
                raise
            return False
        return True
