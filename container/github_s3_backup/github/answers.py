"""Reads what GitHub says of a repository."""

import contextlib
from typing import Any

import msgspec

from github_s3_backup.repository import Repository, Settings, is_safe_name
from github_s3_backup.runtime.redaction import printable

SETTINGS = msgspec.structs.fields(Settings)


class InvalidRepositoryError(Exception):
    """GitHub's answer does not describe a repository that can be stored safely. `id`: None where it has none."""

    def __init__(self, full_name: str, number: int | None, reason: str) -> None:
        super().__init__(reason)
        self.full_name, self.id = full_name, number


def read_repository(answer: Any, installation_id: int) -> Repository:
    """Return the repository that GitHub's JSON describes.

    Raises InvalidRepositoryError if a field is missing, of another type, or a name that would leave its folder.
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
            has_wiki=bool(answer.get("has_wiki", False)),
            node_id=_text(answer.get("node_id") or ""),
            settings=_settings(answer),
        )
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        reason = f"GitHub's answer is not a repository: {type(error).__name__} {error}"
        raise InvalidRepositoryError(_full_name(answer), _id(answer), reason) from None
    if not is_safe_name(repository.owner, repository.name):
        full_name = repository.full_name.encode("utf-8", "backslashreplace").decode()
        reason = f"refused: {repository.full_name!r} is not a plain owner/name (letters, digits, . _ -; not .git)"
        raise InvalidRepositoryError(full_name, repository.id, reason)
    return repository


def _settings(answer: Any) -> Settings:
    """Return the settings in GitHub's answer. One that has another form than GitHub documents is not known."""
    known = {}
    for field in SETTINGS:
        if field.name in answer:
            with contextlib.suppress(msgspec.ValidationError):
                known[field.name] = msgspec.convert(answer[field.name], field.type)
    return Settings(**known)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} where a string was expected")
    return value


def _full_name(answer: Any) -> str:
    """Return what to call an answer that is not a repository."""
    name = answer.get("full_name") if isinstance(answer, dict) else None
    return printable(name) if isinstance(name, str) and name else "?/?"


def _id(answer: Any) -> int | None:
    number = answer.get("id") if isinstance(answer, dict) else None
    return number if isinstance(number, int) and not isinstance(number, bool) else None
