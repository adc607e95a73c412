"""Issues go back to GitHub by `push`: with their numbers, once, and nobody is notified."""

import re
import shutil
from typing import Any

import pytest

from embedded.github import FakeGitHub, FakeRepository, Fault
from embedded.real_git import git
from embedded.stack import WRITTEN_BY_PEOPLE
from support import content
from support.world import World
from test_restore.test_push import NEW_OWNER, restored, target

__all__ = ["target"]

NEW_ISSUE = rf"POST .*/repos/{NEW_OWNER}/api/issues$"


@pytest.fixture
def stored(world: World, target: FakeGitHub) -> World:  # noqa: ARG001  (its token is in the world's variables)
    """A backup of a repository in which people wrote things, with a gap in the numbers."""
    world.variables |= dict.fromkeys(WRITTEN_BY_PEOPLE, "true")
    issues = world.add("api").issues
    bug = issues.open("It breaks", labels=[{"name": "bug", "color": "d73a4a"}], milestone={"number": 4, "title": "v1"})
    bug["body"] = "Since #3. Ask @ann, or @acme/team. `color: #123456`"
    issues.comment(bug, "Here too.")
    issues.comment(bug, "long " * 20_000)
    spam = issues.open("Spam")
    change = issues.open("Mend it", "pull_requests", body="Fixes #1")
    issues.review(change, "Looks right.", "APPROVED")
    issues.thread(change, "app.py", 7, "Why?", "Because.")
    issues.edit(change, state="MERGED", merged=True, mergeCommit={"oid": "a" * 40})
    question = issues.open("How does it work?", "discussions")
    issues.comment(issues.comment(question, "Like this."), "Thanks!")
    issues.close(bug, "NOT_PLANNED")
    issues.edit(bug, locked=True)
    issues.delete(spam)
    run = world.run()
    assert run.code == 0, run.output
    return world


def push(world: World, *more: str) -> Any:
    return world.restore("push", "acme/api", "--to", NEW_OWNER, *more)


def bodies(item: dict[str, Any]) -> list[str]:
    return [item["body"], *(comment["body"] for comment in item.get("comments", []))]


def issues_of(repository: FakeRepository) -> dict[int, dict[str, Any]]:
    return repository.issues.by_number


def test_issues_come_back_with_their_numbers(stored: World, target: FakeGitHub) -> None:
    planned = push(stored, "--dry-run")
    assert "create 3 issues, with the same numbers" in planned.stdout
    assert "fill 1 gaps in the numbers with closed issues" in planned.stdout
    assert "write 7 comments" in planned.stdout
    run = push(stored)
    assert run.code == 0, run.stderr
    there = issues_of(restored(target, "api"))
    assert {n: item["title"] for n, item in there.items() if n != 2} == {
        1: "It breaks", 3: "Mend it", 4: "How does it work?",
    }  # fmt: skip
    assert (there[2]["state"], there[2]["stateReason"]) == ("CLOSED", "NOT_PLANNED")
    bug, change, question = there[1], there[3], there[4]
    assert (bug["state"], bug["stateReason"], bug["locked"]) == ("CLOSED", "NOT_PLANNED", True)
    assert [label["name"] for label in bug["labels"]] == ["bug"]
    assert restored(target, "api").parts["labels"][0]["color"] == "d73a4a"
    assert restored(target, "api").parts["milestones"][0]["title"] == "v1"
    assert "**ann** opened this issue on 2026-01-01" in bug["body"]
    assert "Since #3." in bug["body"]
    assert "#123456" in bug["body"]
    assert not re.search(
        r"@\w", "".join(text for item in there.values() for text in bodies(item) if item is not there[2])
    )
    assert [text.partition("\n\n")[2].startswith("long ") for text in bodies(bug)[1:]] == [False, True, True]
    assert "Merged as " + "a" * 40 in change["body"]
    assert change["state"] == "CLOSED"
    approved, thread = bodies(change)[1:]
    assert "reviewed (approved)" in approved
    assert all(words in thread for words in ("`app.py`, line 7", "```diff\n@@ -1 +1 @@\n```", "Why?", "Because."))
    assert ["Like this." in bodies(question)[1], "Thanks!" in bodies(question)[2]] == [True, True]
    assert question["state"] == "OPEN"

    target.exchanges.clear()
    again = push(stored)
    assert again.code == 0, again.stderr
    assert again.named("already there")
    assert not target.requests(rf"(POST|PATCH|PUT) .*{NEW_OWNER}/api/")


@pytest.mark.parametrize(
    "fault",
    [
        Fault(NEW_ISSUE, 502, after=1, after_all=True),
        Fault(r"POST .*/issues/1/comments$", 502, after=1, after_all=True),
        Fault(r"POST .*/labels$", 502, after_all=True),
        Fault(r"POST .*/milestones$", 502, after_all=True),
    ],
    ids=["issue", "comment", "label", "milestone"],
)
def test_what_was_done_though_the_answer_got_lost_is_not_done_twice(
    stored: World, target: FakeGitHub, fault: Fault
) -> None:
    target.faults.append(fault)
    run = push(stored)
    assert run.code == 0, run.stderr
    assert fault.times == 0
    there = issues_of(restored(target, "api"))
    assert sorted(there) == [1, 2, 3, 4]
    assert [len(bodies(there[n])) for n in (1, 3, 4)] == [4, 3, 3]


