"""Pushing a repository out of a backup to a git server, so that nothing that is there is lost."""

import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from structlog.typing import FilteringBoundLogger

from github_s3_backup.disk import readable
from github_s3_backup.git.process import Git, GitError, Refs
from github_s3_backup.manifest import Entry
from github_s3_backup.restore.push_steps import History, Step, plan_steps
from github_s3_backup.restore.room import Room
from github_s3_backup.restore.target import Found, Target
from github_s3_backup.restore.unbundle import make_mirror
from github_s3_backup.retry import RetryableError, retrying
from github_s3_backup.s3.download import Bundles, OnBytes
from github_s3_backup.stop import Stop

ATTEMPTS = 4
# Everything else that GitHub serves (refs/pull) it makes itself, and refuses to be given.
PUSHED = (b"refs/heads/", b"refs/tags/", b"refs/notes/")
# Tags that keep the milestones of a large push until its end, each with its commit behind it. GitHub would take
# a branch for the default one and refuse to delete it.
MILESTONES = b"refs/tags/restore-in-progress-"
# What git says of a ref that the server, or git itself, does not let through; and what may be otherwise the next time.
REFUSED = re.compile(r"! \[(remote )?rejected\]")
PASSING = "(Internal Server Error)"
# Answers that another try does not change. GitHub may say 404 of a repository that it has just made.
USELESS = re.compile(r"error: 4(?!04|08|29)\d\d|Authentication failed|could not read (Username|Password)")
# GitHub checks what it was sent before it says a word. Seconds.
SILENCE = 900


class PushError(Exception):
    """The target can't take the repository, or must not without being told to."""


