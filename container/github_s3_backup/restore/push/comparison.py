"""One push: what is wanted, compared with what is there, so that nothing there is lost."""

from dataclasses import dataclass
from pathlib import Path

from github_s3_backup.git.refs import Refs
from github_s3_backup.records.entry import Entry
from github_s3_backup.restore.errors import PushError
from github_s3_backup.restore.push.remote import MILESTONES, REPLACED, Remote
from github_s3_backup.restore.push.targets.base import TargetRepository

HEADS = b"refs/heads/"


@dataclass(frozen=True)
class Push:
    """One push, compared with what is there. `target_refs`: the refs of the target that a push can change.

    `left_out`: the refs of the backup that GitHub reserves. `overwrite`: replace refs of the target that
    differ. `folder`: a temporary one. `broken`: why newer bundles than those of `entry` can't be used.
    """

    entry: Entry
    target: TargetRepository
    remote: Remote
    folder: Path
    wanted: Refs
    left_out: tuple[bytes, ...]
    target_refs: Refs
    overwrite: bool
    broken: Exception | None = None

    @property
    def default_branch(self) -> bytes:
        """The ref of the default branch, which may have no commits."""
        return f"refs/heads/{self.entry.default_branch}".encode()

    @property
    def missing(self) -> Refs:
        """The refs to push."""
        return {name: oid for name, oid in self.wanted.items() if self.target_refs.get(name) != oid}

    @property
    def new_branches(self) -> Refs:
        """The branches that a repository in use does not have."""
        return {} if self.is_first else {name: oid for name, oid in self.missing.items() if name.startswith(HEADS)}

    @property
    def is_first(self) -> bool:
        """Whether the repository gets its first refs."""
        return not self.target_refs


def foreign_refs(push: Push) -> list[bytes]:
    """Return the target's refs that differ from the backup."""
    target_refs = push.target_refs
    foreign = {name for name, oid in target_refs.items() if oid != push.wanted.get(name) and name != REPLACED + oid}
    return sorted(foreign - set(milestones(target_refs)))


def check_conflicts(push: Push) -> None:
    """Raise PushError if the push would replace something, or conflicts with what is there."""
    target_refs, url, existing = push.target_refs, push.remote.url, push.target.existing
    foreign = foreign_refs(push)
    if foreign and not push.overwrite:
        raise PushError(
            f"{url} is not empty: {len(foreign)} of its refs differ from the backup ({shorten(foreign)}). "
            "Push elsewhere with --to, or replace refs of the same name with --overwrite"
        )
    if blocking := sorted(_blocking(target_refs, push.wanted)):
        raise PushError(
            f"{url} has {shorten(blocking)}, which conflict with refs of the backup: "
            "a name can't also be a folder of names. Rename or delete it there first"
        )
    if existing and existing.archived and push.missing:
        raise PushError(f"{url} is archived and lacks refs of the backup: unarchive it first")


def milestones(refs: Refs) -> list[bytes]:
    """Return the tags of an unfinished push: each is named after its commit."""
    return [name for name, oid in refs.items() if name == MILESTONES + oid]


def _blocking(target_refs: Refs, wanted: Refs) -> set[bytes]:
    """Return the target's refs that are a folder of a wanted ref, or have a wanted ref as their folder."""
    folders = {folder for name in wanted for folder in _folders(name)}
    return {name for name in target_refs if name in folders or any(folder in wanted for folder in _folders(name))}


def _folders(name: bytes) -> list[bytes]:
    parts = name.split(b"/")
    return [b"/".join(parts[:length]) for length in range(3, len(parts))]


def shorten(refs: list[bytes]) -> str:
    """Return the first of some refs, in words."""
    shown = ", ".join(name.decode(errors="replace") for name in refs[:5])
    return f"{shown}, ..." if len(refs) > 5 else shown
