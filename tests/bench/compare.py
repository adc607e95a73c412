"""The three in turn, on the same repositories, several times."""

from collections.abc import Callable
from dataclasses import dataclass, field

from bench.days import a_day_passes
from bench.measure import Usage
from bench.organisation import Organisation
from bench.recorded import Traffic
from bench.session import Session

CHANGED_SHARE = 3
FULL, CHANGED, LOOP, GITHUB_BACKUP = "full", "changed", "loop", "github-backup"


@dataclass
class Comparison:
    """What each run took, by who ran; and what the last full run asked GitHub for."""

    runs: dict[str, list[Usage]] = field(
        default_factory=lambda: {who: [] for who in (FULL, LOOP, GITHUB_BACKUP, CHANGED)}
    )
    traffic: Traffic = field(default_factory=lambda: Traffic([], 0))


def compare(session: Session, organisation: Organisation, rounds: int, say: Callable[[str], None]) -> Comparison:
    """Let all take turns, once to record and warm up and then `rounds` times."""
    comparison = Comparison()
    session.recorded.set(recording=True)
    one_round(session, organisation, comparison)
    session.recorded.set(recording=False)
    say("warm-up done, everything recorded")
    comparison.runs = {name: [] for name in comparison.runs}
    for number in range(1, rounds + 1):
        one_round(session, organisation, comparison)
        walls = ", ".join(f"{name} {usages[-1].wall:.1f} s" for name, usages in comparison.runs.items())
        say(f"round {number} of {rounds}: {walls}")
    return comparison


def one_round(session: Session, organisation: Organisation, comparison: Comparison) -> None:
    """Run each once: the product again on the next day, when a few repositories have changed."""
    with session.bucket() as bucket:
        usage, comparison.traffic = session.product(organisation, bucket)
        comparison.runs[FULL].append(usage)
        session.restorer.product(organisation, bucket)
        comparison.runs[LOOP].append(session.loop(organisation))
        comparison.runs[GITHUB_BACKUP].append(session.github_backup(organisation))
        a_day_passes(session.s3, bucket)
        organisation.change(CHANGED_SHARE)
        comparison.runs[CHANGED].append(session.product(organisation, bucket)[0])
        session.restorer.product(organisation, bucket)
        organisation.change(CHANGED_SHARE)
