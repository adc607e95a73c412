"""Push a repository from the backups to a git server, with its LFS objects, its releases and its wiki."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from github_s3_backup.repository import WIKI_SUFFIX
from github_s3_backup.restore.push.actions import Action, Plan, in_part
from github_s3_backup.restore.push.comparison import Push
from github_s3_backup.restore.push.git import GitPusher
from github_s3_backup.restore.push.issues.pusher import IssuePusher
from github_s3_backup.restore.push.lfs import LfsPusher
from github_s3_backup.restore.push.releases import ReleasePusher
from github_s3_backup.restore.push.targets.base import Target
from github_s3_backup.restore.push.wiki import WikiPusher
from github_s3_backup.restore.selection.records import Selected


@dataclass(frozen=True)
class Pusher:
    """Pushes repositories to one target. `scratch`: a temporary folder."""

    target: Target
    git: GitPusher
    lfs: LfsPusher
    releases: ReleasePusher
    wiki: WikiPusher
    issues: IssuePusher
    scratch: Path

    @contextmanager
    def plan(self, repository: Selected, owner: str, look_inside: bool) -> Iterator[Plan]:
        """Yield what a push does, which can be performed inside this block. `look_inside`: download where that helps.

        Raises what EXPECTED_ERRORS names where the repository can't be pushed at all.
        """
        entry = repository.entry
        with tempfile.TemporaryDirectory(dir=self.scratch, ignore_cleanup_errors=True) as name:
            target = self.target.repository(owner, entry)
            title = f"{entry.full_name} of {repository.date} -> {self.target.url(owner, entry.name)}"
            if entry.name.endswith(WIKI_SUFFIX):
                actions, notes = list(self.wiki.actions(entry, target, Path(name))), list[str]()
                before = target.before(is_empty=False) if actions and target.existing else []
            else:
                push = self.git.compare(entry, target, Path(name))
                actions, notes = self._parts(push), [*self.git.notes(push), *self.releases.notes(push)]
                notes += self.issues.notes(push)
                notes += self.git.look_inside(push) if look_inside else []
                after = target.after(push.remote, push.is_first, push.default_branch in push.wanted)
                before = target.before(push.is_first) if actions or not target.existing else []
                actions += after
            yield Plan(title, (*before, *actions), tuple(notes))

    def _parts(self, push: Push) -> list[Action]:
        """Return the actions of all parts, the LFS objects before the branches that need them."""
        entry, target = push.entry, push.target
        actions = in_part("Git LFS", "LFS objects", lambda: self.lfs.actions(entry, target))
        actions += self.git.actions(push)
        actions += in_part("releases", "releases", lambda: self.releases.actions(push))
        if (wiki := entry.wiki) and wiki.status != "gone":
            actions += in_part("wiki", "wiki", lambda: self.wiki.actions(wiki, target, push.folder))
        # The last ones: they may take hours, and name the commits that are there by then.
        actions += in_part("issues", "issues", lambda: self.issues.actions(push))
        return actions
