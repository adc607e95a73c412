"""Who may fetch from and push to which git directory of the embedded GitHub, and what others are told."""

import base64
import functools
from dataclasses import dataclass
from email.message import Message
from pathlib import Path
from typing import TYPE_CHECKING

from embedded import github_write
from embedded.git_http import Push

if TYPE_CHECKING:
    from embedded.github import FakeGitHub
    from embedded.github_model import FakeRepository, Token

WIKI = ".wiki"
BLOCKED = {451: "Repository unavailable due to DMCA takedown.", 403: "Access to this repository has been disabled."}


@dataclass(frozen=True)
class Place:
    """A git directory that is served: a repository's own, or its wiki's."""

    repository: "FakeRepository"
    path: Path
    is_wiki: bool = False

    @property
    def full_name(self) -> str:
        return self.repository.full_name + (WIKI if self.is_wiki else "")


@dataclass(frozen=True)
class Denied:
    """The status and words of GitHub's git server."""

    status: int
    words: str


def git_token(fake: "FakeGitHub", headers: Message) -> "Token | None":
    """Return the token that git gives as the password; the user's name does not matter."""
    scheme, _, value = headers.get("Authorization", "").partition(" ")
    if scheme != "Basic":
        return None
    return fake.token(base64.b64decode(value).decode(errors="replace").partition(":")[2])


def find_place(fake: "FakeGitHub", owner: str, name: str) -> Place | None:
    """Return what has, or had, that name. A wiki that was never written, or is switched off, is not there."""
    if found := fake.find(owner, name):
        return Place(found, found.path)
    found = fake.find(owner, name[: -len(WIKI)]) if name.lower().endswith(WIKI) else None
    if found and found.wiki and found.wiki_is_on:
        return Place(found, found.wiki, is_wiki=True)
    return None


def enter(fake: "FakeGitHub", owner: str, name: str, headers: Message, pushing: bool) -> Place | Denied:
    """Return the place that a request may go to, or why it may not."""
    place, token = find_place(fake, owner, name), git_token(fake, headers)
    is_open = place is not None and not place.repository.private
    if is_open and not headers.get("Authorization") and not pushing:
        pass
    elif token is None:
        return Denied(401, "Invalid username or token.")
    elif not place or not fake.reaches(token, place.repository.owner):
        return Denied(404, "Repository not found.")
    elif pushing and (refused := _push_refusal(place.repository, token)):
        return refused
    assert place
    if place.repository.blocked:
        words = {
            451: "Repository unavailable due to DMCA takedown.",
            403: "Access to this repository has been disabled.",
        }
        return Denied(place.repository.blocked, words[place.repository.blocked])
    return place


def _push_refusal(repository: "FakeRepository", token: "Token") -> Denied | None:
    if not token.may("contents", "write"):
        return Denied(403, f"Permission to {repository.full_name}.git denied to {token.login}.")
    if repository.archived:
        return Denied(403, "This repository was archived so it is read-only.")
    if not repository.writable:
        return Denied(501, "This repository is shared by tests, which only read it.")
    return None


def push_of(fake: "FakeGitHub", place: Place, headers: Message) -> Push | None:
    """Return how far the push of a token that `enter` let in may go."""
    token = git_token(fake, headers)
    if token is None:
        return None
    follow = (lambda: None) if place.is_wiki else functools.partial(github_write.follow_push, place.repository)
    lfs = place.repository.lfs.folder if fake.checks_lfs_pointers and not place.is_wiki else None
    workflows = token.may("workflows", "write")
    return Push(token.login, fake.push_limit, workflows, follow, lfs, fake.file_limit, fake.refusal, fake.pushed.append)
