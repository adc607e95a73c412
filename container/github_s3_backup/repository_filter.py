"""Which repositories are meant: patterns of names, forks, archived ones."""

from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Protocol


class Selectable(Protocol):
    """A repository, as GitHub lists it or as a manifest has it."""

    @property
    def full_name(self) -> str: ...
    @property
    def archived(self) -> bool: ...
    @property
    def fork(self) -> bool: ...


@dataclass(frozen=True)
class RepositoryFilter:
    """Which repositories are backed up: globs of `owner/name`, a bare glob means every repository of that owner."""

    include: tuple[str, ...] = ("*/*",)
    exclude: tuple[str, ...] = ()
    skip_forks: bool = False
    skip_archived: bool = False

    def selects(self, repository: Selectable) -> bool:
        """Return whether the repository is to be backed up."""
        if (self.skip_forks and repository.fork) or (self.skip_archived and repository.archived):
            return False
        return self.selects_name(repository.full_name)

    def selects_name(self, full_name: str) -> bool:
        """Return whether a repository of this name may be backed up."""
        return matches_any(full_name, self.include) and not matches_any(full_name, self.exclude)


def matches(full_name: str, pattern: str) -> bool:
    """Return whether the pattern is `owner/name`, a glob of it, or the owner. Case is ignored, as on GitHub."""
    name, wanted = full_name.lower(), pattern.lower()
    return fnmatchcase(name, wanted if "/" in wanted else f"{wanted}/*")


def matches_any(full_name: str, patterns: Iterable[str]) -> bool:
    return any(matches(full_name, pattern) for pattern in patterns)
