"""The calculator of docs/costs.md: it says what the formula says, with the defaults of the module and the program."""

import argparse
import re
import subprocess
from datetime import UTC, datetime
from typing import Any

import pytest

from bench.year import a_year
from calculator import durations, one_task, options, prices, sizes
from embedded.stack import PROJECT
from github_s3_backup.backup.turns import CHECKS_PER_WORKER
from github_s3_backup.configuration import WORKERS_PER_CPU
from github_s3_backup.records.entry import RefSummary, new_entry
from github_s3_backup.records.manifest import new_manifest
from github_s3_backup.records.stored_object import StoredObject
from github_s3_backup.repository import Repository, Settings
from github_s3_backup.runtime import metrics
from github_s3_backup.runtime.capacity import DISK_PER_BYTE, USABLE_DISK
from github_s3_backup.s3.content_store import MAX_AGE_IN_LIST, MAX_CONTENT_DAYS
from tools import tables

DOCS = PROJECT / "docs"
# Metrics of Container Insights.
CONTAINER_INSIGHTS = 24


def test_the_calculator_runs_alone_and_prints_what_the_table_says() -> None:
    done = subprocess.run(
        ["python3", "-E", "-s", str(DOCS / "costs.py"), "--repositories", "50", "--gigabytes", "2"],
        capture_output=True,
        text=True,
        check=True,
    )
    total = re.search(r"^per month +(\S+)$", done.stdout, re.MULTILINE)
    assert total
    assert f"| **{total[1]}** |" in (DOCS / "costs.md").read_text()


@pytest.mark.parametrize("page", ["costs.md"])
def test_the_command_on_the_page_runs(page: str) -> None:
    (command,) = re.findall(r"```sh\n(python3 .*)\n```", (DOCS / page).read_text())
    output = subprocess.run(["bash", "-c", command], cwd=PROJECT, capture_output=True, text=True, check=True).stdout
    assert "per month" in output


def test_the_targets_of_the_page_are_met() -> None:
    """Hold the costs of the two organisations of the page to what they were designed for."""
    for (repositories, gigabytes), most in zip(sizes.EXAMPLES[1:], (20, 150), strict=True):
        assert one_task.estimate(repositories=repositories, gigabytes=gigabytes).total <= most


def test_the_defaults_of_the_calculator_are_the_modules() -> None:
    inputs = dict(tables.blocks("variables.tf", "variable"))
    given = options.options().parse_args([])
    assert tables.argument(inputs["backup_retention_days"], "default") == str(given.retention)
    assert tables.argument(inputs["full_backup_days"], "default") == str(given.full_backup_days)
    cold = f'[{{ days = {given.cold_after}, storage_class = "GLACIER_IR" }}]'
    assert tables.argument(inputs["storage_transitions"], "default") == cold
    # The class of the original, which is S3 Standard.
    assert (tables.argument(inputs["replica_storage_class"], "default"), given.replica) == ("null", "STANDARD")
    lifecycle = (PROJECT / "modules" / "bucket" / "main.tf").read_text()
    kept = {"max_full_backup_days": one_task.MAX_FULL_BACKUP_DAYS, "noncurrent_days": one_task.UNDO_DAYS}
    kept["max_content_days"] = one_task.MAX_CONTENT_DAYS
    assert {name: int(re.findall(rf"^  {name} += (\d+)$", lifecycle, re.MULTILINE)[0]) for name in kept} == kept
    assert len(metrics.UNITS) + CONTAINER_INSIGHTS == one_task.METRICS
    assert (one_task.MAX_CONTENT_DAYS, one_task.WRITTEN_AGAIN_DAYS) == (MAX_CONTENT_DAYS, MAX_AGE_IN_LIST)


def test_content_costs_what_the_formula_says() -> None:
    given = {"content_gigabytes": 289, "content_growth": 0.3, "retention": 100}
    added = one_task.estimate(**given).content
    assert added == pytest.approx((2.89 + 1) * 2 * (30 * 0.023 + (100 + 366 + 7 - 30) * 0.004))
    assert one_task.estimate().content == 0


def test_storage_is_what_the_formula_says() -> None:
    changed = {"gigabytes": 10, "changed_gigabytes": 0.1, "full_backup_days": 9, "changes": 1}
    found = one_task.estimate(**changed, retention=100)
    assert found.written_gb == pytest.approx(2)
    assert found.held_gb == pytest.approx(2 * (100 + 91 + 7))
    assert found.storage == pytest.approx(2 * 2 * (30 * 0.023 + 168 * 0.004))
    cold = one_task.estimate(**changed, retention=100, replica="GLACIER_IR")
    assert cold.storage == pytest.approx(2 * (30 * 0.023 + 168 * 0.004 + 198 * 0.004))
    warm = one_task.estimate(**changed, retention=100, cold_after=0)
    assert warm.storage == pytest.approx(2 * 2 * 198 * 0.023)
    differential = one_task.estimate(**changed | {"changes": 0.05})
    assert differential.written_gb == pytest.approx(10 / 9 * 1.02 + 10 * 0.1 * (1 - 1 / 9) * 0.05)
    assert one_task.estimate(**changed | {"changes": 0.05, "full_backup_days": 1}).written_gb == pytest.approx(10)


def test_manifests_are_kept_twice_and_all_but_the_last_of_a_day_once() -> None:
    gigabytes = 1000 * one_task.ENTRY_BYTES / 1e9
    assert one_task.estimate(repositories=1000).manifests_gb == pytest.approx(gigabytes * 2 * 463)
    hourly = one_task.estimate(repositories=1000, runs_a_day=24)
    assert hourly.manifests_gb == pytest.approx(gigabytes * (25 * 463 + 23 * 7))