def test_a_push_that_failed_goes_on_where_it_stopped(stored: World, target: FakeGitHub) -> None:
    target.faults.append(Fault(r"POST .*/issues/1/comments$", 422, after=1, times=1, message="Validation Failed"))
    failed = push(stored)
    assert failed.code == 1
    assert "issues: " in failed.failures["acme/api"]
    assert sorted(issues_of(restored(target, "api"))) == [1]
    run = push(stored)
    assert run.code == 0, run.stderr
    there = issues_of(restored(target, "api"))
    assert [len(bodies(there[n])) for n in (1, 3, 4)] == [4, 3, 3]
    assert (there[1]["state"], there[1]["locked"]) == ("CLOSED", True)


def test_a_target_with_issues_gets_the_others_with_new_numbers(stored: World, target: FakeGitHub) -> None:
    assert push(stored, "--git-only").code == 0
    restored(target, "api").issues.open("Somebody else's")
    planned = push(stored, "--dry-run")
    assert "create 3 issues, 1 of them with another number: the target has issues" in planned.stdout
    run = push(stored)
    assert run.code == 0, run.stderr
    there = issues_of(restored(target, "api"))
    assert {n: item["title"] for n, item in there.items()} == {
        1: "Somebody else's", 2: "It breaks", 3: "Mend it", 4: "How does it work?",
    }  # fmt: skip
    assert "Fixes #2" in there[3]["body"]
    assert "Since #3." in there[2]["body"]
    assert push(stored).named("already there")


def test_deleted_issues_come_back_into_their_own_repository(stored: World, target: FakeGitHub) -> None:
    there = target.find("acme", "api")
    assert there
    shutil.copytree(there.path, stored.folder / "own.git")
    there.path, there.writable = stored.folder / "own.git", True
    stored.variables["RESTORE_TOKEN"] = target.personal_token("octocat", ["acme"])
    untouched = stored.restore("push", "acme/api")
    assert untouched.named("already there"), untouched.stderr
    there.issues.delete(there.issues.by_number[1])
    planned = stored.restore("push", "acme/api", "--dry-run")
    assert "create 1 issues, 1 of them with another number: the target has issues" in planned.stdout
    assert stored.restore("push", "acme/api").code == 0
    found = {n: item["title"] for n, item in issues_of(there).items()}
    assert found == {3: "Mend it", 4: "How does it work?", 5: "It breaks"}
    assert len(bodies(issues_of(there)[5])) == 4
    assert not issues_of(there)[3].get("comments")


def test_a_token_that_may_not_write_issues_says_so(stored: World, target: FakeGitHub) -> None:
    permissions = {"contents": "write", "administration": "write", "workflows": "write", "metadata": "read"}
    stored.variables["RESTORE_TOKEN"] = target.personal_token("octocat", [NEW_OWNER], permissions)
    run = push(stored)
    assert run.code == 1
    assert "Issues: write" in run.failures["acme/api"]
    assert restored(target, "api").default_branch == "main"


def test_open_pull_requests_come_back_where_their_branches_are_there(stored: World, target: FakeGitHub) -> None:
    source = target.find("acme", "api")
    assert source
    branch = "feature/login"
    head = git(f"--git-dir={source.path}", "rev-parse", branch).decode().strip()
    label = [{"name": "change", "color": "00ff00"}]
    about: dict[str, Any] = {"headRefName": branch, "headRefOid": head, "labels": label}
    source.issues.open("Log in", "pull_requests", isDraft=True, **about)
    source.issues.open("Its branch moved on", "pull_requests", headRefName=branch)
    assert stored.run().code == 0
    run = push(stored)
    assert run.code == 0, run.stderr
    there = issues_of(restored(target, "api"))
    kinds = {item["title"]: item["__typename"] for item in there.values()}
    assert (kinds["Log in"], kinds["Its branch moved on"], kinds["Mend it"]) == ("PullRequest", "Issue", "Issue")
    assert (there[5]["headRefName"], there[5]["isDraft"], there[5]["labels"]) == (branch, True, [{"name": "change"}])
    assert push(stored).named("already there")


def test_issues_come_after_the_git_data_of_all_repositories(stored: World, target: FakeGitHub) -> None:
    archived = stored.add("archived")
    archived.issues.open("Why it was archived")
    archived.wiki = content.make_wiki(stored.folder / "git", "archived", {"Home.md": b"welcome"})
    assert stored.run().code == 0
    target.exchanges.clear()
    run = stored.restore("push", "acme", "--to", NEW_OWNER)
    assert list(run.failures) == ["acme/archived"], run.stderr
    assert "first page" in run.failures["acme/archived"]
    asked = [f"{request.method} {request.path}" for request in target.requests(r"^(POST|PATCH) ")]
    pushed = max(place for place, request in enumerate(asked) if request.endswith("git-receive-pack"))
    assert min(place for place, request in enumerate(asked) if request.endswith("/issues")) > pushed
    there = restored(target, "archived")
    assert [item["title"] for item in issues_of(there).values()] == ["Why it was archived"]
    assert not there.archived
    there.wiki = content.make_wiki(stored.folder / "git", "by-hand", {"Home.md": b"first"})
    assert stored.restore("push", "acme", "--to", NEW_OWNER).code == 0
    assert there.archived
