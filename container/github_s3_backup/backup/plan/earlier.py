"""Finds the runs before this one: the newest that can be compared with, and those that no other run names yet."""

import hashlib
from dataclasses import dataclass, replace

from github_s3_backup.records.manifest import Manifest, PreviousRun
from github_s3_backup.records.signing import PublicKey
from github_s3_backup.s3.catalogue import Catalogue
from github_s3_backup.s3.errors import AbsentError, DamagedError


@dataclass(frozen=True)
class Earlier:
    """The runs before this one.

    `manifest`: the newest complete one that can be used. `problems`: why newer ones can't be. `previous`: the runs that
    this run's manifest is to name, the newest first: one, and several where runs went on at the same time.
    """

    manifest: Manifest | None
    problems: tuple[str, ...]
    previous: tuple[PreviousRun, ...]


def earlier_runs(catalogue: Catalogue, today: str, key: PublicKey | None) -> Earlier:
    """Read as many manifests as it takes, the newest first. Raises S3Error where one can't be read.

    Where `key` signs, a run that it signed counts before newer ones that it did not sign.
    """
    earlier = _newest(catalogue, today)
    if key is None or earlier.manifest is None or _is_signed(catalogue, earlier.manifest, key):
        return earlier
    signed = _newest_signed(catalogue, today, key)
    if signed is None:  # signing begins with this run, or the key is a new one
        return earlier
    name, older = f"the manifest of run {earlier.manifest.run_id}", f"that of run {signed.run_id}"
    problem = f"{name} is not signed by the key {key.id}, though {older} is"
    return replace(earlier, manifest=signed, problems=(*earlier.problems, problem))


def _newest(catalogue: Catalogue, today: str) -> Earlier:
    manifest: Manifest | None = None
    problems: list[str] = []
    previous: list[PreviousRun] = []
    named: set[str] = set()
    is_open = True  # there may be more runs that none of those read so far names
    for date, run_id in catalogue.runs(today):
        is_open = is_open and run_id not in named
        if manifest and not is_open:
            break
        try:
            body = catalogue.manifest_bytes(date, run_id)
        except AbsentError:  # deleted a moment ago
            continue
        if is_open:
            previous.append(PreviousRun(date=date, run_id=run_id, sha256=hashlib.sha256(body).hexdigest()))
        try:
            found = catalogue.parse(date, run_id, body)
        except DamagedError as error:
            problems += [] if manifest else [str(error)]
            continue
        is_open = is_open and found.previous is not None  # older releases named none
        named |= {run.run_id for run in found.previous or ()}
        manifest = manifest or (found if found.complete else None)
    return Earlier(manifest, tuple(problems), tuple(run for run in previous if run.run_id not in named))


def _newest_signed(catalogue: Catalogue, today: str, key: PublicKey) -> Manifest | None:
    """Return the newest complete manifest that the key has signed."""
    for date, run_id in catalogue.runs(today):
        signature = catalogue.signature(date, run_id)
        if signature is None:
            continue
        try:
            body = catalogue.manifest_bytes(date, run_id)
            manifest = catalogue.parse(date, run_id, body)
        except (AbsentError, DamagedError):
            continue
        if manifest.complete and key.has_signed(body, signature):
            return manifest
    return None


def _is_signed(catalogue: Catalogue, manifest: Manifest, key: PublicKey) -> bool:
    signature = catalogue.signature(manifest.date, manifest.run_id)
    return signature is not None and key.has_signed(catalogue.manifest_bytes(manifest.date, manifest.run_id), signature)
