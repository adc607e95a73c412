"""The results of one benchmark: figures, ratios, and the bars that they are held to."""

import json
import os
import platform
import subprocess
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import psutil

from bench.bounds import BUNDLE_LABEL, Bounds, Listed
from bench.changes import Changes
from bench.compare import CHANGED, FULL, LOOP, Comparison
from bench.growth import Row
from bench.lfs_content import LfsContent
from bench.plan import MB, Plan
from bench.shards import Shards
from github_s3_backup.configuration import DEFAULT_INSTALLATION_REQUESTS

MEASURES = ("wall", "cpu", "memory", "disk")
# A day on which nothing changed: so many repositories; and the manifest of the run and of the day.
UNCHANGED_SIZE, UNCHANGED_MEMORY, UNCHANGED_OBJECTS, UNCHANGED_SECONDS = 10_000, 512 * MB, 2, 45
# The token, the listing, and the refs of one repository.
UNCHANGED_REQUESTS = 4
LARGE_OBJECT_MEMORY = 300 * MB
# GitHub refuses more than 100.
REQUESTS_AT_ONCE = DEFAULT_INSTALLATION_REQUESTS


@dataclass(frozen=True)
class Bar:
    """A promise with a number: `value` must be at least, or at most, `limit`. None was not measured."""

    what: str
    value: float | None
    limit: float
    at_least: bool
    unit: str = "x"

    @property
    def verdict(self) -> str:
        if self.value is None:
            return "not measured"
        return "met" if (self.value >= self.limit) == self.at_least or self.value == self.limit else "NOT met"


@dataclass(frozen=True)
class Results:
    """Everything that one benchmark measured."""

    date: str
    machine: dict[str, str]
    plan: Plan
    comparison: Comparison
    bounds: Bounds
    listed: Listed
    growth: list[Row]
    shards: Shards
    changes: Changes
    lfs_content: LfsContent
    bundles_restored: int
    refs_compared: int

    def median(self, who: str, measure: str) -> float:
        return float(median(getattr(usage, measure) for usage in self.comparison.runs[who]))

    def ratio(self, who: str, measure: str, base: str = FULL) -> float:
        """Return the median, over the rounds, of what `who` took against what `base` took in the same round."""
        pairs = zip(self.comparison.runs[who], self.comparison.runs[base], strict=True)
        return float(median(getattr(a, measure) / max(getattr(b, measure), 1e-9) for a, b in pairs))

    def unchanged(self) -> Row | None:
        """Return the run with the most repositories, none of them changed."""
        rows = [row for row in self.growth if row.share == 0]
        return max(rows, key=lambda row: row.repositories, default=None)

    def to_json(self) -> str:
        """Return all figures, and the bars."""
        runs = {who: [asdict(usage) for usage in usages] for who, usages in self.comparison.runs.items()}
        about = {"date": self.date, "machine": self.machine, "plan": asdict(self.plan)}
        parts = {"bounds": asdict(self.bounds), "listed": asdict(self.listed), "lfs_content": asdict(self.lfs_content)}
        growth = {"growth": [asdict(row) for row in self.growth], "shards": asdict(self.shards)}
        growth |= {"changes": asdict(self.changes)}
        checked = {"bundles_restored": self.bundles_restored, "refs_compared": self.refs_compared}
        held = [asdict(bar) | {"verdict": bar.verdict} for bar in bars(self)]
        return json.dumps(about | {"runs": runs} | parts | growth | checked | {"bars": held}, indent=2)


def bars(results: Results) -> list[Bar]:
    """Return the promises and what was measured of them."""
    return [*_against_others(results), *_unchanged(results), *_changes(results), *_content(results)]


def _against_others(results: Results) -> list[Bar]:
    row, bounds = results.unchanged(), results.bounds
    unchanged = row.usage.wall / row.repositories / results.listed.plain if row else None
    bundle, disk = bounds.bundle / bounds.bundle_cp, results.median(FULL, "disk") / bounds.largest_mirrors
    index_pack = bounds.index_pack / results.median(FULL, "wall")
    return [
        Bar("a full run is faster than the sequential loop", results.ratio(LOOP, "wall"), 3, True),
        Bar("a run with 3 % changed is faster than the loop", results.ratio(LOOP, "wall", CHANGED), 40, True),
        Bar("`git index-pack` of all packs against a full run", index_pack, 0.85, True),
        Bar("wall clock of an unchanged repository against `git ls-remote`", unchanged, 1.5, False),
        Bar(f"a bundle written by {BUNDLE_LABEL} against `cp` of its pack", bundle, 1.15, False),
        Bar("peak disk against the largest mirrors in flight", disk, 1.1, False),
    ]


def _unchanged(results: Results) -> list[Bar]:
    many = next((row for row in results.growth if (row.repositories, row.share) == (UNCHANGED_SIZE, 0)), None)
    seconds, memory = (many.usage.wall, many.usage.memory / MB) if many else (None, None)
    objects = many.objects_beside_bundles if many else None
    day = f"a day of {UNCHANGED_SIZE:,} unchanged repositories"
    return [
        Bar(f"wall clock of a run on {day}", seconds, UNCHANGED_SECONDS, False, "s"),
        Bar(f"peak memory of a run on {day}", memory, UNCHANGED_MEMORY / MB, False, "MiB"),
        Bar(f"written on {day}, besides bundles that were due", objects, UNCHANGED_OBJECTS, False, "objects"),
    ]


def _changes(results: Results) -> list[Bar]:
    one, some, every = results.changes.compared
    restore = results.changes.restore_ratio
    return [
        *(
            Bar(f"{compared.what}: {name} against full bundles", compared.ratio(name), 0.1, False)
            for compared in (one, some)
            for name in ("received", "stored")
        ),
        Bar(f"{every.what}: wall clock against full bundles", every.ratio("wall"), 0.5, False),
        Bar("a restore from a full bundle and changes against one from a full bundle", restore, 1.15, False),
    ]


def _content(results: Results) -> list[Bar]:
    found, peak = results.lfs_content, max(run.peak for day in results.shards.compared for run in day.in_shards)
    unchanged = "requests to GitHub on a day on which a repository with LFS objects did not change"
    at_once = "requests to GitHub at once, all shards of an installation together"
    memory, most = found.large_memory / MB, LARGE_OBJECT_MEMORY / MB
    return [
        Bar("a first backup of LFS objects against `git lfs fetch --all`", found.ratio, 4, False),
        Bar("peak memory of a run with a large LFS object", memory, most, False, "MiB"),
        Bar(unchanged, found.unchanged_requests, UNCHANGED_REQUESTS, False, "requests"),
        Bar(at_once, peak, REQUESTS_AT_ONCE, False, "requests"),
    ]


def machine() -> dict[str, str]:
    """Return what the figures depend on."""
    git = subprocess.run(["git", "version"], capture_output=True, text=True, check=True).stdout.split()[-1]
    memory = psutil.virtual_memory().total / 1024**3
    return {
        "cores": str(os.cpu_count()),
        "memory": f"{memory:.0f} GiB",
        "processor": platform.machine(),
        "git": git,
        "Python": platform.python_version(),
    }


def today() -> str:
    return f"{datetime.now(UTC):%Y-%m-%d}"


def write(results: Results, folder: Path) -> Path:
    """Write the figures to `folder` and return the file."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "results.json"
    path.write_text(results.to_json() + "\n")
    return path
