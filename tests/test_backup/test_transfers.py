"""Transfers of many repositories share a few threads, and none waits behind another's whole content."""

import threading
import time

import pytest

from github_s3_backup.backup.repository.transfers import Transfers
from github_s3_backup.runtime.stop import Stop
from github_s3_backup.runtime.threads import in_background

AT_ONCE = 4


@pytest.fixture
def transfers() -> Transfers:
    return Transfers(Stop(), AT_ONCE)


def test_the_results_are_in_the_order_of_the_items(transfers: Transfers) -> None:
    def work(number: int) -> int:
        time.sleep(0.001 * (number % 3))
        return number * 2

    assert transfers.map(work, range(100)) == list(range(0, 200, 2))
    assert transfers.map(work, []) == []


def test_a_large_repository_does_not_keep_a_small_one_waiting(transfers: Transfers) -> None:
    begun, go_on, order = threading.Semaphore(0), threading.Semaphore(0), list[str]()

    def work(name: str) -> None:
        begun.release()
        assert go_on.acquire(timeout=60)
        order.append(name)

    large = in_background(lambda: transfers.map(work, ["large"] * 1000))
    assert all(begun.acquire(timeout=60) for _ in range(AT_ONCE))
    small = in_background(lambda: transfers.map(work, ["small"] * AT_ONCE))
    go_on.release(1000 + AT_ONCE)
    small.result(60)
    large.result(60)
    assert max(place for place, name in enumerate(order) if name == "small") < 100


def test_many_items_cost_little_each(transfers: Transfers) -> None:
    """Each wait for one of them must not look at all the others: 20,000 took half a minute of CPU."""
    began = time.process_time()
    assert sum(transfers.map(lambda number: number, range(20_000))) == sum(range(20_000))
    assert time.process_time() - began < 10


def test_the_first_error_is_raised_and_no_more_is_begun(transfers: Transfers) -> None:
    begun = list[int]()

    def work(number: int) -> None:
        begun.append(number)
        if number == 3:
            raise ValueError("the fourth")

    with pytest.raises(ValueError, match="the fourth"):
        transfers.map(work, range(10_000))
    assert len(begun) < 100
