"""`verify`: prove that the selected repositories, or a drill's sample of them, can be restored."""

import json
import shutil
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from github_s3_backup.program import s3_config
from github_s3_backup.restore.check import check_age, newest_complete
from github_s3_backup.restore.selection.older import OlderBackups, OlderBundles
from github_s3_backup.restore.selection.records import Selected, Selection, Unavailable
from github_s3_backup.restore.session import Session, finish, service_name
from github_s3_backup.restore.unbundle import MirrorSource
from github_s3_backup.restore.verify import drill
from github_s3_backup.restore.verify.chain import chain
from github_s3_backup.restore.verify.page import write_page
from github_s3_backup.restore.verify.repository import Verified, Verifier
from github_s3_backup.restore.workers import Ended
from github_s3_backup.runtime import metrics
from github_s3_backup.runtime.capacity import machine_capacity, restore_reservation
from github_s3_backup.runtime.units import format_bytes
from github_s3_backup.s3.download import OnBytes
from github_s3_backup.s3.objects import Objects

# S3 replicates objects in any order: a manifest may arrive before its bundles. S3 promises 15 minutes for nearly all.
REPLICATED_AFTER = timedelta(hours=1)


def run(session: Session) -> int:
    """Verify the repositories, write the report and return the exit code."""
    options = session.options
    reports = _reports(session)
    history = _read_history(session, reports)
    selection = session.select(REPLICATED_AFTER if options.within_days else timedelta(0))
    ended = _verify_all(session, selection, _sample(session, selection, history))
    stale = check_age(newest_complete(session), session) if options.max_age_hours else []
    outcome = drill.Outcome(ended.results, [*stale, *selection.unavailable, *ended.failures])
    report = drill.new_report(options.bucket, selection, outcome, session.started_at, history)
    report |= {"signing_key": selection.manifest.signing_key, "signature_checked": bool(options.trusted_key)}
    report |= {"left": ended.left}
    report |= {"chain": chain(session) if options.trusted_key else None}
    failures = [*drill.failures(report), *_write_report(session, report, reports)]
    if options.within_days and reports:
        write_page(session, reports)
    if options.publish and not ended.left:
        values = {
            metrics.RESTORE_VERIFIED: report["verified"],
            metrics.RESTORE_FAILED: len(failures),
            metrics.RESTORE_SECONDS: report["restore_seconds"],
            metrics.OLDEST_PROOF: report["oldest_proof_seconds"],
        }
        metrics.publish(session.aws, service_name(), values, session.log)
    return finish(session, failures, report["verified"], ended)


def _sample(session: Session, selection: Selection, history: drill.History) -> list[Selected]:
    """Return the repositories of this drill; all that are selected if it is none."""
    options = session.options
    if not options.within_days:
        return list(selection.selected)
    # The last bundle of a vanished repository may expire at any time.
    current = tuple(repository for repository in selection.selected if repository.origin != "vanished")
    within, every = timedelta(days=options.within_days), timedelta(hours=options.every_hours)
    return drill.sample(current, history, session.started_at, within, every)


def _verify_all(session: Session, selection: Selection, sample: list[Selected]) -> Ended[Verified]:
    capacity = machine_capacity(session.scratch, session.stop)
    source = MirrorSource(session.reader, session.git())
    older = OlderBundles(OlderBackups(session.catalogue, session.log), session.reader)
    verifier = Verifier(source, older, capacity, session.pool, session.scratch)
    needed = restore_reservation(max((each.entry.restore_bytes for each in sample), default=0)).disk
    session.log.info(
        "verifying",
        repositories=len(sample),
        of=len(selection.selected),
        date=selection.manifest.date,
        disk_needed=format_bytes(needed),
        disk_free=format_bytes(shutil.disk_usage(session.scratch).free),
    )

    def verify(repository: Selected, on_bytes: OnBytes) -> Verified:
        result = verifier.verify(repository, on_bytes)
        if result.status == "verified":
            session.log.info("verified", **repository.facts(), duration=result.seconds)
        return result

    return session.workers.each(sample, verify, "verifying")


def _reports(session: Session) -> drill.Reports | None:
    """Return the reports in S3, None if the report goes to a file or to stdout."""
    url = session.options.report or ""
    if not url.startswith("s3://"):
        return None
    parts = urlsplit(url)
    # In this machine's region: the backups may be in another one.
    return drill.Reports(Objects(session.aws.client("s3", config=s3_config(1)), parts.netloc), parts.path)


def _read_history(session: Session, reports: drill.Reports | None) -> drill.History:
    try:
        return reports.history(session.started_at) if reports else drill.History()
    except drill.ReportError as error:
        session.log.warning("last drill report not readable, starting over", error=str(error))
        return drill.History()


def _write_report(session: Session, report: dict[str, Any], reports: drill.Reports | None) -> list[Unavailable]:
    """Write the report where it was asked for, and return what went wrong."""
    path = session.options.report
    try:
        if reports:
            session.log.info("report written", report=reports.put(report))
        elif path:
            Path(path).write_text(json.dumps(report, indent=2) + "\n")
        else:
            print(json.dumps(report, indent=2), flush=True)
    except (drill.ReportError, OSError) as error:
        return [Unavailable("report", str(error))]
    return []
