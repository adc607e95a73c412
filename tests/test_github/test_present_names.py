"""The present names of repositories come by the hundred, and what GitHub does not tell is not known."""

import pytest
import requests

from embedded.github import FakeGitHub, Fault
from github_s3_backup.github.client import GitHub
from github_s3_backup.github.graphql import graphql_url
from github_s3_backup.github.installations import Installation
from github_s3_backup.repository import Repository
from support.clients import Log, github_client
from support.world import World

GRAPHQL = "POST /api/graphql"


def listed(client: GitHub, github: FakeGitHub) -> list[Repository]:
    owners = [Installation(item.id, item.owner) for item in github.installations.values()]
    return [repository for owner in owners for repository in client.repositories(owner).repositories]


def test_one_request_tells_the_present_names_of_a_hundred_repositories(world: World) -> None:
    github, log = world.github, Log()
    for number in range(101):
        world.add("fork", name=f"copy-{number}")
    world.add("experiments")
    client = github_client(github, log)
    repositories = listed(client, github)
    renamed, moved, deleted = list(github.repositories.values())[:3]
    renamed.name, moved.owner, deleted.gone = "other", "elsewhere", True
    found = client.names(repositories)
    now = {item.id: item.full_name for item in github.repositories.values()}
    assert found == {number: name for number, name in now.items() if number not in (moved.id, deleted.id)}
    assert found[renamed.id] == "acme/other"
    assert len(github.requests(GRAPHQL)) == 3, "two for the 101 of one installation, one for the other"
    assert client.names([repository.wiki for repository in repositories]) == {}


@pytest.mark.parametrize(
    "fault",
    [
        Fault(GRAPHQL, status=404, message="Not Found"),
        Fault(GRAPHQL, status=200, raw='{"errors": [{"message": "Something went wrong"}]}'),
        Fault(GRAPHQL, status=200, raw='{"data": {"nodes": [{"databaseId": null, "nameWithOwner": "acme/fork"}]}}'),
        Fault(GRAPHQL, status=200, raw="<html>"),
    ],
    ids=["no GraphQL", "an error", "another form", "no JSON"],
)
def test_where_graphql_fails_no_name_is_known(world: World, fault: Fault) -> None:
    world.add("fork")
    log = Log()
    client = github_client(world.github, log)
    repositories = listed(client, world.github)
    world.github.faults = [fault]
    assert client.names(repositories) == {}
    assert len(log.named("GraphQL not available, repositories are looked up one by one")) == 1


def test_a_query_that_github_would_refuse_is_refused(github: FakeGitHub) -> None:
    github.install("acme")
    client = github_client(github, Log())
    token = client.access(next(iter(github.installations))).tokens.token()
    for query in ("{ nodes(ids: []) { name } }", "{ nodes }", "{ nodes(ids: 1) { id } }", "{"):
        url, headers = graphql_url(github.api_url), {"Authorization": f"Bearer {token}"}
        answer = requests.post(url, headers=headers, json={"query": query}, timeout=10)
        assert answer.json()["errors"], query


def test_graphql_is_beside_the_api_of_a_server_and_below_that_of_github() -> None:
    assert graphql_url("https://api.github.com") == "https://api.github.com/graphql"
    assert graphql_url("https://api.acme.ghe.com") == "https://api.acme.ghe.com/graphql"
    assert graphql_url("https://ghes.acme.example/api/v3") == "https://ghes.acme.example/api/graphql"
