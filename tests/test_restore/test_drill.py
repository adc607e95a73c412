"""The restore drill: whatever comes, goes or falls out, every repository is proven in time."""

import functools
import json
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from github_s3_backup.records.entry import RefSummary, new_entry
from github_s3_backup.records.stored_object import StoredObject
from github_s3_backup.repository import Repository
from github_s3_backup.restore.selection.records import Selected
from github_s3_backup.restore.verify.drill import History, sample
from support.vault import FIRST, SECOND, Vault

START = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)


@functools.cache
def selected(number: int, size: int | None = None) -> Selected:
    repository = Repository(number, "acme", f"r{number}", True, False, False, "main", 1, 1)
    stored = StoredObject(
        key=f"key-{number}", version_id=None, size_bytes=size or number + 1, sha256="a" * 64, checksum=None
    )
    refs = RefSummary(ref_count=1, refs_sha256="b" * 64, sha=None)
    return Selected(new_entry(repository, "stored", stored, refs, 1), "2026-01-01")


def numbers(picked: list[Selected]) -> list[int]:
    return sorted(item.entry.id for item in picked)


# -- the rotation --------------------------------------------------------------------------------


@given(count=st.integers(1, 60), days=st.integers(1, 20), every=st.integers(1, 72))
def test_every_repository_is_proven_within_the_days_and_no_drill_is_larger_than_it_must_be(
    count: int, days: int, every: int
) -> None:
    repositories = tuple(selected(number) for number in range(count))
    within, step = timedelta(days=days), timedelta(hours=every)
    history, sizes = History(), []
    for turn in range(3 * (within // step) + 3):
        now = START + turn * step
        picked = numbers(sample(repositories, history, now, within, step))
        assert count - 1 in picked, "the largest is in every drill"
        sizes.append(len(picked))
        history = history.after(range(count), picked, now)
        if turn + 1 >= max(1, within // step):
            assert len(history.proven) == count
            assert min(history.proven.values()) >= now - within
    assert max(sizes) <= -(-count // max(1, within // step)) + 1


@given(data=st.data(), turns=st.integers(1, 8))
def test_repositories_may_come_go_and_fail_and_the_others_are_proven_in_time(data: st.DataObject, turns: int) -> None:
    """One drill a day, `turns` days: nobody waits longer, whoever is broken for good and however many are new."""
    within = turns * DAY
    here, broken, history, next_number = set(range(5)), {1}, History(), 5
    since = dict.fromkeys(here, START)
    for day in range(20):
        now = START + day * DAY
        new = data.draw(st.integers(0, 12))
        here |= set(range(next_number, next_number + new))
        since |= dict.fromkeys(range(next_number, next_number + new), now)
        next_number += new
        gone = data.draw(st.sets(st.sampled_from(sorted(here) or [0]), max_size=4))
        here -= gone
        broken |= data.draw(st.sets(st.sampled_from(sorted(here) or [0]), max_size=1))
        picked = numbers(sample(tuple(map(selected, sorted(here))), history, now, within, DAY))
        good = set(picked) - broken
        history = history.after(here, good, now)
        since |= dict.fromkeys(picked, now)
        for number in here:
            assert since[number] + within >= now + DAY or number in picked, (number, day)


@given(held=st.lists(st.booleans(), min_size=30, max_size=30), turns=st.integers(1, 8), count=st.integers(1, 30))
def test_a_drill_that_falls_out_is_made_up_for_by_the_next(held: list[bool], turns: int, count: int) -> None:
    repositories, history, within = tuple(map(selected, range(count))), History(), turns * DAY
    history = history.after(range(count), (), START)
    for day, takes_place in enumerate(held):
        now = START + day * DAY
        if not takes_place:
            continue
        history = history.after(range(count), numbers(sample(repositories, history, now, within, DAY)), now)
        for number in range(count):
            last = history.proven.get(number, START)
            assert last + within >= now + DAY or last == now


def test_the_oldest_proof_comes_first_and_the_never_proven_before_it() -> None:
    proven = {number: START + number * timedelta(hours=1) for number in range(9)}
    picked = sample(tuple(map(selected, range(10))), History(proven), START + DAY, 5 * DAY, DAY)
    assert numbers(picked) == [0, 9]


def test_nothing_to_prove_is_no_fault() -> None:
    assert sample((), History(), START, DAY, DAY) == []


def test_a_drill_rarer_than_the_days_proves_everything_each_time() -> None:
    assert len(sample(tuple(map(selected, range(10))), History(), START, DAY, 7 * DAY)) == 10


# -- real drills ---------------------------------------------------------------------------------

NAMES = ("acme/api", "acme/archived", "acme/fork", "acme/public", "acme/gitlinks", "acme/empty")


def drill(vault: Vault, *more: str, code: int = 0) -> dict[str, Any]:
    place = f"s3://{vault.bucket}/drills/"
    rotation = () if more else ("--within-days", "3", "--every-hours", "24")
    started = datetime.now(UTC)
    run = vault.restore("verify", *rotation, *more, "--report", place)
    assert run.code == code, run.stderr
    (written,) = run.named("report written")
    key = written["report"].removeprefix(f"s3://{vault.bucket}/")
    assert key in {f"drills/{moment:%Y-%m-%d}/report.json" for moment in (started, datetime.now(UTC))}
    report: dict[str, Any] = json.loads(vault.client.get_object(Bucket=vault.bucket, Key=key)["Body"].read())
    return report


def test_each_drill_goes_on_where_the_last_one_ended(vault: Vault) -> None:
    manifest = vault.store(f"{datetime.now(UTC):%Y-%m-%d}", *NAMES)
    largest = max(manifest["repos"], key=lambda entry: entry["size_bytes"])
    reports = [drill(vault) for _ in range(3)]
    picked = [{result["full_name"] for result in report["repositories"]} for report in reports]
    assert all(largest["full_name"] in names and 2 <= len(names) <= 3 for names in picked)
    assert set.union(*picked) == set(NAMES)
    assert len(reports[0]["last_proven"]) + len(reports[0]["waiting_since"]) == len(NAMES)
    assert len(reports[2]["last_proven"]) == len(NAMES)
    assert reports[2]["waiting_since"] == {}
    page = vault.client.get_object(Bucket=vault.bucket, Key=f"drills/{reports[2]['started_at'][:10]}/report.html")
    assert page["ContentType"] == "text/html; charset=utf-8"
    html = page["Body"].read().decode()
    assert f"Bucket {vault.bucket}, below github-backup/" in html
    bundles = sum(entry["status"] != "empty" for entry in manifest["repos"])
    assert f"{bundles} of {bundles} within 28 days" in html, "this drill's proofs are on it"
    # A look at one repository in between forgets none of the others.
    by_hand = drill(vault, "acme/api")
    assert [result["full_name"] for result in by_hand["repositories"]] == ["acme/api"]
    assert by_hand["last_proven"].keys() == reports[2]["last_proven"].keys()


def test_what_fails_in_a_drill_is_tried_in_the_next_and_a_report_that_nobody_can_read_begins_anew(vault: Vault) -> None:
    vault.store(FIRST, *NAMES)
    manifest = vault.store(SECOND, *NAMES)
    api = manifest["repos"][0]
    broken = {**api, "sha256": "0" * 64}
    vault.write(SECOND, manifest | {"repos": [broken, *manifest["repos"][1:]]})
    vault.client.put_object(Bucket=vault.bucket, Key="drills/2025-01-01/report.json", Body=b"{")
    rotation = ("--within-days", "1", "--every-hours", "24", "--page-key", "/nowhere/key.pem")
    run = vault.restore("verify", *rotation, "--report", f"s3://{vault.bucket}/drills/", "--publish")
    assert run.code == 1
    assert "/nowhere/key.pem can't be read" in run.named("page for auditors not written")[0]["error"]
    assert "can't be read" in run.named("last drill report not readable, starting over")[0]["error"]
    assert run.failures.keys() == {"acme/api"}
    again = drill(vault, code=1)
    assert "acme/api" in {result["full_name"] for result in again["repositories"]}
    assert again["waiting_since"].keys() == {str(api["id"])}
    metrics = vault.stack.aws.metrics(vault.service)
    assert metrics["RestoreFailed"] == [1]
    assert metrics["RestoreVerified"] == [len(NAMES) - 1]
