"""The page on scaling: its model is the program's, its seconds are those that were measured, its command runs."""

import re
import subprocess

import pytest

from calculator import durations, one_task, options, prices, shards, sizes
from embedded.stack import PROJECT
from github_s3_backup.backup.plan import split
from github_s3_backup.configuration import DEFAULT_INSTALLATION_REQUESTS
from github_s3_backup.runtime.capacity import TAKEN_DISK, VOLUME_FACTOR, clone_reservation, volume_gib
from tools import tables

PAGE = (PROJECT / "docs" / "scaling.md").read_text()
PERFORMANCE = (PROJECT / "docs" / "performance.md").read_text()
MODULE = dict(tables.blocks("variables.tf", "variable"))["orchestration"]
MINUTE = durations.TASK_START
TEN = sizes.Size(1000, 400, 5, organizations=10)


def measured(name: str) -> list[list[str]]:
    """Return the cells of a table that the benchmark has written, without its head."""
    table = PERFORMANCE.split(f"<!-- {name} -->\n", 1)[1].split(f"<!-- end of {name} -->", 1)[0]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]]


# -- the model -----------------------------------------------------------------------------------


def test_the_model_knows_what_the_module_and_the_program_do() -> None:
    defaults = dict(re.findall(r"(\w+) += optional\((?:number, |object\(\{ )(.*)\)", MODULE))
    assert int(defaults["requests_per_installation"]) == options.INSTALLATION_REQUESTS == DEFAULT_INSTALLATION_REQUESTS
    assert f"`orchestration = {{}}` uses {defaults['shards']} shards" in PAGE
    cpu, memory = (f"optional(number, {size * 1024:g})" for size in (shards.SMALL_VCPU, shards.SMALL_MEMORY))
    for task in ("list", "merge"):
        assert f"cpu = {cpu}, memory = {memory}" in defaults[task]
    assert shards.MIN_WORKERS == split.MIN_WORKERS
    assert (shards.TAKEN_DISK * 1024**3, shards.VOLUME_FACTOR) == (TAKEN_DISK, VOLUME_FACTOR)
    for gigabytes in (1, 30, 100, 140, 170, 300, 2000):
        for disk in (50, 200):
            exact = volume_gib(clone_reservation(gigabytes * 10**9).disk, disk)
            assert shards.volume_gib(gigabytes, disk) == pytest.approx(exact, abs=1)


def test_shards_share_everything_but_the_largest_repository() -> None:
    alone, four = (shards.run(TEN.first_run, sizes.given_for(TEN, number)) for number in (1, 4))
    cpu = TEN.gigabytes * durations.CPU_GB + TEN.repositories * durations.CPU_CLONE
    assert alone.longest == pytest.approx(MINUTE + cpu / 2)
    assert four.longest == pytest.approx(MINUTE + cpu / 8)
    assert four.all_shards - alone.all_shards == pytest.approx(3 * MINUTE)
    large = shards.run(durations.Work(1, 0, 10, 10), sizes.given_for(TEN, 4))
    assert large.longest == pytest.approx(MINUTE + 10 * (50 + 60))
    assert large.seconds > large.longest + 2 * MINUTE


def test_one_installation_is_served_by_as_many_shards_as_its_requests_allow() -> None:
    waiting = durations.Work(9600, 0, 0, 0)
    one, ten = (sizes.Size(9600, 1, 0, organizations) for organizations in (1, 10))
    given = sizes.given_for(one, 64)
    assert shards.most_shards(given) == 24
    assert shards.most_shards(sizes.given_for(one, 64, requests=200)) == 50
    assert shards.run(waiting, given).longest == pytest.approx(MINUTE + 9600 * durations.WAIT_CLONE / 96)
    given = sizes.given_for(ten, 64)
    assert shards.most_shards(given) == 64
    assert shards.run(waiting, given).longest == pytest.approx(MINUTE + 9600 * durations.WAIT_CLONE / 960)


def test_the_sizes_that_need_shards_are_those_that_one_task_cannot_do() -> None:
    for size in sizes.SCALING_SIZES:
        task = durations.task_for(size.repositories, size.gigabytes, size.largest, sizes.LONGEST_FIRST_RUN)
        lasts = durations.seconds(size.first_run, task.vcpu)
        if sizes.is_too_large(size):
            assert task.disk_gb > shards.LARGEST_DISK or lasts > sizes.LONGEST_FIRST_RUN
        else:
            assert task.disk_gb <= shards.LARGEST_DISK
            assert lasts <= sizes.LONGEST_FIRST_RUN


def test_the_total_is_that_of_a_single_task_with_other_tasks_in_its_place() -> None:
    about = {"repositories": 1000, "gigabytes": 400, "largest": 5}
    found = shards.monthly(options.parsed(**about, shards=4))
    base = one_task.estimate(**about)
    assert found.total == pytest.approx(base.total - base.task + found.of_runs)
    assert found.transitions == pytest.approx(30 * (10 + 4 * 4) * 0.025 / 1000)
    assert found.volume == 0


def test_a_volume_is_paid_for_as_long_as_its_shard_runs() -> None:
    given = sizes.given_for(sizes.MONOREPO, 1, changed_repositories=1, changed_gigabytes=1, changes=1)
    hours = (MINUTE + 300 * (50 + 60)) / 3600
    volume = shards.volume_gib(300, 50)
    assert shards.monthly(given).volume == pytest.approx(30 * hours * volume * 0.08 / 730)


def test_every_price_of_several_tasks_changes_the_result() -> None:
    def total(**changes: object) -> float:
        return shards.monthly(sizes.given_for(sizes.MONOREPO, 1, **changes)).total

    for name, price, _ in prices.PRICES:
        if not name.startswith("nat"):
            options = {"replica": "GLACIER_IR", f"price_{name}": price}
            assert total(**options | {f"price_{name}": price * 2 + 1}) > total(**options), name


# -- the page ------------------------------------------------------------------------------------


def test_the_command_on_the_page_runs() -> None:
    (command,) = re.findall(r"```sh\n(python3 .*)\n```", PAGE)
    output = subprocess.run(["bash", "-c", command], cwd=PROJECT, capture_output=True, text=True, check=True).stdout
    assert "per month" in output
    assert "GiB" in output or "none" in output


def test_the_seconds_of_listing_and_merging_are_those_that_were_measured() -> None:
    rows = {(row[0], int(row[1].replace(",", ""))): float(row[2]) for row in measured("measured list and merge")}
    most = max(number for _, number in rows)
    assert most >= 10_000
    for step, seconds in {"list": shards.LIST_REPOSITORY, "merge": shards.MERGE_REPOSITORY}.items():
        assert rows[step, most] / most == pytest.approx(seconds, rel=0.3), step


def test_no_number_of_shards_asks_for_more_than_an_installation_may() -> None:
    rows = measured("measured runs")
    assert {row[2] for row in rows} == {"one task", "1", "2", "4", "8", "16"}
    for *_, allowed, seen in rows:
        assert max(int(seen), int(allowed)) <= options.INSTALLATION_REQUESTS
