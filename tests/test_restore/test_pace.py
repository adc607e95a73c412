"""A restore of many repositories keeps to GitHub's limits, and says what it waits for."""

import io
import itertools
import json

import pytest
import requests

from embedded.github import FakeGitHub, Fault
from github_s3_backup.restore.push.targets.pace import APART, HOUR, PER_HOUR, Pace, PacedApi, writing_time
from github_s3_backup.restore.terminal import Amount, seconds_left
from github_s3_backup.runtime.logs import new_logger
from github_s3_backup.runtime.redaction import Redactor
from github_s3_backup.runtime.stop import Stop
from support.vault import FIRST, Vault
from support.world import World, events_of
from test_restore.test_push import NEW_OWNER, again, restored, stored, target

__all__ = ["again", "stored", "target"]


class Clock:
    """Time that passes only when somebody sleeps."""

    def __init__(self) -> None:
        self.time = 1000.0
        self.lines = io.StringIO()
        self.log = new_logger(self.lines, Redactor())

    def now(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.time += seconds

    def pace(self) -> Pace:
        return Pace(self.now, self.sleep, self.log)


def test_three_hundred_repositories_keep_to_the_limits_of_a_minute_and_of_an_hour() -> None:
    clock = Clock()
    pace, started, writes = clock.pace(), clock.time, list[float]()
    for _ in range(900):
        with pace.write():
            writes.append(clock.time)
            clock.sleep(0.3)
    assert all(later - earlier >= APART for earlier, later in itertools.pairwise(writes))
    assert max(sum(0 <= other - first < 60 for other in writes) for first in writes) <= 80
    assert max(sum(0 <= other - first < HOUR for other in writes) for first in writes) <= PER_HOUR
    assert clock.time - started == pytest.approx(writing_time(900), rel=0.01)
    amount = Amount(300, 300_000, lambda share: writing_time(round(900 * share)))
    for done in (30, 150, 270):  # the time that is told to be left, where a tenth, half and most of it is done
        passed = writes[3 * done - 1] - started
        left = clock.time - started - passed
        assert seconds_left(amount, done, 1000 * done, passed) == pytest.approx(left, rel=0.02)
    (waited,) = events_of(clock.lines.getvalue())
    assert (waited["event"], waited["what"]) == ("waiting for GitHub", "GitHub's limits for writes")


def test_the_pause_of_an_hour_comes_before_the_next_write() -> None:
    for writes in (1, PER_HOUR, PER_HOUR + 1, 2 * PER_HOUR):
        clock = Clock()
        pace, started = clock.pace(), clock.time
        for _ in range(writes):
            with pace.write():
                pass
        assert clock.time - started + APART == pytest.approx(writing_time(writes))


def test_a_rate_limit_makes_everybody_wait_and_nobody_gives_up(github: FakeGitHub) -> None:
    clock = Clock()
    github.faults = [Fault("GET ", status=403, message="You have exceeded a secondary rate limit", times=20)]
    api = PacedApi(github.api_url, requests.Session(), Stop(), clock.log, clock.pace())
    token = github.personal_token("octocat", ["acme"])
    started = clock.time
    answer = api.send("GET", f"{github.api_url}/user", lambda: f"Bearer {token}")
    assert answer.json()["login"] == "octocat"
    assert clock.time - started == pytest.approx(20 * 60, abs=1)
    assert {event["event"] for event in events_of(clock.lines.getvalue())} == {"waiting for GitHub"}


def test_what_must_come_first_comes_first_and_what_is_excluded_does_not_come(again: World, target: FakeGitHub) -> None:
    report = again.folder / "report.json"
    limits = ("--concurrency", "1", "--report", str(report))
    order = ("--first", "acme/public", "--exclude", "acme/api", "--exclude", "acme-labs")
    run = again.restore("push", "--all", "--to", NEW_OWNER, *order, *limits)
    assert run.code == 0, run.stderr
    assert not target.find(NEW_OWNER, "api")
    assert restored(target, "archived").archived
    created = [request.body["name"] for request in target.requests("POST .*/repos$") if request.body]
    assert created[0] == "public"
    (planned,) = run.named("about to push")
    assert planned["repositories"] == 3
    result = json.loads(report.read_text())
    assert (result["command"], result["done"], result["failures"]) == ("push", 3, [])


def test_a_name_without_its_owner_is_completed_in_words(again: World) -> None:
    run = again.restore("fetch", "API", "--into", str(again.folder / "out"))
    assert "did you mean acme/api, acme-labs/api?" in run.failures["API"] or (
        "did you mean acme-labs/api, acme/api?" in run.failures["API"]
    )


def test_what_one_bucket_lacks_comes_from_the_other(vault: Vault) -> None:
    manifest = vault.store(FIRST, "acme/api", "acme/fork")
    organisation, bucket = vault.organisation, vault.bucket
    replica = vault.stack.s3.new_bucket("fallback")
    for key in [item["Key"] for item in vault.client.list_objects_v2(Bucket=bucket)["Contents"]]:
        vault.client.copy_object(Bucket=replica, Key=key, CopySource={"Bucket": bucket, "Key": key})
    api = next(entry for entry in manifest["repos"] if entry["full_name"] == "acme/api")
    vault.destroy(api)
    report = vault.folder / "report.json"
    arguments = ("fetch", "--all", "--date", FIRST, "--report", report)
    alone = vault.restore(*arguments, "--into", vault.folder / "alone")
    assert alone.failures.keys() == {"acme/api"}
    assert [event["full_name"] for event in alone.named("failed, the others go on")] == ["acme/api"]
    assert [failure["full_name"] for failure in json.loads(report.read_text())["failures"]] == ["acme/api"]
    both = vault.restore(*arguments, "--into", vault.folder / "both", "--fallback-bucket", replica)
    assert both.code == 0, both.stderr
    assert [event["full_name"] for event in both.named("taken from the fallback bucket")] == ["acme/api"]
    assert organisation.refs("acme/api")
    lost = vault.restore(
        *arguments, "--into", vault.folder / "lost", "--bucket", "no-such-bucket", "--fallback-bucket", replica
    )
    assert lost.code == 0, lost.stderr
    assert lost.named("reading manifests from the fallback bucket")
