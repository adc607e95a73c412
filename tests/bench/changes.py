"""What a change costs: stored in full, and as a bundle of changes. Then a restore from each."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from bench.contenders import environment
from bench.days import a_day_passes
from bench.measure import Usage
from bench.organisation import Organisation, organisation
from bench.plan import MB, Plan
from bench.repositories import changing
from bench.session import Session
from embedded.github import FakeGitHub
from embedded.stack import RESTORE

MAX_ROUNDS = 2
MEASURES = ("wall", "cpu", "received", "disk", "stored")


@dataclass(frozen=True)
class Day:
    """A run on the day after another, and the bytes of the bundles that it stored."""

    usage: Usage
    stored: int

    def measure(self, name: str) -> float:
        return float(self.stored if name == "stored" else getattr(self.usage, name))


@dataclass(frozen=True)
class Compared:
    """The same change, stored in full and as changes, in each round."""

    what: str
    full: list[Day]
    changes: list[Day]

    def median(self, days: list[Day], name: str) -> float:
        return float(median(day.measure(name) for day in days))

    def ratio(self, name: str) -> float:
        """Return the median of the rounds' ratios."""
        pairs = zip(self.changes, self.full, strict=True)
        return float(median(new.measure(name) / max(old.measure(name), 1e-9) for new, old in pairs))


@dataclass(frozen=True)
class Changes:
    """All changes, and the seconds of a restore from one file and from two, in each round."""

    compared: list[Compared]
    restored_full: list[float]
    restored_changes: list[float]

    @property
    def restore_ratio(self) -> float:
        return float(median(b / a for a, b in zip(self.restored_full, self.restored_changes, strict=True)))


def changes(session: Session, folder: Path, plan: Plan, say: Callable[[str], None]) -> Changes:
    """Measure all of it."""
    one = [changing(folder, 0, plan.changing_large, plan.changing_commits)]
    many = [changing(folder, number, plan.changing_size, 1) for number in range(1, 1 + plan.changing_different)]
    restored: dict[bool, list[float]] = {False: [], True: []}
    compared = []
    with FakeGitHub() as github:
        served = organisation(github, session.recorded, one)
        what = f"one repository of {plan.changing_large // MB} MB, {plan.changing_commits} new commits"
        compared.append(_compared(session, served, (what, 100), plan.rounds, restored))
    say(f"{what} measured")
    with FakeGitHub() as github:
        served = organisation(github, session.recorded, many, plan.changing_repositories)
        for share in (10, 100):
            count, size = plan.changing_repositories * share // 100, plan.changing_size // MB
            what = f"{count} of {plan.changing_repositories} repositories of {size} MB, one new commit"
            compared.append(_compared(session, served, (what, share), plan.rounds, None))
            say(f"{what} measured")
    return Changes(compared, restored[False], restored[True])


def _compared(
    session: Session,
    served: Organisation,
    change: tuple[str, int],
    rounds: int,
    restored: dict[bool, list[float]] | None,
) -> Compared:
    """Measure a change in turn with and without bundles of changes, once to record the answers."""
    days: dict[bool, list[Day]] = {False: [], True: []}
    for number in range(1 + min(rounds, MAX_ROUNDS)):
        session.recorded.set(recording=number == 0)
        for differential in (False, True):
            with session.bucket() as bucket:
                day = _a_change(session, served, bucket, change[1], differential)
                seconds = _restore(session, served, bucket) if restored is not None and number else None
            if number:
                days[differential].append(day)
            if restored is not None and seconds is not None:
                restored[differential].append(seconds)
    return Compared(change[0], days[False], days[True])


def _a_change(session: Session, served: Organisation, bucket: str, share: int, differential: bool) -> Day:
    """Back up, let a day pass and a share change, and measure the next run. The change is undone."""
    session.product(served, bucket, differential)
    a_day_passes(session.s3, bucket)
    served.change(share)
    usage, _ = session.product(served, bucket, differential)
    manifest = session.restorer.product(served, bucket)
    served.change(share)
    return Day(usage, sum(entry["size_bytes"] for entry in manifest["repos"] if entry["status"] == "stored"))


def _restore(session: Session, served: Organisation, bucket: str) -> float:
    """Return the seconds in which everything is restored."""
    with session.scratch() as scratch:
        given = environment(session.stack, served, bucket, scratch)
        command = (*RESTORE, "fetch", "--all", "--into", str(scratch / "restored"), "--as", "mirrors")
        return session.meter.run(command, given, scratch)[0].wall
