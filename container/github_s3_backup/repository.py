"""A repository as GitHub lists it, checked where it enters."""

import re
from dataclasses import dataclass
from typing import Any

from github_s3_backup.redaction import printable

# A name becomes part of a URL and of an S3 key, so what is not a plain name is refused here.
# https://docs.github.com/en/enterprise-cloud@latest/admin/managing-iam/understanding-iam-for-enterprises/username-considerations-for-external-authentication
OWNER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,99}")
NAME = re.compile(r"(?!\.{1,2}\Z)[A-Za-z0-9._][A-Za-z0-9._-]{0,99}")


class InvalidRepositoryError(Exception):
    """GitHub's answer does not describe a repository that can be stored safely."""

    def __init__(self, full_name: str, reason: str) -> None:
        super().__init__(reason)
        self.full_name = full_name


@dataclass(frozen=True)
class Repository:
    """One repository; `size_kb` is GitHub's cached estimate."""

    id: int
    owner: str
    name: str
    private: bool
    archived: bool
    fork: bool
    default_branch: str
    size_kb: int
    installation_id: int

    @property
    def full_name(self) -> str:
        return f"{self.owner}/{self.name}"


def read_repository(answer: Any, installation_id: int) -> Repository:
    """Return the repository that GitHub's JSON describes.

    Raises InvalidRepositoryError if a field is missing, of another type, or a name that could
    lead out of its folder.
    """
    try:
        repository = Repository(
            id=int(answer["id"]),
            owner=_text(answer["owner"]["login"]),
            name=_text(answer["name"]),
            private=bool(answer["private"]),
            archived=bool(answer.get("archived", False)),
            fork=bool(answer["fork"]),
            default_branch=printable(_text(answer.get("default_branch") or "main")),
            size_kb=max(0, int(answer.get("size") or 0)),
            installation_id=installation_id,
        )
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        reason = f"GitHub's answer is not a repository: {type(error).__name__} {error}"
        raise InvalidRepositoryError(_full_name(answer), reason) from None
    if not OWNER.fullmatch(repository.owner) or not NAME.fullmatch(repository.name):
        full_name = repository.full_name
        reason = f"refused: {full_name!r} is no plain owner/name (letters, digits, . _ -; no leading -)"
        raise InvalidRepositoryError(full_name.encode("utf-8", "backslashreplace").decode(), reason)
    return repository


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} where a text was expected")
    return value


def _full_name(answer: Any) -> str:
    """Return what to call an answer that is not a repository."""
    name = answer.get("full_name") if isinstance(answer, dict) else None
    return printable(name) if isinstance(name, str) and name else "?/?"
