"""What a repository has besides its git data: LFS objects, releases, and the wiki. Each part may fail by itself."""

import dataclasses
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import msgspec

from github_s3_backup.backup.repository.errors import ContentError, Failed, IncompleteError, attempt, enter
from github_s3_backup.backup.repository.git_data import GitData
from github_s3_backup.backup.repository.lfs import back_up_lfs
from github_s3_backup.backup.repository.releases import back_up_releases
from github_s3_backup.backup.repository.unchanged import LFS_DISABLED, may_be_named
from github_s3_backup.backup.repository.wiki import ask_about_wiki, back_up_wiki, wiki_of
from github_s3_backup.backup.services import Services
from github_s3_backup.github.tokens import TokenError
from github_s3_backup.github.transport.rest import GitHubError
from github_s3_backup.records.content import Kind, NotRead
from github_s3_backup.records.entry import Entry
from github_s3_backup.repository import Repository

BackUpPart = Callable[[GitData, Entry | None, Services], Any]

# Issues come later: see backup/issues/phase.py.
PARTS: Mapping[Kind, BackUpPart] = MappingProxyType(
    {"lfs": back_up_lfs, "releases": back_up_releases, "wiki": back_up_wiki}
)
TITLES: Mapping[Kind, str] = MappingProxyType(
    {
        "lfs": "Git LFS",
        "releases": "releases",
        "wiki": "wiki",
        "issues": "issues",
        "pull_requests": "pull requests",
        "discussions": "discussions",
    }
)
# What GitHub answers where the App may not read something, or the server does not offer it.
NOT_READABLE = (403, 404, 501)


class ContentBackup:
    """Adds the parts to one repository's entry.

    `entry`: what is stored so far, also where a part fails. `not_stored`: the parts of today that are not in it.
    """

    def __init__(self, listed: Repository, services: Services) -> None:
        self.entry: Entry | None = None
        self._services = services
        self.not_stored = tuple(kind for kind in PARTS if kind in services.content.wanted)
        # What is stored already need not be stored again, even where the repository failed as a whole.
        self._known = services.last_backup.stored(listed.id)
        self._listed, self._wiki_refs = listed, ask_about_wiki(listed, self._known, services)

    def add_to(self, data: GitData) -> Entry:
        """Return the entry with all parts. Raises ContentError if one failed, after all of them were tried."""
        self.entry = data.entry
        if data.repository.full_name == self._listed.full_name:
            data = dataclasses.replace(data, wiki_refs=self._wiki_refs)
        if data.entry.status == "gone":
            return self.entry
        self._take_over()
        failed: dict[Kind, Failed] = {}
        for kind in self.not_stored:
            ended = attempt(lambda: self._add(kind, data))  # noqa: B023
            if isinstance(ended, Failed):
                failed[kind] = ended
            else:
                self.not_stored = tuple(left for left in self.not_stored if left != kind)
        if failed:
            words = "; ".join(f"{TITLES[kind]}: {part.error}" for kind, part in failed.items())
            raise ContentError(words, next(iter(failed.values())).stage)
        return self.entry

    def _take_over(self) -> None:
        """Name what the last backup has, until today's takes its place: where a part fails, it is what there is.

        What is too old is left out: S3 may expire it before the manifest's retention ends.
        """
        wanted, known = self._services.content.wanted, self._known
        if known and known.lfs and "lfs" in wanted and may_be_named(known.lfs.list, self._services):
            self._change(lfs=known.lfs)
        if known and known.releases and "releases" in wanted and may_be_named(known.releases.list, self._services):
            self._change(releases=known.releases)
        wiki = known.wiki if known and "wiki" in wanted else None
        if wiki and self.entry and all(may_be_named(bundle, self._services) for bundle in wiki.bundles):
            self._change(wiki=wiki_of(self.entry, wiki))

    def _add(self, kind: Kind, data: GitData) -> None:
        """Add one part to the entry. Raises what EXPECTED_ERRORS names."""
        enter("clone")
        try:
            self._change(**{kind: PARTS[kind](data, self._known, self._services)})
        except IncompleteError as error:
            self._change(**{kind: error.summary})
            raise
        except GitHubError as error:
            if not _is_refusal(kind, error) or self._had(kind):
                raise
            words = self._services.context.redactor.clean(str(error))
            self._services.context.log.warning("content not readable", content=kind, error=words)
            self._note(NotRead(content=kind, error=words))
        else:
            if data.known and kind == "lfs":  # which is not asked for again before the repository changes
                self._note(*(refusal for refusal in data.known.not_read if refusal.content == kind))

    def _note(self, *refusals: NotRead) -> None:
        assert self.entry
        self._change(not_read=(*self.entry.not_read, *refusals))

    def _change(self, **fields: Any) -> None:
        assert self.entry
        self.entry = msgspec.structs.replace(self.entry, **fields)

    def _had(self, kind: Kind) -> bool:
        """Return whether the last backup holds something of this part."""
        known = self._known
        if known is None:
            return False
        lists = {"lfs": known.lfs and known.lfs.list, "releases": known.releases and known.releases.list}
        return bool({"wiki": known.wiki, **lists}[kind])


def _is_refusal(kind: Kind, error: GitHubError) -> bool:
    """Return whether GitHub will not let the App read this. A rate limit is no refusal, whatever its status.

    Git LFS is asked only where there are pointers: that their objects are not served, for want of a budget for
    instance, is a failure.
    """
    if kind == "lfs":
        return LFS_DISABLED in str(error)
    return error.status in NOT_READABLE and not error.retry.is_limit and not isinstance(error, TokenError)
