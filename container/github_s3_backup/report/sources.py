"""Reads what a report is made of: the manifests in a bucket, and the reports of drills in the same or another one."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from github_s3_backup.records.signing import PublicKey
from github_s3_backup.report.drills import read_drills
from github_s3_backup.report.facts import Facts, Period, Read, facts_of
from github_s3_backup.report.manifests import Run, read_document, read_runs
from github_s3_backup.s3.catalogue import Catalogue
from github_s3_backup.s3.errors import AbsentError
from github_s3_backup.s3.keys import url_of
from github_s3_backup.s3.objects import Objects


@dataclass(frozen=True)
class Sources:
    """Where a report comes from. `keys`: whose signatures count. `drills_folder`: of the drills' reports, by day.

    `retention_days`: for which backups are kept, None where that is not known.
    """

    name: str
    catalogue: Catalogue
    keys: Sequence[PublicKey]
    drills: Objects
    drills_folder: str
    retention_days: int | None


def read_facts(sources: Sources, days: int) -> Facts:
    """Return what a report of the last `days` says, today included. Raises S3Error, also where there is no run."""
    now = datetime.now(UTC)
    since = f"{now - timedelta(days=days - 1):%Y-%m-%d}"
    runs = read_runs(sources.catalogue, since, sources.keys)
    if not runs:
        place = f"{url_of(sources.catalogue.bucket, sources.catalogue.prefix)}/"
        raise AbsentError(
            f"there is no backup of the last {days} days in {place}: check --bucket, --prefix, and --days"
        )
    newest = next((run for run in reversed(runs) if isinstance(run, Run) and run.outcome != "stopped"), None)
    read = Read(
        period=Period(sources.name, since, f"{now:%Y-%m-%d}", now, sources.retention_days),
        runs=runs,
        newest=read_document(sources.catalogue, newest) if newest else None,
        drills=read_drills(sources.drills, sources.drills_folder, since),
        are_keys_known=bool(sources.keys),
    )
    return facts_of(read)