@dataclass(frozen=True)
class Push:
    """How to push one repository; `step_size`: bytes that one push may have at most."""

    bundles: Bundles
    git: Git
    target: Target
    room: Room
    scratch: Path
    step_size: int
    overwrite: bool
    stop: Stop
    log: FilteringBoundLogger

    def plan(self, entry: Entry, owner: str) -> list[str]:
        """Return what `push` would do, a line each; nothing is changed. Raises as `push` does."""
        found = self.target.find(owner, entry.name)
        refs = self._refs(entry)
        there = self._there(found, owner, entry, refs)
        lines = self.target.preparing(owner, entry, found, to_fill=bool(refs and not there))
        missing = {name for name, oid in refs.items() if there.get(name) != oid}
        replaced = sorted(name for name in missing if name in there)
        kinds = {kind: sum(name.startswith(kind) for name in missing) for kind in PUSHED}
        words = [f"{number} {kind.decode().split('/')[1]}" for kind, number in kinds.items() if number]
        if missing:
            steps = -(-entry.size_bytes // self.step_size)
            size = f"{readable(entry.size_bytes)} in about {steps} pushes" if steps > 1 else readable(entry.size_bytes)
            lines.append(f"push {', '.join(words)} ({size})")
        if replaced:
            lines.append(f"overwrite {len(replaced)} refs: {_names(replaced)}")
        if milestones := _milestones(there):
            lines.append(f"remove {len(milestones)} tags that an unfinished push left there")
        lines.extend(self.target.finishing(entry, found, bool(refs)))
        return lines or ["nothing: everything is there already"]

    def push(self, entry: Entry, owner: str, on_bytes: OnBytes) -> str:
        """Push one repository to `owner` and return what was done.

        Raises PushError, GitHubError, DownloadError, UnbundleError and GitError.
        """
        found = self.target.find(owner, entry.name)
        wanted = self._refs(entry)
        there = self._there(found, owner, entry, wanted)
        self.target.prepare(owner, entry, found, to_fill=bool(wanted and not there))
        if found is None:  # or somebody was quicker
            there = self._there(Found(archived=False, default_branch=None), owner, entry, wanted)
        steps, refusals = 0, list[str]()
        if any(there.get(name) != oid for name, oid in wanted.items()):
            with self.room.reserve(entry.size_bytes):
                steps, refusals = self._push_all(entry, owner, wanted, there, on_bytes)
        else:
            on_bytes(entry.size_bytes)
        if refusals:
            there = self._remote_refs(owner, entry)
        if not refusals or f"refs/heads/{entry.default_branch}".encode() in there:
            self.target.set_default_branch(owner, entry, found, pushed=steps > 0)
        if lacking := [name for name, oid in wanted.items() if refusals and there.get(name) != oid]:
            raise PushError(f"{len(lacking)} of {len(wanted)} refs are not there ({_names(lacking)}): {refusals[0]}")
        if steps > 1 or _milestones(there):
            self._remove_milestones(entry, owner)
        self.target.set_archived(owner, entry, found)
        return "pushed" if steps else "was there already"

    # -- what is wanted, and what is there -------------------------------------------------------

    def _refs(self, entry: Entry) -> Refs:
        """Return the refs that can be pushed, the default branch first."""
        if entry.s3_key is None:
            return {}
        header = self.bundles.header(entry)
        if header.object_format not in self.target.object_formats:
            raise PushError(
                f"it is a {header.object_format} repository, which this server does not take: "
                "`fetch --as mirrors` it, or push it to another server with --url"
            )
        refs = header.refs
        first = f"refs/heads/{entry.default_branch}".encode()
        names = {name for name in refs if name.startswith(PUSHED)} - set(_milestones(refs))
        return {name: refs[name] for name in sorted(names, key=lambda name: (name != first, name))}

    def _there(self, found: Found | None, owner: str, entry: Entry, wanted: Refs) -> Refs:
        """Return the refs that the target has. Raises PushError where pushing would replace something."""
        if found is None:
            return {}
        there = self._remote_refs(owner, entry)
        foreign = sorted({name for name in there if there[name] != wanted.get(name)} - set(_milestones(there)))
        place = self.target.url(owner, entry.name)
        if foreign and not self.overwrite:
            raise PushError(
                f"{place} is not empty, and {len(foreign)} of its refs are not those of the backup "
                f"({_names(foreign)}): push elsewhere with --to, or replace what has the same name with --overwrite"
            )
        if in_the_way := sorted(_in_the_way(there, wanted)):
            raise PushError(
                f"{place} has {_names(in_the_way)}, beside which git can't keep refs of the backup: "
                "a name is not a folder of names too. Rename or delete it there first"
            )
        if found.archived and any(there.get(name) != oid for name, oid in wanted.items()):
            raise PushError(f"{place} is archived and lacks refs of the backup: unarchive it first")
        return there

    def _remote_refs(self, owner: str, entry: Entry) -> Refs:
        url = self.target.url(owner, entry.name)
        lines = self._talk(owner, entry, "ls-remote", "--quiet", "--", url).splitlines()
        pairs = (line.split(b"\t", 1) for line in lines)
        return {name: oid for oid, name in pairs if name.startswith(PUSHED) and not name.endswith(b"^{}")}

    # -- pushing ---------------------------------------------------------------------------------

    def _push_all(
        self, entry: Entry, owner: str, wanted: Refs, there: Refs, on_bytes: OnBytes
    ) -> tuple[int, list[str]]:
        """Push what is missing; return the number of pushes, and why some refs were refused while others went on."""
        bundle = self.scratch / f"{entry.id}.bundle"
        mirror = bundle.with_suffix(".git")
        try:
            self.bundles.download(entry, bundle, on_bytes)
            make_mirror(self.git, bundle, entry, mirror)
            bundle.unlink()
            steps = plan_steps(History(self.git, mirror), wanted, there, self.step_size)
            return len(steps), self._push_steps(mirror, owner, entry, steps)
        finally:
            shutil.rmtree(mirror, ignore_errors=True)
            for path in self.scratch.glob(f"{entry.id}.bundle*"):
                path.unlink()

    def _push_steps(self, mirror: Path, owner: str, entry: Entry, steps: list[Step]) -> list[str]:
        refusals = []
        for number, step in enumerate(steps, start=1):
            if len(steps) > 1:
                self.log.info("pushing", full_name=entry.full_name, step=number, of=len(steps))
            try:
                self._push_step(mirror, owner, entry, step)
            except GitError as error:
                if step.milestones or not _refused(error):
                    raise
                refusals.append(str(error))
        return refusals

    def _push_step(self, mirror: Path, owner: str, entry: Entry, step: Step) -> None:
        force = b"+" if self.overwrite else b""
        # By the object, as a ref's name alone can be ambiguous: some branch is called HEAD.
        refspecs = [force + oid + b":" + name for name, oid in step.refs.items()]
        refspecs += [b"+" + oid + b":" + MILESTONES + oid for oid in step.milestones]
        self._send(owner, entry, f"--git-dir={mirror}", *(one.decode(errors="surrogateescape") for one in refspecs))

    def _remove_milestones(self, entry: Entry, owner: str) -> None:
        if names := _milestones(self._remote_refs(owner, entry)):
            empty = self.scratch / f"{entry.id}.none"
            self.git.run("init", "--bare", "--quiet", "--template=", "--", str(empty))
            self._send(owner, entry, f"--git-dir={empty}", *(f":{name.decode()}" for name in names))
            shutil.rmtree(empty)

    def _send(self, owner: str, entry: Entry, git_dir: str, *refspecs: str) -> None:
        url = self.target.url(owner, entry.name)
        options = ("-c", f"http.lowSpeedTime={SILENCE}", git_dir, "push", "--quiet", "--no-verify", "--", url)
        self._talk(owner, entry, *options, *refspecs)

    def _talk(self, owner: str, entry: Entry, *arguments: str) -> bytes:
        """Run a git command that talks to the server, again after a fault that may pass."""
        trace = self.scratch / f"{entry.id}.trace"

        def say(fault: RetryableError, seconds: float, attempt: int) -> None:
            self.log.warning("trying again", seconds=round(seconds, 1), attempt=attempt, error=str(fault))

        for attempt in retrying(ATTEMPTS, self.stop, say):
            with attempt:
                try:
                    return self.git.talk(*arguments, token=self.target.token(owner), trace=trace)
                except GitError as error:
                    refused = _refused(error) and PASSING not in str(error)
                    error.final = error.told_by is None and bool(refused or USELESS.search(str(error)))
                    raise
        raise AssertionError("tenacity raises the last error")


def _refused(error: GitError) -> bool:
    return any(REFUSED.match(line) for line in error.lines)


def _milestones(refs: Refs) -> list[bytes]:
    return [name for name, oid in refs.items() if name == MILESTONES + oid]


def _in_the_way(there: Refs, wanted: Refs) -> set[bytes]:
    """Return the refs of the target that are a folder of a wanted ref, or have a wanted ref for a folder."""
    folders = {folder for name in wanted for folder in _folders(name)}
    return {name for name in there if name in folders or any(folder in wanted for folder in _folders(name))}


def _folders(name: bytes) -> list[bytes]:
    parts = name.split(b"/")
    return [b"/".join(parts[:length]) for length in range(3, len(parts))]


def _names(refs: list[bytes]) -> str:
    shown = ", ".join(name.decode(errors="replace") for name in refs[:5])
    return f"{shown}, ..." if len(refs) > 5 else shown
