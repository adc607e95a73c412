"""The benchmark: generate, record, compare, take apart, grow, spread over shards.

Every bundle that a run stores is restored and its refs are compared with the source's, so a fast backup that
loses a ref ends the benchmark.
"""

import time
from pathlib import Path

from bench.bounds import bounds, list_remotes
from bench.changes import changes
from bench.compare import compare
from bench.frugal_s3 import serve_frugal_s3
from bench.growth import grow, rehearse
from bench.lfs_content import lfs_content
from bench.organisation import organisation
from bench.plan import Plan
from bench.recorded import serve_recorded
from bench.repositories import compared, tiny
from bench.restored import Restorer
from bench.results import Results, machine, today
from bench.session import Session
from bench.shards import shards
from embedded.aws import EmbeddedAws
from embedded.github import FakeGitHub


def measure(plan: Plan, place: Path, repositories: Path, aws: EmbeddedAws) -> Results:
    """Do everything that the plan says. Raises DifferenceError where a restored ref differs."""
    say = Clock()
    with serve_recorded(place / "recorded") as recorded, serve_frugal_s3(place / "s3") as s3:
        recorded.set(latency=plan.latency)
        session = Session(place, s3, aws, recorded, Restorer(s3, place))
        ordinary, many = compared(repositories, plan), tiny(repositories, plan)
        say("repositories generated")
        with FakeGitHub() as github:
            served = organisation(github, recorded, ordinary)
            comparison = compare(session, served, plan.rounds, say)
            limits = bounds(session, served, comparison.traffic)
        say("lower bounds measured")
        with FakeGitHub() as github:
            small = organisation(github, recorded, many)
            rehearse(session, small)
            listed = list_remotes(session, small, plan.listed)
        say("`git ls-remote` measured")
        growth = list(grow(session, many, plan, say))
        in_shards = shards(session, many, plan, say)
        changed = changes(session, repositories, plan, say)
        content = lfs_content(session, plan)
        say("LFS objects measured")
        counted = (session.restorer.bundles, session.restorer.refs)
        return Results(
            today(), machine(), plan, comparison, limits, listed, growth, in_shards, changed, content, *counted
        )


class Clock:
    """Says what was done, with the seconds since the beginning."""

    def __init__(self) -> None:
        self._begun = time.monotonic()

    def __call__(self, text: str) -> None:
        print(f"{time.monotonic() - self._begun:7.0f} s  {text}", flush=True)