def test_a_busy_repository_is_stored_in_each_run_that_finds_a_push() -> None:
    one_push = {"changed_gigabytes": 0.5, "full_backup_days": 50, "gigabytes": 100, "changes": 1}
    assert one_task.estimate(**one_push, pushes=1, runs_a_day=24).written_gb == pytest.approx(51)
    assert one_task.estimate(**one_push, pushes=50, runs_a_day=1).written_gb == pytest.approx(51)
    assert one_task.estimate(**one_push, pushes=1000, runs_a_day=24).written_gb == pytest.approx(8 * 50 + 1)


def test_a_simulated_year_leaves_what_the_page_says() -> None:
    year = a_year(200, 40, days=120)
    assert year.gigabytes == pytest.approx(one_task.first_year_gb(200, 40, days=120), rel=0.05)
    assert year.before_gb == 40 * 120
    assert a_year(20, 40, days=30, full_backup_days=1).gigabytes == pytest.approx(40 * 30)


def test_an_entry_of_a_manifest_has_about_as_many_bytes_as_assumed() -> None:
    stored = StoredObject(
        key=f"github-backup/2026-11-23/acme-engineering/{'a' * 20}.bundle",
        version_id="v" * 32,
        size_bytes=10**8,
        sha256="a" * 64,
        checksum="A" * 47,
    )
    features: dict[str, Any] = dict.fromkeys(("is_template", "has_issues", "has_projects", "has_wiki"), True)
    settings = Settings(description="d" * 60, topics=("t" * 8, "t" * 8), visibility="private", **features)
    repository = Repository(10**9, "acme-engineering", "a" * 20, True, False, False, "main", 1, 1, settings=settings)
    entry = new_entry(repository, "stored", stored, RefSummary(ref_count=99, refs_sha256="b" * 64, sha="c" * 40), 1.234)
    now = datetime.now(UTC)
    manifest = new_manifest(
        run_id="r",
        started_at=now,
        finished_at=now,
        complete=True,
        git_version="2",
        entries=[entry] * 100,
        failures=[],
    )
    assert len(manifest.to_json()) / 100 == pytest.approx(one_task.ENTRY_BYTES, rel=0.05)


def test_a_run_takes_as_long_as_the_longest_of_what_it_does_at_once() -> None:
    minute = durations.TASK_START
    cpu = durations.Work(cloned=0, unchanged=0, gigabytes=10, largest=0)
    assert [durations.seconds(cpu, vcpu) for vcpu in (1, 2)] == [minute + 600, minute + 300]
    waiting = durations.Work(cloned=80, unchanged=800, gigabytes=0, largest=0)
    assert durations.seconds(waiting, 1) == pytest.approx(minute + 80 * 0.6 / 8 + 800 * 0.25 / 48)
    changed = durations.Work(cloned=0, unchanged=0, gigabytes=0, largest=0, changed=800)
    assert durations.seconds(changed, 1) == pytest.approx(minute + 800 * 0.55 / 8)
    many = durations.Work(cloned=0, unchanged=8000, gigabytes=0, largest=0)
    assert durations.seconds(many, 8) == pytest.approx(minute + 8000 * 0.25 / 96)
    network = durations.Work(cloned=0, unchanged=0, gigabytes=100, largest=0)
    assert durations.seconds(network, 100) == pytest.approx(minute + 1000)
    largest = durations.Work(cloned=1, unchanged=0, gigabytes=10, largest=10)
    assert durations.seconds(largest, 8) == pytest.approx(minute + 500 + 600)


def test_the_smallest_task_is_the_modules_default_and_holds_what_the_program_admits() -> None:
    inputs = dict(tables.blocks("variables.tf", "variable"))
    cpu, memory, disk = (
        int(str(tables.argument(inputs[name], "default")))
        for name in ("task_cpu", "task_memory", "task_ephemeral_storage_gb")
    )
    task = durations.task_for(50, 2, 0.5, sizes.LONGEST_FIRST_RUN)
    assert (task.vcpu * 1024, task.memory_gb * 1024, task.disk_gb) == (cpu, memory, disk)
    assert (durations.DISK, durations.USABLE_DISK) == (DISK_PER_BYTE, USABLE_DISK)
    assert (durations.IN_FLIGHT, durations.CHECKS) == (WORKERS_PER_CPU, CHECKS_PER_WORKER)
    assert durations.REQUESTS == options.INSTALLATION_REQUESTS
    for repositories, gigabytes, largest in sizes.TASK_SIZES:
        task = durations.task_for(repositories, gigabytes, largest, sizes.LONGEST_FIRST_RUN)
        assert task.disk_gb * USABLE_DISK >= largest * DISK_PER_BYTE
        assert task.disk_gb <= 200
        first = durations.first_run(repositories, gigabytes, largest)
        assert durations.seconds(first, task.vcpu) <= sizes.LONGEST_FIRST_RUN


def test_every_price_is_an_option_that_changes_the_result() -> None:
    def with_a_gateway(**given: object) -> float:
        found = one_task.estimate(**given)
        return found.total + found.nat

    of_one_task = [each for each in prices.PRICES if each[0] not in ("transition", "volume")]
    for name, price, _ in of_one_task:
        assert with_a_gateway(**{f"price_{name}": price * 2 + 1}) > with_a_gateway(), name


def test_the_help_says_that_every_price_is_assumed() -> None:
    assert isinstance(options.options(), argparse.ArgumentParser)
    text = options.options().format_help()
    assert text.count("assumed price of") == len(prices.PRICES)
