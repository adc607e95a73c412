"""Push a wiki. GitHub makes one when its first page is written by hand, and not before."""

import dataclasses
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from structlog.typing import FilteringBoundLogger

from github_s3_backup.git.process import GitError
from github_s3_backup.records.entry import Entry
from github_s3_backup.repository import WIKI_SUFFIX
from github_s3_backup.restore.errors import PushError
from github_s3_backup.restore.push.actions import Action
from github_s3_backup.restore.push.comparison import Push, check_conflicts, foreign_refs
from github_s3_backup.restore.push.git import GitPusher
from github_s3_backup.restore.push.remote import REPLACED, is_not_found
from github_s3_backup.restore.push.targets.base import Existing, TargetRepository
from github_s3_backup.s3.download import OnBytes

THERE = Existing(archived=False, default_branch=None)


@dataclass(frozen=True)
class WikiPusher:
    """Pushes wikis."""

    pusher: GitPusher
    log: FilteringBoundLogger

    def actions(self, wiki: Entry, target: TargetRepository, folder: Path) -> Iterable[Action]:
        """Return what brings the wiki to the target's. Raises PushError if there is none, or another one."""
        if wiki.s3_key is None:
            return []
        if target.existing is None:
            says = (f"push the wiki, after somebody has done this: {target.how_to_make_wiki()}",)
            push = lambda on_bytes: self._push(wiki, target, folder, on_bytes)  # noqa: E731
            return [Action(says, push, wiki.restore_bytes, "wiki")]
        actions = self._actions(self._compare(wiki, target, folder))
        return [dataclasses.replace(action, part="wiki") for action in actions]

    def _push(self, wiki: Entry, target: TargetRepository, folder: Path, on_bytes: OnBytes) -> None:
        """Push the wiki of a repository that was made a moment ago."""
        for action in self._actions(self._compare(wiki, target, folder)):
            action.do(on_bytes)

    def _actions(self, push: Push) -> list[Action]:
        actions = self.pusher.actions(push, " of the wiki")
        if push.overwrite and not self.pusher.overwrite and actions:
            says = ("keep the wiki's only page as a branch before-restore-...",)
            actions.insert(0, Action(says, lambda _: self._keep(push)))
        return actions

    def _keep(self, push: Push) -> None:
        """Keep the commit that is replaced as a branch. Raises GitError."""
        ((ref, oid),) = ((ref, oid) for ref, oid in push.target_refs.items() if not ref.startswith(REPLACED))
        copy = push.folder / "kept.git"
        self.pusher.source.git.run("init", "--bare", "--quiet", "--template=", "--", str(copy))
        push.remote.fetch(copy, ref)
        push.remote.push(copy, [f"{oid.decode()}:{(REPLACED + oid).decode()}"])
        self.log.warning("the wiki's only page is replaced", wiki=push.remote.url, kept=(REPLACED + oid).decode())

    def _compare(self, wiki: Entry, target: TargetRepository, folder: Path) -> Push:
        """Return the push, compared with the wiki that is there."""
        folder = folder / "wiki"
        folder.mkdir(exist_ok=True)
        remote = self.pusher.remote(f"{target.url.removesuffix('.git')}{WIKI_SUFFIX}.git", target, folder, is_new=False)
        try:
            there = remote.refs()
        except GitError as error:
            if not is_not_found(error):
                raise
            how = target.how_to_make_wiki()
            raise PushError(f"there is no wiki: {how}, then run the same command again ({error})") from None
        push = dataclasses.replace(self.pusher.wanted(wiki, target, remote, folder), target_refs=there)
        if foreign_refs(push) and not push.overwrite and self._is_first_page(push):
            push = dataclasses.replace(push, overwrite=True)
        check_conflicts(push)
        return push

    def _is_first_page(self, push: Push) -> bool:
        """Return whether the target's wiki is one commit with one page: what was asked for to make the wiki."""
        current = [ref for ref in push.target_refs if not ref.startswith(REPLACED)]
        if len(current) != 1:
            return False
        (ref,) = current
        git, copy = self.pusher.source.git, push.folder / "page.git"
        try:
            git.run("init", "--bare", "--quiet", "--template=", "--", str(copy))
            push.remote.fetch(copy, ref)
            git_dir = f"--git-dir={copy}"
            commits = git.run(git_dir, "rev-list", "FETCH_HEAD").split()
            pages = git.run(git_dir, "ls-tree", "-r", "-z", "FETCH_HEAD").split(b"\0")
        finally:
            shutil.rmtree(copy, ignore_errors=True)
        return len(commits) == 1 and len(pages) == 2  # each entry ends with a zero byte
