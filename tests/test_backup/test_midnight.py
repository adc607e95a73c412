"""Tests that start on one day and end on the next hold too."""

from datetime import timedelta

from support.world import World

A_DAY = timedelta(days=1)


def test_a_run_that_starts_before_midnight_is_found_after_it(world: World) -> None:
    world.add("api")
    first = world.run()
    today, tomorrow = world.day(), world.day() + A_DAY
    world.today = lambda: tomorrow
    assert world.day() == today
    assert world.read_manifest() == first.manifest
    assert len(world.run_keys()) == 1
    assert world.yesterday()["date"] == f"{today - A_DAY}"
    assert not any(f"/{today}/" in key for key in world.stored_keys())
    world.today = lambda: today
    assert {entry["status"] for entry in world.run().repos.values()} == {"unchanged"}


def test_a_run_that_starts_after_midnight_is_found_by_a_test_that_began_before_it(world: World) -> None:
    world.add("api")
    started_on = world.since
    world.since -= A_DAY
    assert world.read_manifest() is None
    run = world.run()
    assert run.manifest is not None
    assert world.day() == started_on
    assert world.read_manifest() == run.manifest


def test_no_repository_is_due_today_or_tomorrow(world: World) -> None:
    world.add("api")
    days = int(world.nobodys_day())
    (number,) = world.github.repositories
    for day in (world.today(), world.today() + A_DAY):
        assert (day.toordinal() + number) % days
