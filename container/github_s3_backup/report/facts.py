"""What the report says: numbers, each with the manifests that it comes from, and tables. Makes no network call."""

import re
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import pairwise

from github_s3_backup.records.json_fields import parse_moment
from github_s3_backup.report.chain import breaks, flawed_signatures
from github_s3_backup.report.drills import Drills, Restored
from github_s3_backup.report.manifests import Document, Lost, Run, Unreadable

PROVEN_WITHIN = timedelta(days=28)
# The module's lifecycle rules keep bundles so much longer than the retention: modules/bucket/main.tf.
KEPT_LONGER = timedelta(days=91)
# In a key: the day on which an object was written, at the earliest.
DAY = re.compile(r"(?<=/)[0-9]{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12][0-9]|3[01])(?=/)")


@dataclass(frozen=True)
class Period:
    """What the report is of. `since` and `until`: days. `retention_days`: how long backups are kept, where known."""

    source: str
    since: str
    until: str
    now: datetime
    retention_days: int | None = None


@dataclass(frozen=True)
class Read:
    """What was read. `newest`: the manifest of the newest complete run."""

    period: Period
    runs: Sequence[Run | Unreadable]
    newest: Document | None
    drills: Drills
    are_keys_known: bool


@dataclass(frozen=True)
class Age:
    """A repository, and the end of the newest run that stored it or found it unchanged; None: none in the period."""

    full_name: str
    id: int
    confirmed: datetime | None
    run_id: str | None


@dataclass(frozen=True)
class Held:
    """A repository that vanished, and its last bundle. `until`: the day on which S3 deletes it, None: not known."""

    full_name: str
    id: int
    since: str
    size_bytes: int
    s3_key: str | None
    until: str | None


@dataclass(frozen=True)
class FailureSpan:
    """How long a repository failed: from the first to the last run, with the words of the last."""

    full_name: str
    stage: str
    error: str
    first_run: str
    last_run: str
    runs: int
    days: float
    is_open: bool


@dataclass(frozen=True)
class Change:
    """A difference between the settings of two runs in a row, as far as manifests show them."""

    run_id: str
    what: str
    before: str
    after: str


@dataclass(frozen=True)
class Line:
    """One of the lines at the top. `source`: where it comes from. `good`: nobody has to do anything."""

    name: str
    value: str
    source: str
    good: bool


@dataclass(frozen=True)
class Facts:
    """All that the report says."""

    period: Period
    lines: tuple[Line, ...]
    findings: tuple[str, ...]
    runs: tuple[Run, ...]
    unreadable: tuple[Unreadable, ...]
    restored: tuple[Restored, ...]
    ages: tuple[Age, ...]
    failures: tuple[FailureSpan, ...]
    vanished: tuple[Held, ...]
    gone: tuple[str, ...]
    unproven: tuple[str, ...]
    not_read: tuple[tuple[str, str, str], ...]
    changes: tuple[Change, ...]
    runs_source: str
    newest_source: str
    drills_source: str


def facts_of(read: Read) -> Facts:
    """Return what a report says of what was read."""
    runs = [run for run in read.runs if isinstance(run, Run)]
    unreadable = [run for run in read.runs if isinstance(run, Unreadable)]
    newest = read.newest
    restored = [item for drill in read.drills.reports for item in drill.repositories]
    failures, unproven, ages = _failures(runs), _unproven(read), _ages(runs, newest)
    findings = _findings(read, runs, unreadable, failures, unproven)
    runs_source = _source([run.run_id for run in read.runs], "manifest")
    newest_source = f"manifest {newest.run_id}" if newest else "no complete manifest"
    drills_source = _source([drill.started_at[:10] for drill in read.drills.reports], "drill report")
    return Facts(
        period=read.period,
        lines=(
            _covered(newest, newest_source),
            _recovery_point(runs, read.period, runs_source),
            _succeeded(runs, unreadable, runs_source),
            _proven(newest, unproven, restored, drills_source),
            Line("Findings", str(len(findings)), "all of the above; listed below", not findings),
        ),
        findings=tuple(findings),
        runs=tuple(runs),
        unreadable=tuple(unreadable),
        restored=tuple(restored),
        ages=tuple(ages),
        failures=tuple(failures),
        vanished=tuple(_held(item, read.period) for item in newest.vanished) if newest else (),
        gone=tuple(entry.full_name for entry in newest.repos if entry.status == "gone") if newest else (),
        unproven=tuple(unproven),
        not_read=tuple(
            (entry.full_name, item.content, item.error)
            for entry in (newest.repos if newest else ())
            for item in entry.not_read
        ),
        changes=tuple(_changes(runs)),
        runs_source=runs_source,
        newest_source=newest_source,
        drills_source=drills_source,
    )


# -- the lines at the top ------------------------------------------------------------------------


def _covered(newest: Document | None, source: str) -> Line:
    if newest is None:
        return Line("Covered", "no complete backup in this period", source, good=False)
    held = sum(entry.status != "gone" for entry in newest.repos)
    total = len(newest.repos) + len(newest.failures)
    return Line("Covered", f"{held:,} of {total:,} repositories", source, not newest.failures)


def _recovery_point(runs: Sequence[Run], period: Period, source: str) -> Line:
    ends = sorted(run.finished for run in runs if run.outcome in ("good", "with failures"))
    if not ends:
        return Line("Recovery point reached", "none", source, good=False)
    gap = max(after - before for before, after in pairwise([*ends, max(period.now, ends[-1])]))
    text = f"{gap / timedelta(hours=1):.1f} hours: the longest time between two complete runs, or since the last one"
    return Line("Recovery point reached", text, source, good=True)


