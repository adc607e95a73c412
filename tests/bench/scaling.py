"""What was measured of runs in several tasks, as text: the same rows for the terminal and for docs/performance.md.

PYTHONPATH=container:docs:tests python -m bench.scaling           # measures this part of the benchmark alone
PYTHONPATH=container:docs:tests python -m bench.scaling --write   # and writes its figures into docs/performance.md
"""

import argparse
import re
import tempfile
from pathlib import Path

from bench.benchmark import Clock
from bench.frugal_s3 import serve_frugal_s3
from bench.page import table
from bench.plan import Plan
from bench.recorded import serve_recorded
from bench.report import Rows, aligned
from bench.repositories import tiny
from bench.restored import Restorer
from bench.results import machine, today
from bench.session import Session
from bench.shards import Compared, Overhead, Run, Shards, shards
from embedded.aws import serve_aws
from embedded.stack import PROJECT
from github_s3_backup.runtime.units import format_bytes

PAGE = "performance.md"


def report(found: Shards) -> str:
    """Return everything as text for a terminal."""
    parts = {
        f"{found.repositories} repositories, beside a single task": runs(found),
        "listing and merging alone": overhead(found),
        "a shard killed half-way": killed(found),
    }
    return "\n\n".join(f"{heading}\n{aligned(rows)}" for heading, rows in parts.items())


def runs(found: Shards) -> Rows:
    """Return what a run takes in each number of shards."""
    seconds = ["wall s", "against one task", "list and merge s", "CPU s"]
    counts = ["repositories at once", "requests at once"]
    rows = [["GitHub answers after", "", "shards", *seconds, "memory", *counts]]
    for day in found.compared:
        rows += [_run(day, run) for run in (day.single, *day.in_shards)]
    return rows


def _run(day: Compared, run: Run) -> list[str]:
    name = f"{run.shards}" if run.shards else "one task"
    ratio = run.wall / day.single.wall
    seconds = [f"{run.wall:.1f}", f"{ratio:.2f}x", f"{run.list_and_merge:.1f}" if run.shards else "", f"{run.cpu:.1f}"]
    counts = [str(run.workers), str(run.peak)]
    return [f"{day.latency * 1000:.0f} ms", day.day, name, *seconds, format_bytes(run.memory), *counts]


def overhead(found: Shards) -> Rows:
    """Return what it takes to list and to merge."""
    rows = [["", "repositories", "wall s", "CPU s", "memory", "GitHub requests", "S3 requests", "in S3"]]
    return rows + [row for each in found.overhead for row in _overhead(each)]


def _overhead(each: Overhead) -> Rows:
    steps = {"list": (each.listed, f"{format_bytes(each.plan)} plan"), "merge": (each.merged, None)}
    rows = []
    for name, (usage, written) in steps.items():
        seconds = [f"{usage.wall:.1f}", f"{usage.cpu:.1f}"]
        counts = [f"{usage.requests:,}", f"{usage.s3_requests:,}"]
        in_s3 = written or f"{format_bytes(each.reports)} reports"
        rows.append([name, f"{each.repositories:,}", *seconds, format_bytes(usage.memory), *counts, in_s3])
    return rows


def killed(found: Shards) -> Rows:
    """Return what a killed shard costs."""
    rows = [["", "wall s", "CPU s", "GitHub requests", "S3 requests", "cloned twice"]]
    for name, run in {"undisturbed": found.killed.undisturbed, "killed, and tried again": found.killed.killed}.items():
        counts = [f"{count:,}" for count in (run.requests, run.s3_requests, run.cloned_twice)]
        rows.append([name, f"{run.wall:.1f}", f"{run.cpu:.1f}", *counts])
    return rows


# -- docs/performance.md -----------------------------------------------------------------------------


def write_section(found: Shards, date: str, on: dict[str, str], docs: Path) -> Path:
    """Write these figures into the page in `docs` and return it."""
    about = ", ".join(f"{name} {value}" for name, value in on.items())
    path = docs / PAGE
    text = path.read_text()
    for name, figures in {
        "measured on": f"Measured on {date}: {about}. {found.repositories} small repositories with a tag each.",
        "measured runs": table(runs(found)),
        "measured list and merge": table(overhead(found)),
        "measured killed shard": table(killed(found)),
    }.items():
        text, count = re.subn(
            rf"(<!-- {name} -->\n).*?(<!-- end of {name} -->)", rf"\g<1>{figures}\n\g<2>", text, flags=re.DOTALL
        )
        assert count == 1, name
    path.write_text(text)
    return path


# -- alone ---------------------------------------------------------------------------------------


def main() -> None:
    """Measure, print the figures, and write them into the page where asked."""
    parser = argparse.ArgumentParser(description="Measure runs in several tasks.")
    parser.add_argument("--write", action="store_true", help="write the figures into docs/performance.md")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="backup-bench-") as name, serve_aws() as aws:
        place, plan = Path(name), Plan()
        with serve_recorded(place / "recorded") as recorded, serve_frugal_s3(place / "s3") as s3:
            recorded.set(latency=plan.latency)
            session = Session(place, s3, aws, recorded, Restorer(s3, place))
            found = shards(session, tiny(place / "repositories", plan), plan, Clock())
    print(f"\n{report(found)}")
    if given.write:
        print(f"\nthe page: {write_section(found, today(), machine(), PROJECT / 'docs')}")


if __name__ == "__main__":
    main()
