"""Push the git data of a repository, or of its wiki, to a git server, without losing anything that is there."""

import dataclasses
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from structlog.typing import FilteringBoundLogger

from github_s3_backup.git.refs import Refs
from github_s3_backup.records.entry import Entry
from github_s3_backup.restore.errors import PushError, is_disk_full
from github_s3_backup.restore.push.actions import Action
from github_s3_backup.restore.push.comparison import HEADS, Push, check_conflicts, milestones, shorten
from github_s3_backup.restore.push.refused import push_step
from github_s3_backup.restore.push.remote import PUSHED, Remote
from github_s3_backup.restore.push.steps import History, plan_steps
from github_s3_backup.restore.push.targets.base import TargetRepository
from github_s3_backup.restore.selection.older import BROKEN, OlderBundles, OlderBundlesError, missing_at, newest_of
from github_s3_backup.restore.unbundle import MirrorSource
from github_s3_backup.restore.workers import Room
from github_s3_backup.runtime.stop import Stop
from github_s3_backup.runtime.units import format_bytes
from github_s3_backup.s3.download import DownloadError, OnBytes


@dataclass(frozen=True)
class GitPusher:
    """Pushes the refs of repositories. `step_size`: the largest push, in bytes.

    `hidden_as`: the folder of branches in which refs that GitHub reserves are pushed, None: they are not pushed.
    """

    source: MirrorSource
    older: OlderBundles
    room: Room
    step_size: int
    overwrite: bool
    hidden_as: str | None
    stop: Stop
    log: FilteringBoundLogger

    # -- what is wanted, and what is there -------------------------------------------------------

    def compare(self, entry: Entry, target: TargetRepository, folder: Path) -> Push:
        """Return the push of a repository. Raises PushError if it must not be done, DownloadError and GitError."""
        push = self.wanted(entry, target, self.remote(target.url, target, folder), folder)
        if target.existing:
            push = dataclasses.replace(push, target_refs=push.remote.refs())
            check_conflicts(push)
        return push

    def wanted(self, entry: Entry, target: TargetRepository, remote: Remote, folder: Path) -> Push:
        """Return the push, not compared with what is there. Where the bundle has no header, an older one is pushed."""
        try:
            return self._wanted(entry, target, remote, folder)
        except DownloadError as error:
            found: list[Push] = []
            older = lambda other: found.append(self._wanted(other, target, remote, folder))  # noqa: E731
            self.older.use(entry, error, older, newest_of)
            return self._instead(found[0], error)

    def _instead(self, older: Push, broken: Exception) -> Push:
        """Return the push of older bundles, and say that they are older."""
        self.log.warning("taken from an older backup", date=older.entry.backed_up_at, error=str(broken))
        return dataclasses.replace(older, broken=broken)

    def _wanted(self, entry: Entry, target: TargetRepository, remote: Remote, folder: Path) -> Push:
        """Return the push of an entry, the default branch first."""
        refs = self._refs(entry, target)
        first, names = f"refs/heads/{entry.default_branch}".encode(), refs.keys() - {b"HEAD"} - set(milestones(refs))
        renamed = {self._pushed_as(name): refs[name] for name in sorted(names, key=lambda name: (name != first, name))}
        wanted = {name: oid for name, oid in renamed.items() if name.startswith(PUSHED)}
        left_out = tuple(name for name in renamed if not name.startswith(PUSHED))
        return Push(entry, target, remote, folder, wanted, left_out, {}, self.overwrite)

    def remote(self, url: str, target: TargetRepository, folder: Path, is_new: bool = True) -> Remote:
        """Return the repository at a URL. `is_new`: it may have been made a moment ago, and not be found at once."""
        return Remote(self.source.git, url, target.with_token, folder / "trace", is_new, self.stop, self.log)

    def _refs(self, entry: Entry, target: TargetRepository) -> Refs:
        if entry.s3_key is None:
            return {}
        header = self.source.reader.header(entry)
        if header.object_format not in target.object_formats:
            raise PushError(
                f"this is a {header.object_format} repository, which the server does not support: "
                "`fetch --as mirrors` it, or push it to another server with --url"
            )
        return header.refs

    def _pushed_as(self, name: bytes) -> bytes:
        if name.startswith(PUSHED) or self.hidden_as is None:
            return name
        return HEADS + self.hidden_as.encode() + name.removeprefix(b"refs")

    # -- what is to be done ----------------------------------------------------------------------

    def actions(self, push: Push, of_what: str = "") -> list[Action]:
        """Return what brings the refs to the target. `of_what`: what a dry run adds to each line."""
        says = tuple(f"{line}{of_what}" for line in self._describe(push))
        if not says:
            return []
        size = push.entry.restore_bytes if push.missing else 0
        return [Action(says, lambda on_bytes: self._push(push, on_bytes), size)]

    def _describe(self, push: Push) -> Iterator[str]:
        size = push.entry.restore_bytes
        if push.broken:
            yield f"take the backup of {push.entry.backed_up_at}, as a newer one can't be used"
        if push.missing:
            steps = -(-size // self.step_size)
            shown = f"{format_bytes(size)} in about {steps} pushes" if steps > 1 else format_bytes(size)
            yield f"push {_count(push.missing)} ({shown})"
        if overwritten := sorted(name for name in push.missing if name in push.target_refs):
            yield f"overwrite {len(overwritten)} refs: {shorten(overwritten)}"
        if found := milestones(push.target_refs):
            yield f"delete {len(found)} tags that an unfinished push left there"

    def _push(self, push: Push, on_bytes: OnBytes) -> None:
        """Push what is missing, in steps, and remove the milestones.

        Raises PushError if refs were refused, while the others went on, OlderBundlesError where older bundles were
        pushed, DownloadError, UnbundleError and GitError.
        """
        push.target.check()
        if push.target.existing is None and push.remote.refs():
            raise PushError(f"somebody else pushed to {push.remote.url} in the meantime: run the same command again")
        push, steps, refusals = self._push_missing(push, on_bytes) if push.missing else (push, 0, [])
        now = push.remote.refs() if refusals else push.target_refs
        if steps > 1 or milestones(now):
            self._delete_milestones(push)
        lacking = [name for name, oid in push.wanted.items() if refusals and now.get(name) != oid]
        if lacking:
            older = [str(OlderBundlesError(push.entry, push.broken))] if push.broken else []
            words = "; ".join(dict.fromkeys((*refusals, *older)))
            raise PushError(f"{len(lacking)} of {len(push.wanted)} refs were refused ({shorten(lacking)}): {words}")
        if push.broken:
            raise OlderBundlesError(push.entry, push.broken)

    def _push_missing(self, push: Push, on_bytes: OnBytes) -> tuple[Push, int, list[str]]:
        """Return what was pushed, the number of pushes, and the errors of those that were refused."""
        size, mirror = push.entry.restore_bytes, push.folder / "mirror.git"
        with self.room.disk(size):
            with self.room.memory(size):
                push = self._make(push, mirror)
                steps = plan_steps(History(self.source.git, mirror), push.missing, push.target_refs, self.step_size)
            if found := push.new_branches and self._new_workflows(push, mirror):
                names = shorten(found)
                self.log.warning("branches bring workflows that the target does not have", branches=names)
            refusals: list[str] = []
            for number, step in enumerate(steps, start=1):
                if len(steps) > 1:
                    self.log.info("pushing", step=number, of=len(steps))
                with self.room.memory(size // len(steps)):
                    refusals += push_step(push.remote, mirror, step, push.overwrite)
                on_bytes(size * number // len(steps) - size * (number - 1) // len(steps))
        return push, len(steps), refusals

    def _make(self, push: Push, mirror: Path) -> Push:
        """Make the mirror, of older bundles where these can't be used, and return what is pushed of it."""

        def make(entry: Entry) -> None:
            self.source.make(entry, mirror, lambda _: None)

        try:
            make(push.entry)
        except BROKEN as error:
            if is_disk_full(error):
                raise
            entry = self.older.use(push.entry, error, make, missing_at(mirror.with_suffix(".bundle")))
            older = self._wanted(entry, push.target, push.remote, push.folder)
            older = dataclasses.replace(older, target_refs=push.target_refs, overwrite=push.overwrite)
            check_conflicts(older)
            return self._instead(older, push.broken or error)
        return push

    def _new_workflows(self, push: Push, mirror: Path) -> list[bytes]:
        """Return the branches that a repository in use does not have, and whose workflows are none of its own."""
        history = History(self.source.git, mirror)
        own = set(history.workflows(push.target_refs.values()).values())
        trees = history.workflows(push.new_branches.values())
        return sorted(name for name, oid in push.new_branches.items() if oid in trees and trees[oid] not in own)

    def look_inside(self, push: Push) -> list[str]:
        """Return what only the bundle shows, in words. Raises DownloadError, UnbundleError and GitError."""
        if not push.new_branches:
            return []
        mirror, size = push.folder / "mirror.git", push.entry.restore_bytes
        with self.room.both(size):
            self.source.make(push.entry, mirror, lambda _: None)
            found = self._new_workflows(push, mirror)
        return [f"these branches bring workflows that the target does not have: {shorten(found)}"] if found else []

    def _delete_milestones(self, push: Push) -> None:
        if names := milestones(push.remote.refs()):
            empty = push.folder / "empty.git"
            self.source.git.run("init", "--bare", "--quiet", "--template=", "--", str(empty))
            push.remote.push(empty, [f":{name.decode()}" for name in names])

    def notes(self, push: Push) -> list[str]:
        """Return what is left out, in words."""
        if not push.left_out:
            return []
        kinds = Counter(b"/".join(name.split(b"/")[:2]).decode(errors="replace") for name in push.left_out)
        shown = ", ".join(f"{number} {kind}" for kind, number in sorted(kinds.items()))
        return [f"leave out {len(push.left_out)} refs that GitHub reserves: {shown} (--hidden-refs-as PREFIX)"]


def _count(refs: Refs) -> str:
    """Return how many branches, tags and notes there are: 3 heads, 1 tags."""
    kinds = {kind: sum(name.startswith(kind) for name in refs) for kind in PUSHED}
    return ", ".join(f"{number} {kind.decode().split('/')[1]}" for kind, number in kinds.items() if number)
