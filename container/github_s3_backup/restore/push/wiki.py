"""Push a wiki. GitHub makes one when its first page is written by hand, and not before."""

import dataclasses
import shutil
from pathlib import Path

from structlog.typing import FilteringBoundLogger

from github_s3_backup.git.process import Git, GitError
from github_s3_backup.records.manifest import Entry
from github_s3_backup.repository import WIKI_SUFFIX
from github_s3_backup.restore.errors import PushError
from github_s3_backup.restore.push.git import GitPusher, Push, check_conflicts, foreign_refs
from github_s3_backup.restore.push.remote import is_not_found
from github_s3_backup.restore.push.target import Existing, Target
from github_s3_backup.s3.download import OnBytes

THERE = Existing(archived=False, default_branch=None)


class WikiPusher:
    """Pushes wikis to one target."""

    def __init__(self, pusher: GitPusher, git: Git, target: Target, scratch: Path, log: FilteringBoundLogger) -> None:
        self._pusher, self._git, self._target = pusher, git, target
        self._scratch, self._log = scratch, log

    def describe(self, wiki: Entry, owner: str, is_repository_there: bool = True) -> list[str]:
        """Return what `push` would do, a line each. Raises as `push` does."""
        if wiki.s3_key is None:
            return []
        if not is_repository_there:
            return [f"push the wiki, after somebody has done this: {self._how_to_make(wiki, owner)}"]
        return [f"{line} of the wiki" for line in self._pusher.describe(self._plan(wiki, owner))]

    def push(self, wiki: Entry, owner: str, on_bytes: OnBytes) -> bool:
        """Push a wiki. Return False if everything is already there.

        Raises PushError where the target has no wiki, DownloadError, UnbundleError and GitError.
        """
        if wiki.s3_key is None:
            return False
        push = self._plan(wiki, owner)
        steps, refusals = self._pusher.push(push, on_bytes)
        self._pusher.finish(push, push.remote.refs() if refusals else push.target_refs, steps, refusals)
        return steps > 0

    def _plan(self, wiki: Entry, owner: str) -> Push:
        """Return the push, compared with the wiki that is there. Raises PushError if there is none, or another one."""
        push = self._pusher.plan(wiki, owner, THERE, is_new=False)
        try:
            push = dataclasses.replace(push, target_refs=push.remote.refs())
        except GitError as error:
            if not is_not_found(error):
                raise
            how = self._how_to_make(wiki, owner)
            raise PushError(f"there is no wiki: {how}, then run the same command again ({error})") from None
        if foreign_refs(push) and not push.overwrite and self._is_first_page(push):
            self._log.warning("the wiki's only page is replaced", wiki=push.remote.url)
            push = dataclasses.replace(push, overwrite=True)
        check_conflicts(push)
        return push

    def _how_to_make(self, wiki: Entry, owner: str) -> str:
        return self._target.how_to_make_wiki(owner, wiki.name.removesuffix(WIKI_SUFFIX))

    def _is_first_page(self, push: Push) -> bool:
        """Return whether the target's wiki is one commit with one page: what was asked for to make the wiki."""
        if len(push.target_refs) != 1:
            return False
        (ref,) = push.target_refs
        copy = self._scratch / f"{push.entry.id}.page"
        try:
            self._git.run("init", "--bare", "--quiet", "--template=", "--", str(copy))
            push.remote.fetch(copy, ref)
            git_dir = f"--git-dir={copy}"
            commits = self._git.run(git_dir, "rev-list", "FETCH_HEAD").split()
            pages = self._git.run(git_dir, "ls-tree", "-r", "-z", "FETCH_HEAD").split(b"\0")
        finally:
            shutil.rmtree(copy, ignore_errors=True)
        return len(commits) == 1 and len(pages) == 2  # each entry ends with a zero byte
