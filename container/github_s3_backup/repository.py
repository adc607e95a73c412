"""A repository, and which names are safe in a URL, an S3 key and a path."""

import dataclasses
import re
from dataclasses import dataclass
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

# https://docs.github.com/en/enterprise-cloud@latest/admin/managing-iam/understanding-iam-for-enterprises/username-considerations-for-external-authentication
OWNER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,99}")
# GitHub turns every other character of a name into "-", so that "-" and "-x-" are names too.
# A folder .git would be taken for a repository's own, on some disks in any case.
NAME = re.compile(r"(?!\.{1,2}\Z)(?!\.[Gg][Ii][Tt]\Z)[A-Za-z0-9._-]{1,100}(\.wiki)?")
# GitHub keeps the wiki of a repository in another one.
WIKI_SUFFIX = ".wiki"


Short = Annotated[str, Meta(max_length=2000)]


class Settings(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the listing says of a repository beside its data, as GitHub calls it. Left out: GitHub did not say."""

    description: Short | None = None
    homepage: Short | None = None
    topics: tuple[Short, ...] = ()
    visibility: Literal["private", "internal", "public"] | None = None
    is_template: bool | None = None
    has_issues: bool | None = None
    has_projects: bool | None = None
    has_wiki: bool | None = None
    allow_squash_merge: bool | None = None
    allow_merge_commit: bool | None = None
    allow_rebase_merge: bool | None = None
    allow_auto_merge: bool | None = None
    delete_branch_on_merge: bool | None = None
    squash_merge_commit_title: Short | None = None
    squash_merge_commit_message: Short | None = None
    merge_commit_title: Short | None = None
    merge_commit_message: Short | None = None


@dataclass(frozen=True)
class Repository:
    """One repository as GitHub lists it.

    `size_kb`: GitHub's cached estimate. `node_id`: its id in GitHub's GraphQL, "" where it is not known.
    """

    id: int
    owner: str
    name: str
    private: bool
    archived: bool
    fork: bool
    default_branch: str
    size_kb: int
    installation_id: int
    has_wiki: bool = False
    is_wiki: bool = False
    node_id: str = ""
    settings: Settings | None = None

    @property
    def full_name(self) -> str:
        return f"{self.owner}/{self.name}"

    @property
    def wiki(self) -> "Repository":
        """The repository of the wiki. It has no id and no settings of its own."""
        return dataclasses.replace(
            self, name=f"{self.name}{WIKI_SUFFIX}", size_kb=0, has_wiki=False, is_wiki=True, node_id="", settings=None
        )

    def with_default_branch(self, branch: str) -> "Repository":
        return dataclasses.replace(self, default_branch=branch)


def is_safe_name(owner: str, name: str) -> bool:
    """Return whether `owner/name` stays in its folder, in a bucket and on a disk."""
    return OWNER.fullmatch(owner) is not None and NAME.fullmatch(name) is not None
