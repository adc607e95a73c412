"""The plan of a run: what is to be done, in shards that can be backed up by different tasks; and their reports."""

from typing import Literal

import msgspec

from github_s3_backup.backup.plan.vanished import Unlisted
from github_s3_backup.records.entry import Entry, Failure, Vanished
from github_s3_backup.records.manifest import PreviousRun
from github_s3_backup.repository import Repository


class LastRun(msgspec.Struct, frozen=True, kw_only=True):
    """The run that the last backup is of."""

    date: str
    run_id: str


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What a run knows before it backs up the first repository, besides its shards.

    `failures`: what could not be listed. `last_good`: what earlier runs stored of these. `vanished`: what had vanished
    before this run. `held`: how many repositories the last backup held. `problems`: what else makes the run fail.
    `overdue_copies`: the keys of objects that the replica should have and has not, as far as was seen.
    `shards`: their numbers. `previous`: the runs before this one that its manifest is to name.
    """

    failures: tuple[Failure, ...]
    last_good: tuple[Entry, ...]
    vanished: tuple[Vanished, ...]
    problems: tuple[str, ...]
    held: int
    last_run: LastRun | None
    overdue_copies: tuple[str, ...]
    shards: tuple[str, ...]
    previous: tuple[PreviousRun, ...] = ()


class Shard(msgspec.Struct, frozen=True, kw_only=True):
    """Repositories that one task backs up, in this order, and then looks for those that GitHub does not list.

    `workers`: how many at once. `shares`: in how many shards at most an installation of these is, which share what it
    may ask of GitHub. `disk`: the bytes of temporary disk that the largest takes. `known` and `failed`: what the last
    backup holds of them, and what it failed to store. `patient`: wait for GitHub's rate limit when looking for what is
    `unlisted`.
    """

    number: str
    repositories: tuple[Repository, ...]
    workers: int
    shares: int
    disk: int
    known: tuple[Entry, ...]
    failed: tuple[Failure, ...]
    unlisted: tuple[Unlisted, ...] = ()
    patient: bool = True


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a shard. `vanished`: the last bundles of what was deleted. `last_good`: those of what failed.

    `state`: "stopped" by a signal before all was done, or "lost" with its task, so that others speak for it.
    """

    shard: str
    entries: tuple[Entry, ...]
    failures: tuple[Failure, ...]
    vanished: tuple[Vanished, ...] = ()
    last_good: tuple[Entry, ...] = ()
    bytes_uploaded: int = 0
    overdue_copies: tuple[str, ...] = ()
    state: Literal["finished", "stopped", "lost"] = "finished"
