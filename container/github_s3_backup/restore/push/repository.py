"""Push a repository from the backups to a git server, with its LFS objects, its releases and its wiki."""

import dataclasses
from collections.abc import Callable

from github_s3_backup.records.manifest import Entry
from github_s3_backup.repository import WIKI_SUFFIX
from github_s3_backup.restore.errors import Parts, PushError
from github_s3_backup.restore.push.git import GitPusher, Push, compare
from github_s3_backup.restore.push.lfs import LfsPusher
from github_s3_backup.restore.push.releases import ReleasePusher
from github_s3_backup.restore.push.target import Existing, Target
from github_s3_backup.restore.push.wiki import WikiPusher
from github_s3_backup.s3.download import OnBytes

NOTHING = ["nothing: everything is already there"]


@dataclasses.dataclass(frozen=True)
class Pusher:
    """Pushes repositories to one target."""

    target: Target
    git: GitPusher
    lfs: LfsPusher
    releases: ReleasePusher
    wiki: WikiPusher

    def describe(self, entry: Entry, owner: str) -> list[str]:
        """Return what `push` would do, a line each; nothing is changed. Raises as `push` does."""
        if entry.name.endswith(WIKI_SUFFIX):
            return self.wiki.describe(entry, owner) or NOTHING
        existing = self.target.find(owner, entry.name)
        push = compare(self.git.plan(entry, owner, existing))
        lines = self.target.describe_preparation(owner, entry, existing, push.is_first)
        lines += _or_problem("LFS objects", lambda: self.lfs.describe(entry, owner, existing))
        lines += self.git.describe(push)
        lines += self.releases.describe(push)
        if wiki := _wiki(entry):
            lines += _or_problem("wiki", lambda: self.wiki.describe(wiki, owner, existing is not None))
        lines += self.target.describe_completion(entry, existing, push.default_branch in push.wanted)
        return lines or NOTHING

    def push(self, entry: Entry, owner: str, on_bytes: OnBytes) -> str:
        """Push one repository to `owner` and return the event to log.

        Raises what EXPECTED_ERRORS names. Of a repository with a broken part the others are pushed.
        """
        if entry.name.endswith(WIKI_SUFFIX):
            return _event(self.wiki.push(entry, owner, on_bytes))
        existing = self.target.find(owner, entry.name)
        push = compare(self.git.plan(entry, owner, existing))
        self.target.prepare(owner, entry, existing, push.is_first)
        if existing is None:  # it was just created, or somebody was quicker
            push = compare(dataclasses.replace(push, existing=Existing(archived=False, default_branch=None)))
        changed = self._push_parts(push, existing, on_bytes)
        self.target.set_archived(owner, entry, existing)
        return _event(changed)

    def _push_parts(self, push: Push, existing: Existing | None, on_bytes: OnBytes) -> bool:
        """Push everything, the LFS objects before the branches that need them. Return whether something was missing."""
        parts, changed, wiki = Parts(), list[bool](), _wiki(push.entry)
        with parts.part("Git LFS"):
            changed.append(self.lfs.push(push.entry, push.owner, existing, on_bytes))
        with parts.part():
            changed.append(self._push_git(push, existing, on_bytes))
        with parts.part("releases"):
            changed.append(self.releases.push(push, on_bytes))
        with parts.part("wiki"):
            changed.append(wiki is not None and self.wiki.push(wiki, push.owner, on_bytes))
        parts.check()
        return any(changed)

    def _push_git(self, push: Push, existing: Existing | None, on_bytes: OnBytes) -> bool:
        """Push the refs, and set the default branch."""
        steps, refusals = self.git.push(push, on_bytes)
        target_refs = push.remote.refs() if refusals else push.target_refs
        if push.default_branch in push.wanted and (not refusals or push.default_branch in target_refs):
            self.target.set_default_branch(push.owner, push.entry, existing, pushed=steps > 0)
        self.git.finish(push, target_refs, steps, refusals)
        return steps > 0


def _or_problem(part: str, describe: Callable[[], list[str]]) -> list[str]:
    """Return what would be done with a part, or what must be done first."""
    try:
        return describe()
    except PushError as error:
        return [f"push no {part}: {error}"]


def _wiki(entry: Entry) -> Entry | None:
    return entry.wiki if entry.wiki and entry.wiki.status != "gone" else None


def _event(changed: bool) -> str:
    return "pushed" if changed else "already there"
