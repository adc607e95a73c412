"""git sends the token with its first request: GitHub throttles anonymous ones by address."""

import re
from pathlib import Path

import pytest

from embedded.github import FakeGitHub, Fault
from embedded.organisation import RECIPES
from embedded.real_git import git
from github_s3_backup.git.mirror import Limits, clone_mirror
from github_s3_backup.git.process import GitError
from support.clients import git_client
from support.world import Repositories

VERSION = tuple(int(number) for number in re.findall(r"\d+", git("version").decode())[:2])
PROACTIVE = VERSION >= (2, 46)
TOKEN = "ghs_not_an_installation_token"


@pytest.fixture
def url(github: FakeGitHub, repositories: Repositories) -> str:
    github.add("acme", "public", repositories.path(RECIPES["public"]), private=False)
    return f"{github.server_url}/acme/public.git"


def test_only_a_command_with_a_token_is_told_to_send_it_at_once(tmp_path: Path, github: FakeGitHub) -> None:
    asked = ("config", "--get", "http.proactiveAuth")
    client = git_client(tmp_path, github)
    assert client.run(*asked, token=TOKEN) == b"basic\n"
    with pytest.raises(GitError):
        client.run(*asked)


def test_an_older_git_clones_as_before_and_a_newer_one_asks_nothing_without_credentials(
    tmp_path: Path, github: FakeGitHub, url: str
) -> None:
    token = github.personal_token("somebody", ["acme"])
    mirror = clone_mirror(git_client(tmp_path, github), url, tmp_path / "mirror.git", token)
    assert mirror.refs
    asked = [bool(request.headers.get("Authorization")) for request in github.requests(r"\.git/")]
    assert asked == ([True, True] if PROACTIVE else [False, False])


@pytest.mark.skipif(not PROACTIVE, reason="git 2.46 or newer sends credentials with the first request")
def test_a_token_that_is_rejected_at_once_is_an_error_and_no_hang(tmp_path: Path, github: FakeGitHub, url: str) -> None:
    headers = {"WWW-Authenticate": 'Basic realm="GitHub"'}
    github.faults = [Fault("GET .*info/refs", status=401, headers=headers, times=9)]
    with pytest.raises(GitError) as caught:
        clone_mirror(git_client(tmp_path, github), url, tmp_path / "mirror.git", TOKEN, Limits(lambda: 20))
    assert caught.value.unauthorized
