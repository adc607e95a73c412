"""Issues, pull requests and discussions: stored beside the bundle, at the price of what changed."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from embedded.github import Fault
from embedded.github_issues import FakeIssues
from embedded.github_model import ISSUES, READ
from embedded.stack import WRITTEN_BY_PEOPLE
from support.world import Run, World

GRAPHQL = "POST /api/graphql"
NASTY = """<script>alert(1)</script> <img src=x onerror=alert(1)> ![shot](https://example.com/a.png)
[click](javascript:alert(1)) <iframe src="https://example.com"></iframe> ~~gone~~

| a | b |
|---|---|
| 1 | 2 |
"""


@pytest.fixture
def asked(world: World) -> World:
    """A world in which the App may read what people wrote, and is to."""
    world.variables |= dict.fromkeys(WRITTEN_BY_PEOPLE, "true")
    return world


def issues_of(run: Run, name: str = "acme/api") -> dict[str, Any]:
    entry: dict[str, Any] = run.repos[name] if name in run.repos else run.failures[name]["partial"]
    issues: dict[str, Any] = entry["issues"]
    return issues


def lines_of(world: World, run: Run, name: str = "acme/api") -> dict[int, dict[str, Any]]:
    return {line["number"]: line for line in world.read_lines(issues_of(run, name)["list"])}


def next_day(world: World) -> None:
    """Move the backup to yesterday, and forget what was asked."""
    world.yesterday()
    world.github.exchanges.clear()
    world.github.points_used.clear()


def write(issues: FakeIssues) -> None:
    """Write what people write: an issue, a pull request with a review, a discussion with an answer."""
    bug = issues.open("It breaks", labels=[{"name": "bug", "color": "d73a4a"}])
    issues.comment(bug, "Here too.")
    change = issues.open("Mend it", "pull_requests")
    issues.review(change, "Looks right.", "APPROVED")
    issues.thread(change, "app.py", 7, "Why?", "Because.")
    issues.event(change, "MergedEvent", mergeRefName="main", commit={"oid": "a" * 40})
    issues.close(bug)
    question = issues.open("How does it work?", "discussions")
    answer = issues.comment(question, "Like this.")
    issues.comment(answer, "Thanks!")


def test_everything_that_people_wrote_is_stored(asked: World) -> None:
    repository = asked.add("api")
    write(repository.issues)
    run = asked.run()
    assert run.code == 0, run.output
    lines = lines_of(asked, run)
    assert [lines[n]["kind"] for n in sorted(lines)] == ["issue", "pull_request", "discussion"]
    bug, change, question = (lines[number] for number in (1, 2, 3))
    assert (bug["title"], bug["state"], bug["stateReason"]) == ("It breaks", "CLOSED", "COMPLETED")
    assert [label["name"] for label in bug["labels"]] == ["bug"]
    assert [comment["body"] for comment in bug["comments"]] == ["Here too."]
    assert bug["comments"][0]["author"] == {"__typename": "User", "login": "ben", "databaseId": 309, "name": "Ben"}
    assert [event["__typename"] for event in bug["timelineItems"]] == ["ClosedEvent"]
    assert [review["state"] for review in change["reviews"]] == ["APPROVED"]
    (thread,) = change["reviewThreads"]
    assert (thread["path"], thread["line"]) == ("app.py", 7)
    assert [comment["body"] for comment in thread["comments"]] == ["Why?", "Because."]
    (answer,) = question["comments"]
    assert [reply["body"] for reply in answer["replies"]] == ["Thanks!"]
    counts = issues_of(run)
    assert all(counts[kind]["complete"] and counts[kind]["stored"] == 1 for kind in ISSUES)

    # the next day: nothing is asked but what changed
    next_day(asked)
    run = asked.run()
    assert len(asked.github.requests(GRAPHQL)) == 1
    assert issues_of(run) == counts | {"backed_up_at": issues_of(run)["backed_up_at"], "list": issues_of(run)["list"]}
    assert len(run.named("issues stored")) == 0


def test_a_day_costs_what_changed(asked: World) -> None:
    repository, quiet = asked.add("api"), asked.add("api", name="tiny")
    issues = repository.issues
    issues.fill(5, comments=2)
    write(issues)
    quiet.issues.open("Nothing happens here")
    before = lines_of(asked, asked.run())

    next_day(asked)
    first, *_ = (issues.by_number[number] for number in sorted(issues.by_number))
    issues.comment(first, "It happens again.")
    issues.open("New")
    issues.delete(issues.by_number[3])
    run = asked.run()
    lines = lines_of(asked, run)
    assert lines.keys() == before.keys() - {3} | {9}
    assert [comment["body"] for comment in lines[1]["comments"]][-1] == "It happens again."
    assert {n: line for n, line in lines.items() if n not in (1, 9)} == {
        n: before[n] for n in before if n not in (1, 3)
    }
    # an overview, what changed and its details, the list in which one is missing; and one check of names
    assert len(asked.github.requests(GRAPHQL)) <= 5
    (stored,) = run.named("issues stored")
    assert (stored["full_name"], stored["issues"]) == ("acme/api", 8)
    assert (
        run.repos["acme/tiny"]["issues"]["list"]["s3_key"] != f"github-backup/{asked.day()}/acme/tiny.issues.jsonl.gz"
    )

    (old, new) = sorted({key.split("/")[1] for key in asked.stored_keys() if key.endswith("manifest.json")})
    told = asked.restore("diff", "--bucket", asked.bucket, old, new, "--json")
    assert [(item["kind"], item["detail"]) for item in json.loads(told.stdout)] == [
        ("issues changed", "1 opened"),
        ("issues deleted", "1: #3"),
    ]

    # an edited comment shows nowhere: it is found when all are read anew
    next_day(asked)
    issues.edit_comment(first["comments"][0], "It was all different.")
    assert lines_of(asked, asked.run()) == lines
    next_day(asked)
    run = asked.run(FULL_BACKUP_DAYS="1")
    assert lines_of(asked, run)[1]["comments"][0]["body"] == "It was all different."


def test_long_lists_are_read_to_their_end(asked: World) -> None:
    issues = asked.add("api").issues
    issues.fill(120)
    long = issues.open("Much is said")
    for number in range(130):
        issues.comment(long, f"Word {number}")
    change = issues.open("Much is changed", "pull_requests")
    issues.thread(change, "a.py", 1, *(f"Line {number}" for number in range(120)))
    question = issues.open("Much is asked", "discussions")
    for number in range(103):
        issues.comment(question, f"Answer {number}")
    asked.github.most_nodes = 20_000  # what asks for more gets no answer
    run = asked.run()
    assert run.code == 0, run.output
    lines = lines_of(asked, run)
    assert len(lines) == 123
    assert [comment["body"] for comment in lines[121]["comments"]] == [f"Word {number}" for number in range(130)]
    assert [comment["body"] for comment in lines[122]["reviewThreads"][0]["comments"]][-1] == "Line 119"
    assert len(lines[123]["comments"]) == 103


def test_what_the_budget_does_not_reach_is_read_by_the_next_runs(asked: World) -> None:
    issues = asked.add("api").issues
    issues.fill(100)
    asked.github.points = 5
    stored = []
    for _ in range(12):
        run = asked.run()
        assert run.code == 0, run.output
        counts = issues_of(run)["issues"]
        stored.append(counts["stored"])
        if counts["complete"]:
            break
        next_day(asked)
    assert stored[0] < 100
    assert stored == sorted(set(stored))
    assert stored[-1] == counts["total"] == 100
    assert sum(asked.metrics()["IssuesWaiting"]) == sum(100 - number for number in stored)


def test_what_the_app_may_not_read_is_named(asked: World) -> None:
    write(asked.add("api").issues)
    del asked.github.app.permissions["discussions"]
    run = asked.run()
    assert run.code == 0, run.output
    assert [(refusal["content"]) for refusal in run.repos["acme/api"]["not_read"]] == ["discussions"]
    assert issues_of(run)["discussions"] is None
    assert lines_of(asked, run).keys() == {1, 2}
    minted = [token.permissions for token in asked.github.tokens.values()]
    assert all(wanted == READ | {"issues": "read", "pull_requests": "read"} for wanted in minted)

    # what was read before and may not be read any more is a failure, and what is stored of it stays
    next_day(asked)
    before = issues_of(run)["list"]
    del asked.github.app.permissions["issues"]
    run = asked.run()
    assert run.code == 1
    assert "no permission" in run.failures["acme/api"]["error"]
    assert run.failures["acme/api"]["not_stored"] == ["issues", "pull_requests", "discussions"]
    assert issues_of(run)["list"]["sha256"] == before["sha256"]


def test_an_error_is_a_failure_of_its_repository_alone(asked: World) -> None:
    first, second = asked.add("api"), asked.add("api", name="tiny")
    first.issues.open("One")
    second.issues.open("Two")
    run = asked.run()
    before = issues_of(run)
    next_day(asked)
    first.issues.open("Three")
    second.issues.open("Four")
    asked.github.faults.append(Fault(GRAPHQL, 403, message="not today", after=1, times=1))
    run = asked.run()
    assert run.code == 1
    (name,) = run.failures
    assert "not today" in run.failures[name]["error"]
    other = next(other for other in ("acme/api", "acme/tiny") if other != name)
    assert issues_of(run, other)["issues"]["stored"] == 2
    assert issues_of(run, name)["issues"]["stored"] == before["issues"]["stored"] == 1
    next_day(asked)
    assert asked.run().code == 0


def test_an_installation_that_tells_no_permissions_is_backed_up_all_the_same(asked: World) -> None:
    repository = asked.add("api")
    repository.issues.open("One")
    (installation,) = asked.github.installations
    asked.github.faults.append(Fault(rf"GET .*/app/installations/{installation}$", 404, message="Not Found", times=9))
    run = asked.run(GITHUB_APP_INSTALLATION_ID=str(installation))
    assert run.code == 0, run.output
    assert {refusal["content"] for refusal in run.repos["acme/api"]["not_read"]} == ISSUES.keys()


def test_issues_are_read_without_github(asked: World, tmp_path: Path) -> None:
    issues = asked.add("api").issues
    write(issues)
    nasty = issues.open("<script>alert(1)</script> & co", body=NASTY, author="eve")
    issues.comment(nasty, "As said in #1, see `#2` and acme/api#1.")
    run = asked.run()
    fetched = asked.restore("fetch", "--all", "--bucket", asked.bucket, "--into", str(tmp_path))
    assert fetched.code == 0, fetched.stderr
    folder = tmp_path / "acme" / "api@issues"
    assert {path.name for path in folder.iterdir()} == {
        *(f"{n}.html" for n in (1, 2, 3, 4)), "index.html", "issues.jsonl.gz",
    }  # fmt: skip
    pages = {path.stem: path.read_text() for path in folder.glob("*.html")}
    assert all(text in pages["index"] for text in ("It breaks", "Mend it", "How does it work?", "bug"))
    assert all(text in pages["2"] for text in ("Looks right.", "app.py:7", "Why?", "Because.", "merged"))
    assert all(text in pages["3"] for text in ("Like this.", "Thanks!"))
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; co" in pages["index"]
    assert '<a href="1.html"' in pages["4"]
    assert "<code>#2</code>" in pages["4"]
    for page in pages.values():
        assert not re.search(r"<(script|img|iframe|object|form|link)\b|[\"\']\s*javascript:|\son\w+=", page), page
    assert "<table>" in pages["4"]
    assert "<s>gone</s>" in pages["4"]

    again = asked.restore("fetch", "--all", "--bucket", asked.bucket, "--into", str(tmp_path))
    assert (again.code, [line["event"] for line in again.named("already there")]) == (0, ["already there"])
    (folder / "issues.jsonl.gz").write_bytes(b"other")
    refused = asked.restore("fetch", "--all", "--bucket", asked.bucket, "--into", str(tmp_path))
    assert "issues: " in refused.failures["acme/api"]
    assert "move it away" in refused.failures["acme/api"]

    report = tmp_path / "report.json"
    assert asked.restore("verify", "--all", "--bucket", asked.bucket, "--report", str(report)).code == 0
    (proven,) = json.loads(report.read_text())["repositories"]
    assert proven["issues"] == 4

    stored = issues_of(run)["list"]
    asked.stack.s3.client().put_object(Bucket=asked.bucket, Key=stored["s3_key"], Body=b"x" * stored["size_bytes"])
    for version in asked.stack.s3.client().list_object_versions(Bucket=asked.bucket, Prefix=stored["s3_key"])[
        "Versions"
    ]:
        if version["VersionId"] == stored["version_id"]:
            asked.stack.s3.client().delete_object(
                Bucket=asked.bucket, Key=stored["s3_key"], VersionId=version["VersionId"]
            )
    broken = asked.restore("verify", "--all", "--bucket", asked.bucket)
    assert broken.code == 1
    assert "issues" in broken.failures["acme/api"]


def test_a_permission_that_is_taken_away_a_moment_ago_costs_no_repository(asked: World) -> None:
    asked.add("api").issues.open("One")
    asked.github.faults.append(Fault("POST .*/access_tokens", 422, message="The permissions requested are not granted"))
    run = asked.run()
    assert run.code == 0, run.output
    assert {refusal["content"] for refusal in run.repos["acme/api"]["not_read"]} == ISSUES.keys()
    assert [token.permissions for token in asked.github.tokens.values()] == [READ]
