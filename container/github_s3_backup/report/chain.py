"""Follows the chain of manifests, and says where it breaks."""

from collections.abc import Sequence
from itertools import pairwise

from github_s3_backup.report.manifests import Run, Unreadable

SIGNATURES = {
    "wrong": "its signature does not match",
    "missing": "it names a key that signs it, and has no signature",
    "by another key": "it is signed by a key that is not trusted",
}


def breaks(runs: Sequence[Run | Unreadable], since: str) -> list[str]:
    """Return a sentence for each run that is missing, changed, or named by no later one. `runs`: the oldest first."""
    known = {run.run_id: run for run in runs}
    chained = [run for run in runs if isinstance(run, Run) and run.previous is not None]
    chaining = {run.run_id for run in chained}
    links = [(run, link) for run in chained for link in run.previous or ()]
    found = [
        f"run {link.run_id} is missing: run {run.run_id} names it"
        for run, link in links
        if link.run_id not in known and link.date >= since
    ]
    found += [
        f"run {link.run_id} was changed: its SHA-256 is not the one that run {run.run_id} names"
        for run, link in links
        if link.run_id in known and known[link.run_id].sha256 != link.sha256
    ]
    named = {link.run_id for _, link in links}
    numbers = [n for n, run in enumerate(runs) if run.run_id in named or run.run_id in chaining]
    unnamed = [run.run_id for run in runs[min(numbers) : max(numbers)] if run.run_id not in named] if numbers else []
    after = dict(pairwise(sorted(named | known.keys())))
    return found + [
        f"run {run_id} is named by no later run: it was added, or ended after the next one began"
        for run_id in unnamed
        if after[run_id] in chaining  # what a missing or damaged manifest named is not known
    ]


def flawed_signatures(runs: Sequence[Run | Unreadable], are_keys_known: bool) -> list[str]:
    """Return a sentence for each run whose signature is not good, and for unsigned ones beside signed ones."""
    readable = [run for run in runs if isinstance(run, Run)]
    found = [f"run {run.run_id}: {SIGNATURES[run.signature]}" for run in readable if run.signature in SIGNATURES]
    first = next((n for n, run in enumerate(readable) if run.signing_key), len(readable) if are_keys_known else None)
    if first is None:
        return found
    after = [run for run in readable[first:] if run.signature == "none"]
    found += [f"run {run.run_id} is not signed, though an older one is" for run in after]
    if before := readable[:first]:
        found.append(f"not signed, as no run before them was: {len(before)}, the last is {before[-1].run_id}")
    return found