def _succeeded(runs: Sequence[Run], unreadable: Sequence[Unreadable], source: str) -> Line:
    good, total = sum(run.outcome == "good" for run in runs), len(runs) + len(unreadable)
    share = f" ({100 * good / total:.1f} %)" if total else ""
    return Line("Runs without any failure", f"{good:,} of {total:,}{share}", source, good == total and total > 0)


def _proven(newest: Document | None, unproven: Sequence[str], restored: Sequence[Restored], source: str) -> Line:
    seconds = sorted(item.seconds for item in restored if item.status == "verified")
    total = sum(entry.status in ("stored", "unchanged") for entry in newest.repos) if newest else 0
    text = f"{total - len(unproven):,} of {total:,} within {PROVEN_WITHIN.days} days"
    if seconds:
        p95 = seconds[min(len(seconds) - 1, int(0.95 * len(seconds)))]
        text += f"; {statistics.median(seconds):.1f} s median, {p95:.1f} s 95th percentile, {seconds[-1]:.1f} s longest"
    return Line("Proven by a restore", text, source, not unproven and total > 0)


def _source(names: Sequence[str], what: str) -> str:
    if len(names) < 2:
        return f"{what} {names[0]}" if names else f"no {what}"
    return f"{len(names)} {what}s, {names[0]} to {names[-1]}"


# -- tables --------------------------------------------------------------------------------------


def _ages(runs: Sequence[Run], newest: Document | None) -> list[Age]:
    """Return the age of every current repository's newest good copy, the oldest first."""
    names = {entry.id: entry.full_name for entry in (newest.repos if newest else ()) if entry.status != "gone"}
    names |= {item.id: item.full_name for item in (newest.failures if newest else ()) if item.id is not None}
    ages, waiting = [], set(names)
    for run in reversed(runs):
        found = waiting.intersection(run.good)
        ages += [Age(names[number], number, run.finished, run.run_id) for number in found]
        waiting -= found
        if not waiting:
            break
    ages += [Age(names[number], number, None, None) for number in waiting]
    return sorted(ages, key=lambda age: (age.confirmed.timestamp() if age.confirmed else 0.0, age.full_name))


def _held(lost: Lost, period: Period) -> Held:
    """Return what is held of a vanished repository, until the older one of its two bundles expires."""
    keys = [key for key in (lost.s3_key, lost.base.s3_key if lost.base else None) if key]
    days = [date.fromisoformat(found[0]) for key in keys if (found := DAY.search(key))]
    until = None
    if days and period.retention_days:
        until = str(min(days) + timedelta(period.retention_days) + KEPT_LONGER)
    return Held(lost.full_name, lost.id, lost.since, lost.size_bytes, lost.s3_key, until)


def _failures(runs: Sequence[Run]) -> list[FailureSpan]:
    """Return what failed in runs in a row as one, the newest first."""
    spans: list[FailureSpan] = []
    going: dict[str, list[Run]] = {}
    complete = [run for run in runs if run.outcome != "stopped"]
    for run in complete:
        failed = {failure.full_name: failure for failure in run.failures}
        spans += [_span(name, going.pop(name)) for name in [*going] if name not in failed]
        for name in failed:
            going.setdefault(name, []).append(run)
    spans += [_span(name, held, is_open=True) for name, held in going.items()]
    return sorted(spans, key=lambda span: (span.last_run, span.full_name), reverse=True)


def _span(name: str, runs: Sequence[Run], is_open: bool = False) -> FailureSpan:
    last = next(failure for failure in runs[-1].failures if failure.full_name == name)
    days = (runs[-1].finished - runs[0].started) / timedelta(days=1)
    first_run, last_run = runs[0].run_id, runs[-1].run_id
    return FailureSpan(name, last.stage, last.error, first_run, last_run, len(runs), days, is_open)


def _unproven(read: Read) -> list[str]:
    """Return the repositories that no drill has restored within the last days."""
    drills = read.drills.reports
    proven = {int(n): parse_moment(time) for drill in drills for n, time in drill.last_proven.items()}
    after = read.period.now - PROVEN_WITHIN
    bundles = [entry for entry in (read.newest.repos if read.newest else ()) if entry.status in ("stored", "unchanged")]
    return [entry.full_name for entry in bundles if entry.id not in proven or proven[entry.id] < after]


def _changes(runs: Sequence[Run]) -> Iterable[Change]:
    for before, after in pairwise(run for run in runs if run.outcome != "stopped"):
        pairs = {
            "release": (before.versions[0], after.versions[0]),
            "git": (before.versions[1], after.versions[1]),
            "content": (", ".join(before.kinds), ", ".join(after.kinds)),
            "signing key": (before.signing_key or "none", after.signing_key or "none"),
        }
        names = sorted(before.variables.keys() | after.variables.keys())
        pairs |= {name: (before.variables.get(name, "not set"), after.variables.get(name, "not set")) for name in names}
        yield from (Change(after.run_id, what, old, new) for what, (old, new) in pairs.items() if old != new)


def _findings(
    read: Read,
    runs: Sequence[Run],
    unreadable: Sequence[Unreadable],
    failures: Sequence[FailureSpan],
    unproven: Sequence[str],
) -> list[str]:
    found = [f"manifest {run.run_id} can't be read: {run.error}" for run in unreadable]
    found += [f"run {run.run_id} was stopped before it was done" for run in runs if run.outcome == "stopped"]
    found += [f"{span.full_name} is not stored since run {span.first_run}" for span in failures if span.is_open]
    if unproven:
        found.append(f"repositories that no drill restored within {PROVEN_WITHIN.days} days: {len(unproven):,}")
    found += [f"drill report {key} can't be read" for key in read.drills.unreadable]
    found += breaks(read.runs, read.period.since)
    return found + flawed_signatures(read.runs, read.are_keys_known)
