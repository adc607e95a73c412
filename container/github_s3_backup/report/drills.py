"""Reads the reports of the restore drills."""

from dataclasses import dataclass

import msgspec

from github_s3_backup.runtime.threads import map_at_once
from github_s3_backup.s3.catalogue import DATE
from github_s3_backup.s3.objects import Objects

READERS = 4


class Restored(msgspec.Struct, frozen=True):
    """A repository in a drill's report."""

    full_name: str
    id: int
    size_bytes: int
    status: str
    seconds: float
    error: str | None = None
    content_bytes: int = 0


class Drill(msgspec.Struct, frozen=True):
    """A drill's report. `last_proven`: by repository id, when it was last restored and found whole."""

    run_id: str
    started_at: str
    finished_at: str
    verified: int
    failed: int
    repositories: tuple[Restored, ...]
    last_proven: dict[str, str]


# Made before there are threads: msgspec can crash where several look into a type for the first time at once.
DECODER = msgspec.json.Decoder(Drill)


@dataclass(frozen=True)
class Drills:
    """The reports of a period, the oldest first. `unreadable`: the keys of those that can't be used."""

    reports: tuple[Drill, ...]
    unreadable: tuple[str, ...]


def read_drills(objects: Objects, folder: str, since: str) -> Drills:
    """Return the drills' reports below a folder from a day on. Raises S3Error where they can't be read."""
    names = (name.rstrip("/").rpartition("/")[2] for name in objects.folders(f"{folder}/"))
    dates = sorted(name for name in names if DATE.fullmatch(name) and name >= since)
    keys = [f"{folder}/{date}/report.json" for date in dates]
    keys = [key for key, found in zip(keys, map_at_once(objects.keys, keys, READERS), strict=True) if key in found]
    bodies = map_at_once(objects.get, keys, READERS)
    reports, unreadable = [], []
    for key, body in zip(keys, bodies, strict=True):
        try:
            reports.append(DECODER.decode(body))
        except msgspec.MsgspecError:
            unreadable.append(key)
    return Drills(tuple(reports), tuple(unreadable))
