"""Push the git data of a repository, or of its wiki, to a git server, without losing anything that is there."""

import dataclasses
import shutil
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from structlog.typing import FilteringBoundLogger

from github_s3_backup.git.process import Git, GitError
from github_s3_backup.git.refs import Refs
from github_s3_backup.records.manifest import Entry
from github_s3_backup.restore.errors import PushError
from github_s3_backup.restore.push.remote import PUSHED, Remote, is_rejected
from github_s3_backup.restore.push.steps import History, Step, plan_steps
from github_s3_backup.restore.push.target import Existing, Target
from github_s3_backup.restore.unbundle import make_mirror
from github_s3_backup.runtime.capacity import Capacity, restore_reservation
from github_s3_backup.runtime.stop import Stop
from github_s3_backup.runtime.units import format_bytes
from github_s3_backup.s3.download import BucketReader, OnBytes

# Tags that keep the milestones of a large push until it is complete, each followed by its commit. Not branches: GitHub
# would make one of them the default branch and refuse to delete it.
MILESTONES = b"refs/tags/restore-in-progress-"
# What git says of each ref of a push that a server's hook refused as a whole.
WHOLE_PUSH = "(pre-receive hook declined)"


@dataclass(frozen=True)
class Push:
    """One push as planned. `existing`: the target's repository, None if there is none; `target_refs`: its refs.

    `overwrite`: replace refs of the target that differ.
    """

    entry: Entry
    owner: str
    remote: Remote
    existing: Existing | None
    wanted: Refs
    target_refs: Refs
    overwrite: bool

    @property
    def default_branch(self) -> bytes:
        """The ref of the default branch, which may have no commits."""
        return f"refs/heads/{self.entry.default_branch}".encode()

    @property
    def missing(self) -> list[bytes]:
        """The refs to push."""
        return [name for name, oid in self.wanted.items() if self.target_refs.get(name) != oid]

    @property
    def is_first(self) -> bool:
        """Whether the repository is empty and gets its first refs."""
        return bool(self.wanted and not self.target_refs)


