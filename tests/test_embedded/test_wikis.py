"""The embedded GitHub serves wikis beside their repositories, to those who may have these."""

from pathlib import Path

import pytest

from embedded.github import FakeGitHub, FakeRepository
from embedded.organisation import Stream
from embedded.real_git import git
from test_embedded.test_github import ask
from test_embedded.test_github_push import fill, push, refs_of

READ = {"contents": "read", "metadata": "read"}


@pytest.fixture
def repository(github: FakeGitHub, tmp_path: Path) -> FakeRepository:
    """A repository that may be written to, and its wiki with one page."""
    code, page = Stream(), Stream()
    code.history("refs/heads/main", 2)
    page.commit("refs/heads/master", {"Home.md": b"Welcome"})
    wiki = fill(tmp_path / "served" / "wiki.git", page)
    return github.add("acme", "api", fill(tmp_path / "served" / "api.git", code), writable=True, wiki=wiki)


def fetch(github: FakeGitHub, name: str, token: str = "") -> dict[str, str]:
    with_token = github.server_url.replace("://", f"://x-access-token:{token}@" if token else "://")
    return refs_of(f"{with_token}/{name}.git")


def test_a_wiki_is_served_to_who_may_have_its_repository(github: FakeGitHub, repository: FakeRepository) -> None:
    token = github.personal_token("octocat", ["acme"], READ)
    assert repository.wiki
    assert fetch(github, "acme/api.wiki", token) == refs_of(repository.wiki)
    assert fetch(github, "Acme/API.Wiki", token) == refs_of(repository.wiki)
    assert fetch(github, "acme/api", token) == refs_of(repository.path)
    with pytest.raises(RuntimeError, match="could not read Username"):
        fetch(github, "acme/api.wiki")
    with pytest.raises(RuntimeError, match="not found"):
        fetch(github, "acme/api.wiki", github.personal_token("stranger", ["else"], READ))
    repository.private = False
    assert fetch(github, "acme/api.wiki") == refs_of(repository.wiki)
    repository.old_name = "old"
    assert fetch(github, "acme/old.wiki", token) == refs_of(repository.wiki)


def test_a_wiki_can_be_pushed_to_once_it_has_a_page(
    github: FakeGitHub, repository: FakeRepository, tmp_path: Path
) -> None:
    writer = github.personal_token("octocat", ["acme"])
    more = Stream()
    more.commit("refs/heads/other", {"Other.md": b"Another page"})
    source = fill(tmp_path / "more.git", more)
    pushed = push(github, github.personal_token("reader", ["acme"], READ), source, "acme/api.wiki", "other")
    assert (pushed.code, "Permission to acme/api.git denied" in pushed.words) == (128, True)
    pushed = push(github, writer, source, "acme/api.wiki", "other")
    assert pushed.code == 0, pushed.words
    assert repository.wiki
    assert refs_of(repository.wiki).keys() == {"refs/heads/master", "refs/heads/other"}
    assert repository.default_branch == "main"
    assert git(f"--git-dir={repository.path}", "branch") == b"* main\n"
    repository.wiki = None
    pushed = push(github, writer, source, "acme/api.wiki", "other")
    assert (pushed.code, "Repository not found." in pushed.words) == (128, True)
    with pytest.raises(RuntimeError, match=r"Repository not found\."):
        fetch(github, "acme/api.wiki", writer)


@pytest.mark.parametrize(
    ("written", "said", "listed"),
    [(True, None, True), (False, None, False), (False, True, True), (True, False, False)],
    ids=["written", "never written", "switched on and never written", "switched off"],
)
def test_what_is_said_of_a_wiki_need_not_be_what_is_there(
    github: FakeGitHub, repository: FakeRepository, written: bool, said: bool | None, listed: bool
) -> None:
    repository.wiki, repository.has_wiki = repository.wiki if written else None, said
    token = github.personal_token("octocat", ["acme"])
    assert ask(github, "GET", "/repos/acme/api", token).json()["has_wiki"] is listed
    if written and listed:
        assert fetch(github, "acme/api.wiki", token)
    else:
        with pytest.raises(RuntimeError, match=r"Repository not found\."):
            fetch(github, "acme/api.wiki", token)


def test_a_wiki_of_a_created_repository_is_on_and_not_there(github: FakeGitHub, tmp_path: Path) -> None:
    github.new_repositories = tmp_path / "created"
    github.install("acme")
    token = github.personal_token("octocat", ["acme"])
    made = ask(github, "POST", "/orgs/acme/repos", token, json={"name": "new"})
    assert made.json()["has_wiki"] is True
    off = ask(github, "PATCH", "/repos/acme/new", token, json={"has_wiki": False})
    assert off.json()["has_wiki"] is False
    with pytest.raises(RuntimeError, match=r"Repository not found\."):
        fetch(github, "acme/new.wiki", token)
