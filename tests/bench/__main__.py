"""`make bench`: measure, print the figures, and write the page where asked."""

import argparse
import sys
import tempfile
from pathlib import Path

from bench.benchmark import measure
from bench.page import write_page
from bench.plan import Plan, planned
from bench.report import report
from bench.results import write
from bench.scaling import report as report_shards
from bench.scaling import write_section
from embedded.aws import serve_aws
from embedded.stack import PROJECT

OUTPUT = PROJECT / "build" / "bench"


def main() -> int:
    """Do what the command line asks for."""
    parser = argparse.ArgumentParser(description="Measure a backup beside others and beside its lower bounds.")
    parser.add_argument("--sizes", help="numbers of repositories for the growth, such as 100,1000; all shares")
    parser.add_argument("--full", action="store_true", help="10,000 repositories with all of them changed, too")
    parser.add_argument("--rounds", type=int, default=Plan.rounds, help="how often all take turns")
    parser.add_argument("--cache", type=Path, help="a folder that keeps the generated repositories")
    parser.add_argument(
        "--write",
        action="store_true",
        help="write docs/performance.md",
    )
    options = parser.parse_args()
    try:
        plan = planned(options.sizes, options.full, options.rounds)
    except ValueError:
        parser.error(f"--sizes takes numbers with commas in between, not {options.sizes}")
    with tempfile.TemporaryDirectory(prefix="backup-bench-") as name, serve_aws() as aws:
        results = measure(plan, Path(name), options.cache or Path(name) / "repositories", aws)
    print(f"{report(results)}\n\n{report_shards(results.shards)}")
    print(f"\nall figures: {write(results, OUTPUT)}")
    if options.write:
        docs = PROJECT / "docs"
        write_page(results, docs)
        print(f"the page: {write_section(results.shards, results.date, results.machine, docs)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
