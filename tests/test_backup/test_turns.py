"""Many repositories are asked whether they changed, and as many as there are turns are stored."""

import threading
import time

import pytest
from structlog.contextvars import bound_contextvars, get_contextvars

from embedded.ports import wait_until
from github_s3_backup.backup.turns import CHECKS_PER_WORKER, Turns, checks_at_once
from github_s3_backup.runtime.logs import SINCE
from github_s3_backup.runtime.stop import Stop, Stopped
from github_s3_backup.runtime.threads import in_background


def in_line(turns: Turns, number: int) -> None:
    """Wait until so many are waiting for their turn."""

    def check() -> None:
        assert len(turns._line) == number

    wait_until(check, f"{number} in line")


def test_turns_are_given_in_order_and_end_with_their_repository() -> None:
    turns, order, end = Turns(2, Stop()), list[int](), threading.Semaphore(0)

    def store(number: int) -> None:
        with turns.one():
            turns.wait()
            turns.wait()  # of the wiki, which is stored in the same turn
            order.append(number)
            assert end.acquire(timeout=60)

    stored = []
    for number in range(6):
        stored.append(in_background(lambda number=number: store(number)))  # type: ignore[misc]
        in_line(turns, max(0, number - 1))
    assert order == [0, 1]
    for left in (3, 2, 1):
        end.release()
        in_line(turns, left)
    end.release(3)
    assert [future.result(60) for future in stored] == [None] * 6
    assert order == list(range(6))


def test_who_did_not_change_takes_no_turn_and_who_fails_gives_it_back() -> None:
    turns = Turns(1, Stop())

    def fail() -> None:
        with turns.one():
            turns.wait()
            raise ValueError("broken")

    for _ in range(3):
        with turns.one():
            pass
        with pytest.raises(ValueError, match="broken"):
            fail()


def test_the_wait_for_a_turn_is_no_part_of_what_a_repository_took() -> None:
    turns = Turns(1, Stop())

    def store() -> float:
        with turns.one(), bound_contextvars(**{SINCE: time.monotonic()}):
            turns.wait()
            return time.monotonic() - float(get_contextvars()[SINCE])

    with turns.one():
        turns.wait()
        waiting = in_background(store)
        in_line(turns, 1)
        time.sleep(0.2)
    assert waiting.result(60) < 0.2


def test_a_stopped_run_does_not_wait_for_a_turn() -> None:
    class Told(Stop):
        def check(self) -> None:
            raise Stopped

    def store() -> None:
        with turns.one():
            turns.wait()

    turns = Turns(1, Told())
    with turns.one():
        turns.wait()
        with pytest.raises(Stopped):
            in_background(store).result(60)
    with turns.one():  # who gave up no longer stands in line
        turns.wait()


def test_more_are_asked_than_stored_and_never_more_than_may_be_asked() -> None:
    assert checks_at_once(8, 96) == 8 * CHECKS_PER_WORKER
    assert checks_at_once(64, 96) == 96
    assert checks_at_once(8, 6) == 8
    assert checks_at_once(1, 96) == 1
