"""Issues that a restore writes to the embedded GitHub: as GitHub takes and refuses them."""

from typing import Any

import pytest
import requests

from embedded.github import FakeGitHub
from support.world import World
from test_embedded.test_github import ask
from test_restore.test_push import NEW_OWNER, target

__all__ = ["target"]

PATH = f"/repos/{NEW_OWNER}/api"


@pytest.fixture
def credential(world: World, target: FakeGitHub) -> str:
    """A token of somebody who restores, and a new repository."""
    made = ask(target, "POST", f"/orgs/{NEW_OWNER}/repos", world.variables["RESTORE_TOKEN"], json={"name": "api"})
    assert made.status_code == 201
    return world.variables["RESTORE_TOKEN"]


def test_an_issue_is_made_with_label_milestone_and_comments(target: FakeGitHub, credential: str) -> None:
    def send(method: str, path: str, status: int, **body: Any) -> Any:
        answer = ask(target, method, PATH + path, credential, **({"json": body} if body else {}))
        assert (path, answer.status_code) == (path, status), answer.text
        return answer.json() if answer.content else None

    send("POST", "/labels", 201, name="bug", color="d73a4a")
    send("POST", "/labels", 422, name="Bug", color="d73a4a")
    send("POST", "/milestones", 201, title="v1")
    issue = send("POST", "/issues", 201, title="It breaks", body="Often.", labels=["bug", "new"], milestone=1)
    assert (issue["number"], issue["milestone"]["title"]) == (1, "v1")
    assert [label["color"] for label in issue["labels"]] == ["d73a4a", "ededed"]
    send("POST", "/issues/1/comments", 201, body="Here too.")
    send("PATCH", "/issues/1", 200, state="closed", state_reason="not_planned")
    send("PUT", "/issues/1/lock", 204)
    (listed,) = send("GET", "/issues?state=all&per_page=100", 200)
    assert (listed["state"], listed["state_reason"], listed["locked"]) == ("closed", "not_planned", True)
    assert (listed["comments"], send("GET", "/issues?per_page=100", 200)) == (1, [])
    assert [comment["body"] for comment in send("GET", "/issues/1/comments", 200)] == ["Here too."]
    assert {label["name"] for label in send("GET", "/labels", 200)} == {"bug", "new"}
    send("POST", "/issues", 422, title="x" * 257)
    send("POST", "/issues", 422, title="long", body="x" * 65_537)
    send("POST", "/issues", 422, title="no such milestone", milestone=7)
    send("GET", "/issues/9", 404)
    target.find(NEW_OWNER, "api").settings["has_issues"] = False  # type: ignore[union-attr]
    send("POST", "/issues", 410, title="They are off")


def test_too_much_content_is_refused_for_a_while(target: FakeGitHub, credential: str) -> None:
    now = [0.0]
    target.content_limits.now, target.content_limits.is_on = lambda: now[0], True

    def made() -> requests.Response:
        return ask(target, "POST", f"{PATH}/issues", credential, json={"title": "One more"})

    assert {made().status_code for _ in range(80)} == {201}
    refused = made()
    assert (refused.status_code, refused.headers["Retry-After"]) == (403, "61")
    for minute in range(1, 7):
        now[0] = 61.0 * minute
        assert {made().status_code for _ in range(80 if minute < 6 else 20)} == {201}
    assert made().status_code == 403
    now[0] = 3601.0
    assert made().status_code == 201
