"""How cost grows with the number of repositories and with the share of them that changed overnight."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from bench.days import a_day_passes
from bench.measure import Usage
from bench.organisation import Organisation, organisation
from bench.plan import Plan
from bench.repositories import Generated
from bench.session import Session
from embedded.github import FakeGitHub


@dataclass(frozen=True)
class Row:
    """One run: the first one, or with a `share` (percent) of the repositories changed, on the day after another.

    `uploaded`: bytes that were sent to S3 as bundles. `unchanged`: repositories that wrote nothing; those that are
    neither changed nor unchanged were due.
    """

    repositories: int
    share: int | None
    changed: int
    uploaded: int
    unchanged: int
    usage: Usage

    @property
    def objects_beside_bundles(self) -> int:
        """What the run wrote besides a bundle for each repository that it cloned."""
        return self.usage.s3_objects - (self.repositories - self.unchanged)

    @property
    def name(self) -> str:
        return "all new" if self.share is None else f"{self.share} % changed"


def rehearse(session: Session, small: Organisation) -> None:
    """Have every content asked for as a new one, as an unchanged one and as a changed one, to record the answers."""
    session.recorded.set(recording=True)
    with session.bucket() as bucket:
        for share in (0, 0, 100):
            small.change(share)
            session.product(small, bucket)
            a_day_passes(session.s3, bucket)


def grow(session: Session, tiny: list[Generated], plan: Plan, say: Callable[[str], None]) -> Iterator[Row]:
    """Yield what a day costs at each number of repositories and each share of changed ones."""
    for number, shares in plan.growth:
        with FakeGitHub() as github, session.bucket() as bucket:
            grown = organisation(github, session.recorded, tiny, number)
            session.recorded.set(recording=True)  # the pages of the listing, which no rehearsal knows
            row = a_run(session, grown, bucket, None)
            session.recorded.set(recording=False)
            say(f"{number} repositories, {row.name}: {row.usage.wall:.1f} s")
            yield row
            for share in shares:
                a_day_passes(session.s3, bucket)
                row = a_run(session, grown, bucket, share)
                say(f"{number} repositories, {row.name}: {row.usage.wall:.1f} s")
                yield row


def a_run(session: Session, grown: Organisation, bucket: str, share: int | None) -> Row:
    """Let a share change, and measure the run."""
    changed = len(grown.repositories) if share is None else grown.change(share)
    usage, _ = session.product(grown, bucket)
    manifest = session.restorer.product(grown, bucket)
    states = [entry["status"] for entry in manifest["repos"]]
    uploaded = sum(entry["size_bytes"] for entry in manifest["repos"] if entry["status"] == "stored")
    return Row(len(states), share, changed, uploaded, states.count("unchanged"), usage)
