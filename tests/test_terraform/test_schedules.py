"""The interval that the module reads from a schedule, against a calendar in which the schedule is lived through."""

import json
import math
import random
import shutil
from datetime import date, timedelta
from itertools import pairwise

import pytest

from embedded.stack import PROJECT
from terraform.module import TERRAFORM, Module

YEARS = (2023, 2033)
"""Nine whole years, leap years among them: January 1 of the one to January 1 of the other."""

MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
WEEKDAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")

KNOWN = {
    "rate(1 hour)": 1,
    "rate(12 hours)": 12,
    "rate(1 day)": 24,
    "rate(7 days)": 168,
    "rate(30 days)": 720,
    "cron(0 3 * * ? *)": 24,
    "cron(0 3 ? * * *)": 24,
    "cron(0 0/6 * * ? *)": 6,
    "cron(0 */6 * * ? *)": 6,
    "cron(0 8-18/2 * * ? *)": 14,
    "cron(0 2,14 * * ? *)": 12,
    "cron(30 6,18 ? * MON-FRI *)": 60,
    "cron(0/15 * * * ? *)": 1,
    "cron(0 3 ? * MON-FRI *)": 72,
    "cron(0 3 ? * 2-6 *)": 72,
    "cron(0 3 ? * MON,THU *)": 96,
    "cron(0 3 ? * SUN *)": 168,
    "cron(0 3 1 * ? *)": 744,
    "cron(0 3 1,15 * ? *)": 408,
    "cron(0 3 L * ? *)": 744,
    "cron(0 3 31 * ? *)": 1464,
    "cron(0 3 1 1,4,7,10 ? *)": 2208,
    "cron(0 3 1 JAN-DEC/6 ? *)": 4416,
}
NOT_TOLD = (
    "cron(0 3 ? * FRI#1 *)",
    "cron(0 3 ? * 6L *)",
    "cron(0 3 15W * ? *)",
    "cron(0 3 LW * ? *)",
    "cron(0 3 * * ? 2027)",
    "cron(0 3 ? JAN MON *)",
    "cron(0 3 29 2 ? *)",
    "cron(0 3 30 2 ? *)",
    "cron(0 25 * * ? *)",
    "cron(60 3 * * ? *)",
    "cron(0 3 0 * ? *)",
    "cron(0 3 ? * 8 *)",
    "cron(0 3 ? * FRI-MON *)",
    "cron(0 3 ? * MONDAY *)",
    "cron(- 3 * * ? *)",
)


@pytest.fixture(scope="module")
def schedule(tmp_path_factory: pytest.TempPathFactory) -> Module:
    """modules/schedule by itself, with any number of schedules at once."""
    if TERRAFORM is None:
        pytest.skip("terraform is not installed: the module is not tested")
    folder = tmp_path_factory.mktemp("schedule")
    shutil.copytree(PROJECT / "modules" / "schedule", folder / "schedule")
    (folder / "given.tf").write_text(
        'variable "expressions" { type = set(string) }\n'
        'module "schedule" {\n  source = "./schedule"\n  for_each = var.expressions\n  expression = each.key\n}\n'
        'output "hours" { value = { for key, read in module.schedule : key => read.hours } }\n'
        'output "starts" { value = { for key, read in module.schedule : key => read.starts if read.is_cron } }\n'
    )
    return Module(folder, {}).init()


def read(schedule: Module, expressions: list[str]) -> tuple[dict[str, int | None], dict[str, list[int]]]:
    """Return the hours and the starts that the module reads from each expression."""
    given = schedule.folder / "given.tfvars.json"
    given.write_text(json.dumps({"expressions": expressions}))
    schedule.terraform("apply", "-no-color", "-auto-approve", f"-var-file={given}", "-state=state.json")
    outputs = json.loads((schedule.folder / "state.json").read_text())["outputs"]
    return outputs["hours"]["value"], outputs["starts"]["value"]


def values(text: str, low: int, high: int, words: tuple[str, ...] = ()) -> set[int]:
    """Return what a field of a cron expression allows."""
    found: set[int] = set()
    for part in text.split(","):
        span, _, step = part.partition("/")
        first, _, last = (low, "", high) if span in ("*", "?") else span.partition("-")
        numbers = [words.index(item) + 1 if item in words else int(item) for item in (first, last) if item != ""]
        end = numbers[1] if len(numbers) == 2 else high if step else numbers[0]
        found |= set(range(numbers[0], end + 1, int(step or 1)))
    return found


def lived_through(expression: str) -> tuple[int, list[int]]:
    """Return the longest way between two starts in hours, rounded up, and the minutes of a day at which it starts."""
    minute, hour, day, month, weekday, _ = expression.removeprefix("cron(").removesuffix(")").split()
    minutes = sorted(60 * h + m for h in values(hour, 0, 23) for m in values(minute, 0, 59))
    months, weekdays = values(month, 1, 12, MONTHS), values(weekday, 1, 7, WEEKDAYS)
    starts: list[int] = []
    today, end = date(YEARS[0], 1, 1), date(YEARS[1], 1, 1)
    while today < end:
        tomorrow = today + timedelta(days=1)
        right_day = tomorrow.day == 1 if day == "L" else today.day in values(day, 1, 31)
        if today.month in months and right_day and today.isoweekday() % 7 + 1 in weekdays:
            starts += [today.toordinal() * 1440 + item for item in minutes]
        today = tomorrow
    return math.ceil(max(later - earlier for earlier, later in pairwise(starts)) / 60), minutes


def random_expressions(count: int) -> list[str]:
    """Return cron expressions of every shape, the same ones each time."""
    choose = random.Random(12)  # noqa: S311

    def some(low: int, high: int) -> str:
        first, second = sorted(choose.sample(range(low, high + 1), 2))
        shapes = ("*", f"{first}", f"{first},{second}", f"{first}-{second}", f"{first}/{choose.randint(1, 9)}")
        return choose.choice((*shapes, f"*/{choose.randint(2, 9)}", f"{first}-{second}/2,{second}"))

    found = []
    for _ in range(count):
        times = f"{choose.choice(('0', '30', some(0, 59)))} {some(0, 23)}"
        days = choose.choice((f"{some(1, 28)} {some(1, 12)} ?", f"{some(1, 31)} * ?", f"? * {some(1, 7)}", "L * ?"))
        found.append(f"cron({times} {days} *)")
    return found


def test_the_interval_of_a_schedule_is_read_from_its_expression_and_never_guessed(schedule: Module) -> None:
    hours, _ = read(schedule, [*KNOWN, *NOT_TOLD])
    assert hours == KNOWN | dict.fromkeys(NOT_TOLD)


@pytest.mark.parametrize("count", [4, pytest.param(80, marks=pytest.mark.exhaustive)])
def test_no_start_of_many_years_comes_later_than_the_module_reads(schedule: Module, count: int) -> None:
    expressions = random_expressions(count)
    expressions += [item for item in KNOWN if item.startswith("cron")][:: max(1, 20 // count)]
    hours, starts = read(schedule, expressions)
    expected = {item: lived_through(item) for item in expressions}
    assert hours == {item: longest for item, (longest, _) in expected.items()}
    assert starts == {item: minutes for item, (_, minutes) in expected.items()}