class GitPusher:
    """Pushes the refs of repositories to one target. `step_size`: the largest push, in bytes."""

    def __init__(
        self,
        reader: BucketReader,
        git: Git,
        target: Target,
        capacity: Capacity,
        scratch: Path,
        step_size: int,
        overwrite: bool,
        stop: Stop,
        log: FilteringBoundLogger,
    ) -> None:
        self._reader, self._git, self._target = reader, git, target
        self._capacity, self._scratch, self._step_size = capacity, scratch, step_size
        self._overwrite, self._stop, self._log = overwrite, stop, log

    def push(self, push: Push, on_bytes: OnBytes) -> tuple[int, list[str]]:
        """Push what is missing; return the number of pushes, and the errors of those refused while others went on.

        Raises DownloadError, UnbundleError and GitError.
        """
        if not push.missing:
            on_bytes(push.entry.size_bytes)
            return 0, []
        with self._capacity.reserve(restore_reservation(push.entry.size_bytes)):
            return self._push_missing(push, on_bytes)

    def finish(self, push: Push, target_refs: Refs, steps: int, refusals: list[str]) -> None:
        """Remove the milestones. `target_refs`: those of now, if some were refused: then it raises PushError."""
        lacking = [name for name, oid in push.wanted.items() if refusals and target_refs.get(name) != oid]
        if lacking:
            shown = _shorten(lacking)
            raise PushError(f"{len(lacking)} of {len(push.wanted)} refs were refused ({shown}): {refusals[0]}")
        if steps > 1 or _milestones(target_refs):
            self._delete_milestones(push)

    # -- what is wanted, and what is there -------------------------------------------------------

    def plan(self, entry: Entry, owner: str, existing: Existing | None, is_new: bool = True) -> Push:
        """Return the push to a repository, not compared with it yet. `is_new`: it may have been made a moment ago.

        Raises PushError where the target can't hold it, and DownloadError.
        """
        url, trace = self._target.url(owner, entry.name), self._scratch / f"{entry.id}.trace"
        with_token = partial(self._target.with_token, owner)
        remote = Remote(self._git, url, with_token, trace, self._stop, self._log, is_new)
        return Push(entry, owner, remote, existing, self._wanted_refs(entry), {}, self._overwrite)

    def _wanted_refs(self, entry: Entry) -> Refs:
        """Return the refs that can be pushed, the default branch first."""
        if entry.s3_key is None:
            return {}
        header = self._reader.header(entry)
        if header.object_format not in self._target.object_formats:
            raise PushError(
                f"this is a {header.object_format} repository, which the server does not support: "
                "`fetch --as mirrors` it, or push it to another server with --url"
            )
        refs = header.refs
        first = f"refs/heads/{entry.default_branch}".encode()
        names = {name for name in refs if name.startswith(PUSHED)} - set(_milestones(refs))
        return {name: refs[name] for name in sorted(names, key=lambda name: (name != first, name))}

    def describe(self, push: Push) -> list[str]:
        """Return what `push` would do, a line each."""
        lines, size = [], push.entry.size_bytes
        kinds = {kind: sum(name.startswith(kind) for name in push.missing) for kind in PUSHED}
        words = [f"{number} {kind.decode().split('/')[1]}" for kind, number in kinds.items() if number]
        if words:
            steps = -(-size // self._step_size)
            shown = f"{format_bytes(size)} in about {steps} pushes" if steps > 1 else format_bytes(size)
            lines.append(f"push {', '.join(words)} ({shown})")
        if overwritten := sorted(name for name in push.missing if name in push.target_refs):
            lines.append(f"overwrite {len(overwritten)} refs: {_shorten(overwritten)}")
        if milestones := _milestones(push.target_refs):
            lines.append(f"delete {len(milestones)} tags that an unfinished push left there")
        return lines

    # -- pushing ---------------------------------------------------------------------------------

    def _push_missing(self, push: Push, on_bytes: OnBytes) -> tuple[int, list[str]]:
        entry = push.entry
        bundle = self._scratch / f"{entry.id}.bundle"
        mirror = bundle.with_suffix(".git")
        try:
            self._reader.download(entry, bundle, on_bytes)
            make_mirror(self._git, bundle, entry, mirror)
            bundle.unlink()
            steps = plan_steps(History(self._git, mirror), push.wanted, push.target_refs, self._step_size)
            return len(steps), self._push_steps(push, mirror, steps)
        finally:
            shutil.rmtree(mirror, ignore_errors=True)
            for path in self._scratch.glob(f"{entry.id}.bundle*"):
                path.unlink()

    def _push_steps(self, push: Push, mirror: Path, steps: list[Step]) -> list[str]:
        refusals: list[str] = []
        for number, step in enumerate(steps, start=1):
            if len(steps) > 1:
                self._log.info("pushing", step=number, of=len(steps))
            refusals += self._push_step(push, mirror, step)
        return refusals

    def _push_step(self, push: Push, mirror: Path, step: Step) -> list[str]:
        """Push one step, and return the errors of refs that were refused.

        Where the server refuses a whole push because of one ref, as GitHub does if it lacks an LFS object, each half of
        the refs is pushed alone.
        """
        try:
            push.remote.push(mirror, _refspecs(step, push.overwrite))
        except GitError as error:
            if step.milestones or not is_rejected(error):
                raise
            if len(step.refs) == 1 or WHOLE_PUSH not in str(error):
                return [str(error)]
            halves = list(step.refs.items())
            middle = len(halves) // 2
            return [
                *self._push_step(push, mirror, Step(dict(halves[:middle]))),
                *self._push_step(push, mirror, Step(dict(halves[middle:]))),
            ]
        return []

    def _delete_milestones(self, push: Push) -> None:
        if names := _milestones(push.remote.refs()):
            empty = self._scratch / f"{push.entry.id}.empty"
            self._git.run("init", "--bare", "--quiet", "--template=", "--", str(empty))
            push.remote.push(empty, [f":{name.decode()}" for name in names])
            shutil.rmtree(empty)


def _refspecs(step: Step, overwrite: bool) -> list[str]:
    force = b"+" if overwrite else b""
    # By object id: a ref's name alone can be ambiguous, as with a branch called HEAD.
    specs = [force + oid + b":" + name for name, oid in step.refs.items()]
    specs += [b"+" + oid + b":" + MILESTONES + oid for oid in step.milestones]
    return [spec.decode(errors="surrogateescape") for spec in specs]


def compare(push: Push) -> Push:
    """Return the push, compared with what the target has. Raises PushError if it must not be done, and GitError."""
    if push.existing is None:
        return push
    compared = dataclasses.replace(push, target_refs=push.remote.refs())
    check_conflicts(compared)
    return compared


def foreign_refs(push: Push) -> list[bytes]:
    """Return the target's refs that differ from the backup."""
    target_refs = push.target_refs
    foreign = {name for name in target_refs if target_refs[name] != push.wanted.get(name)}
    return sorted(foreign - set(_milestones(target_refs)))


def check_conflicts(push: Push) -> None:
    """Raise PushError if the push would replace something, or can't succeed beside what is there."""
    target_refs, url = push.target_refs, push.remote.url
    foreign = foreign_refs(push)
    if foreign and not push.overwrite:
        raise PushError(
            f"{url} is not empty: {len(foreign)} of its refs differ from the backup ({_shorten(foreign)}). "
            "Push elsewhere with --to, or replace refs of the same name with --overwrite"
        )
    if blocking := sorted(_blocking(target_refs, push.wanted)):
        raise PushError(
            f"{url} has {_shorten(blocking)}, which git can't keep beside refs of the backup: "
            "a name can't also be a folder of names. Rename or delete it there first"
        )
    if push.existing and push.existing.archived and push.missing:
        raise PushError(f"{url} is archived and lacks refs of the backup: unarchive it first")


def _milestones(refs: Refs) -> list[bytes]:
    return [name for name, oid in refs.items() if name == MILESTONES + oid]


def _blocking(target_refs: Refs, wanted: Refs) -> set[bytes]:
    """Return the target's refs that are a folder of a wanted ref, or have a wanted ref as their folder."""
    folders = {folder for name in wanted for folder in _folders(name)}
    return {name for name in target_refs if name in folders or any(folder in wanted for folder in _folders(name))}


def _folders(name: bytes) -> list[bytes]:
    parts = name.split(b"/")
    return [b"/".join(parts[:length]) for length in range(3, len(parts))]


def _shorten(refs: list[bytes]) -> str:
    shown = ", ".join(name.decode(errors="replace") for name in refs[:5])
    return f"{shown}, ..." if len(refs) > 5 else shown
