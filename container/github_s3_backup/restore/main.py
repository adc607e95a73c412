"""Restore from the backups in a bucket: list, diff, fetch, verify, push. Stock git is enough for one repository.

The story of a command: options, bucket, manifest, selection; then every selected repository, several
at once; then the summary and the exit code. What fails is said by name, and everything else goes on.
"""

import argparse
import io
import json
import os
import resource
import shutil
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar
from urllib.parse import urlsplit

import boto3
from botocore.exceptions import BotoCoreError, ClientError
from structlog.typing import FilteringBoundLogger

from github_s3_backup import metrics
from github_s3_backup.configuration import DEFAULT_SERVER_URL, DEFAULT_SERVICE_NAME, ConfigurationError
from github_s3_backup.disk import DiskFullError, readable
from github_s3_backup.git.process import Git, GitError
from github_s3_backup.github.app_key import AppKeyError
from github_s3_backup.github.rest import Api, GitHubError, new_session
from github_s3_backup.logs import ABOUT, new_logger
from github_s3_backup.manifest import Manifest, utc
from github_s3_backup.program import aws_session, s3_config
from github_s3_backup.redaction import Redactor
from github_s3_backup.restore import drill
from github_s3_backup.restore.credentials import CONNECTIONS, WriteAccess, read_write_access, token_source
from github_s3_backup.restore.differences import Difference, changed_pairs, compare_lists, compare_repository
from github_s3_backup.restore.fetch import Fetch, FetchError
from github_s3_backup.restore.options import parse
from github_s3_backup.restore.push import Push, PushError
from github_s3_backup.restore.room import Room
from github_s3_backup.restore.selection import LATEST, Chosen, Missing, Selection, manifest_of, matches_any, select
from github_s3_backup.restore.target import GitHubTarget, GitServer, Target
from github_s3_backup.restore.terminal import BesideBar, age, new_bar, table
from github_s3_backup.restore.unbundle import UnbundleError
from github_s3_backup.restore.verify import Verified, Verify
from github_s3_backup.s3.catalogue import Catalogue, CatalogueError
from github_s3_backup.s3.download import Bundles, DownloadError, OnBytes
from github_s3_backup.stop import Stop, Stopped

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from tqdm import tqdm

OK, SOME_FAILED, STOPPED = 0, 1, 143
DEADLINE = 16.0  # seconds after a signal
# S3 copies objects to another region in any order: a manifest may be there before its bundles. S3's promise is
# 15 minutes for nearly all of them.
SETTLED = timedelta(hours=1)

EVERYTHING = ["*/*"]

Result = TypeVar("Result")

# What one repository may end with while the others go on.
EXPECTED_ERRORS = (DownloadError, UnbundleError, FetchError, PushError, GitError, GitHubError, DiskFullError, OSError)
# What keeps a whole command from being done.
CAN_NOT_START = (CatalogueError, ConfigurationError, AppKeyError, GitHubError, BotoCoreError, ClientError)


@dataclass(frozen=True)
class Session:
    """What every command shares."""

    options: argparse.Namespace
    aws: boto3.session.Session
    s3: "S3Client"
    catalogue: Catalogue
    bundles: Bundles
    scratch: Path
    redactor: Redactor
    stop: Stop
    log: FilteringBoundLogger
    started_at: datetime

    def git(self, server_url: str = "file:///") -> Git:
        """Return git, which may read bundles on this disk, and talk to the given server."""
        return Git(self.scratch, server_url, self.stop, "file")


def main(arguments: Sequence[str]) -> int:
    """Run one command and return the exit code."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core file would hold the token
    options = parse(arguments)
    if isinstance(sys.stdout, io.TextIOWrapper):  # a branch's name may hold what this machine's terminal can't show
        sys.stdout.reconfigure(errors="backslashreplace")
    redactor, stop = Redactor(), Stop()
    log = new_logger(BesideBar(sys.stderr), redactor)
    try:
        with tempfile.TemporaryDirectory(prefix="github-restore-", ignore_cleanup_errors=True) as name:
            stop.listen(DEADLINE, lambda: give_up(Path(name)))
            session = new_session_of(options, Path(name), redactor, stop, log)
            return COMMANDS[options.command](session)
    except CAN_NOT_START as error:
        for problem in getattr(error, "problems", [str(error)]):
            log.error("problem", error=problem)
    except OSError as error:
        log.error("problem", error=f"this machine's disk or temporary folder (TMPDIR) can't be used: {error}")
    except Stopped:
        log.error("restore stopped: the same command goes on where it was", exit_code=STOPPED)
        return STOPPED
    except Exception:
        log.exception("bug, please report it")
    if options.command == "verify" and options.publish:
        publish(aws_session()[0], {metrics.RESTORE_VERIFIED: 0, metrics.RESTORE_FAILED: 1}, log)
    log.error("restore could not be done", exit_code=SOME_FAILED)
    return SOME_FAILED


def give_up(scratch: Path) -> NoReturn:
    """Leave without whoever does not answer in time."""
    shutil.rmtree(scratch, ignore_errors=True)
    os._exit(STOPPED)


def new_session_of(
    options: argparse.Namespace, scratch: Path, redactor: Redactor, stop: Stop, log: FilteringBoundLogger
) -> Session:
    aws, problems = aws_session()
    if problems:
        raise ConfigurationError(problems)
    if not (options.region or aws.region_name):
        raise ConfigurationError(["the region is not known: set --region or AWS_REGION to that of the bucket"])
    s3 = aws.client("s3", region_name=options.region or aws.region_name, config=s3_config(options.concurrency))
    catalogue = Catalogue(s3, options.bucket, options.prefix)
    bundles = Bundles(s3, options.bucket, stop, log)
    return Session(options, aws, s3, catalogue, bundles, scratch, redactor, stop, log, datetime.now(UTC))


def selection_of(session: Session) -> Selection:
    options = session.options
    patterns = options.patterns or EVERYTHING
    settled = SETTLED if getattr(options, "within_days", None) else timedelta(0)
    return select(session.catalogue, options.date or LATEST, options.version, patterns, session.log, settled)


# -- list ----------------------------------------------------------------------------------------


def list_backups(session: Session) -> int:
    """Show dates, the versions of a manifest, or the repositories of a backup."""
    options = session.options
    if options.versions:
        return list_versions(session)
    if options.date or options.patterns:
        return list_repositories(session)
    manifests, unreadable = [], []
    for date in session.catalogue.dates()[: options.limit]:
        try:
            manifests.append(manifest_of(session.catalogue, date, None, session.log))
        except CatalogueError as error:
            if not error.absent:
                unreadable.append(Missing(date, str(error)))
                continue
            session.log.warning("no manifest: the run is on its way, or was killed", date=date)
    if not manifests and not unreadable:
        raise CatalogueError(session.catalogue.nothing_here())
    rows = [about_manifest(one) for one in manifests]
    show(options, rows, session.started_at)
    return finish(session, unreadable, len(rows))


def about_manifest(manifest: Manifest) -> dict[str, Any]:
    return {
        "date": manifest.date,
        "complete": manifest.complete,
        "repositories": manifest.success_count,
        "failed": manifest.failure_count,
        "size_bytes": sum(one.size_bytes for one in manifest.entries),
        "finished_at": utc(manifest.finished_at),
    }


def list_versions(session: Session) -> int:
    dates = session.catalogue.dates()
    date = session.options.date if session.options.date not in (None, LATEST) else (dates or [""])[0]
    rows, unreadable = [], []
    for version in session.catalogue.versions(date):
        try:
            manifest = session.catalogue.manifest(date, version.version_id)
            rows.append({"version": version.version_id, **about_manifest(manifest)})
        except CatalogueError as error:
            unreadable.append(Missing(version.version_id, str(error)))
    if not rows and not unreadable:
        raise CatalogueError(
            f"there is no manifest of {date}: `list` shows the dates" if date else session.catalogue.nothing_here()
        )
    show(session.options, rows, session.started_at)
    return finish(session, unreadable, len(rows))


def list_repositories(session: Session) -> int:
    selection = selection_of(session)
    rows = [
        {
            "repository": one.entry.full_name,
            "date": one.date,
            "status": one.entry.status,
            "size_bytes": one.entry.size_bytes,
            "refs": one.entry.ref_count,
            "default_branch": one.entry.default_branch,
            "backed_up_at": one.entry.backed_up_at,
        }
        for one in selection.chosen
    ]
    show(session.options, rows, session.started_at)
    return finish(session, selection.missing, len(rows))


def show(options: argparse.Namespace, rows: list[dict[str, Any]], now: datetime) -> None:
    """Print rows as a table for a person, or as JSON."""
    if options.json:
        print(json.dumps(rows, indent=2), flush=True)  # so that a full disk is an error
        return

    def cell(name: str, value: Any) -> Any:
        if name == "size_bytes":
            return readable(value)
        if name in ("finished_at", "backed_up_at"):
            return age(datetime.fromisoformat(value), now)
        return ("yes" if value else "no") if isinstance(value, bool) else value

    titles = {"size_bytes": "size", "finished_at": "age", "backed_up_at": "age", "default_branch": "default branch"}
    if rows:
        print(
            table([titles.get(name, name) for name in rows[0]], [[cell(*one) for one in row.items()] for row in rows])
        )


# -- diff ----------------------------------------------------------------------------------------


def diff(session: Session) -> int:
    """Show what changed from one backup to another."""
    options = session.options
    old, new = (manifest_of(session.catalogue, date, None, session.log) for date in (options.old, options.new))
    patterns = options.patterns or EVERYTHING
    found = [one for one in compare_lists(old, new) if matches_any(one.full_name, patterns)]
    pairs = {b.id: (a, b) for a, b in changed_pairs(old, new) if matches_any(b.full_name, patterns)}
    changed = [Chosen(after, new.date) for _, after in pairs.values()]
    git = None if options.quick else session.git()

    def compare(one: Chosen, on_bytes: OnBytes) -> list[Difference]:
        differences = list(compare_repository(*pairs[one.entry.id], session.bundles, git))
        on_bytes(one.entry.size_bytes)
        return differences

    compared, failed = each(changed, compare, "comparing", session)
    found += [difference for one in compared for difference in one]
    found.sort(key=lambda one: (one.full_name, one.kind))
    show(options, [asdict(one) for one in found], session.started_at)
    if not (found or failed or options.json):
        print(f"nothing appeared, vanished, failed, shrank or was rewritten from {old.date} to {new.date}")
    return finish(session, failed, len(found))


# -- fetch, verify, push -------------------------------------------------------------------------


def fetch(session: Session) -> int:
    """Fetch the selected repositories to a folder."""
    options = session.options
    server_url = os.environ.get("GITHUB_SERVER_URL", "").strip().rstrip("/") or DEFAULT_SERVER_URL
    into = options.into.expanduser().resolve()
    into.mkdir(parents=True, exist_ok=True)
    way = Fetch(session.bundles, session.git(), into, options.form, server_url)
    selection = selection_of(session)

    def do(one: Chosen, on_bytes: OnBytes) -> str:
        return say(session, way.fetch(one.entry, on_bytes), one)

    done, failed = each(selection.chosen, do, "fetching", session)
    way.tidy()
    return finish(session, [*selection.missing, *failed], len(done))


def verify(session: Session) -> int:
    """Prove that the selected repositories, or a drill's sample, can be restored."""
    options = session.options
    reports = drill_reports(session)
    history = drill.History()
    selection = selection_of(session)
    chosen = list(selection.chosen)
    if reports:
        try:
            history = reports.history()
        except drill.ReportError as error:
            session.log.warning("rotation begins anew", error=str(error))
    if options.within_days:
        within, every = timedelta(days=options.within_days), timedelta(hours=options.every_hours)
        chosen = drill.sample(selection.chosen, history, session.started_at, within, every)
    session.log.info("verifying", repositories=len(chosen), of=len(selection.chosen), date=selection.manifest.date)
    way = Verify(session.bundles, session.git(), Room(session.scratch, session.stop), session.scratch)

    def do(one: Chosen, on_bytes: OnBytes) -> Verified:
        result = way.verify(one, on_bytes)
        if result.status == "verified":
            say(session, "verified", one, duration=result.seconds)
        return result

    done, failed = each(chosen, do, "verifying", session)
    report = drill.new_report(options.bucket, selection, done, session.started_at, history)
    failed = [*drill.failures(report), *failed]
    failed += put_report(session, report, reports)
    if options.publish:
        values = {
            metrics.RESTORE_VERIFIED: report["verified"],
            metrics.RESTORE_FAILED: len(failed),
            metrics.RESTORE_SECONDS: report["restore_seconds"],
        }
        publish(session.aws, values, session.log)
    return finish(session, failed, report["verified"])


def push(session: Session) -> int:
    """Push the selected repositories to GitHub or another git server."""
    options = session.options
    access = read_write_access(os.environ, token_needed=not options.url)
    git = session.git(options.url or access.server_url)
    target = target_of(session, access, git)
    size = options.step_size * 1000**2
    room = Room(session.scratch, session.stop)
    way = Push(session.bundles, git, target, room, session.scratch, size, options.overwrite, session.stop, session.log)
    selection = selection_of(session)
    entries = [one.entry for one in selection.chosen]
    places = {one.full_name: target.url(options.to or one.owner, one.name) for one in entries}
    clashing = clashes(places)
    chosen = [one for one in selection.chosen if one.entry.full_name not in {c.full_name for c in clashing}]

    def do(one: Chosen, on_bytes: OnBytes) -> str:
        owner = options.to or one.entry.owner
        if not options.dry_run:
            return say(session, way.push(one.entry, owner, on_bytes), one)
        lines = way.plan(one.entry, owner)
        return "\n  ".join([f"{one.entry.full_name} of {one.date} -> {places[one.entry.full_name]}", *lines])

    done, failed = each(chosen, do, "pushing", session)
    if options.dry_run and done:
        print("\n".join(sorted(done)))
    return finish(session, [*selection.missing, *clashing, *failed], len(done))


def target_of(session: Session, access: WriteAccess, git: Git) -> Target:
    if session.options.url:
        if access.token:
            session.redactor.hide_token(access.token)
        return GitServer(session.options.url, access.token, git, session.log.warning)
    token_of = token_source(access, session.aws, session.redactor, session.stop, session.log)
    api = Api(access.api_url, new_session(os.environ.get("SSL_CERT_FILE"), CONNECTIONS), session.stop, session.log)
    return GitHubTarget(api, access.server_url, token_of, session.log.warning)


def clashes(places: dict[str, str]) -> list[Missing]:
    """Return the repositories that would go to one place with another one. `places`: URLs by full name."""
    times = Counter(place.lower() for place in places.values())
    return [
        Missing(full_name, f"another selected repository would go to {place} too")
        for full_name, place in places.items()
        if times[place.lower()] > 1
    ]


COMMANDS: dict[str, Callable[[Session], int]] = {
    "list": list_backups,
    "diff": diff,
    "fetch": fetch,
    "verify": verify,
    "push": push,
}


# -- every repository ----------------------------------------------------------------------------


def each(
    chosen: Sequence[Chosen], do: Callable[[Chosen, OnBytes], Result], title: str, session: Session
) -> tuple[list[Result], list[Missing]]:
    """Do something for each repository, several at once; return what came of them, and what failed."""
    done: list[Result] = []
    failed: list[Missing] = []

    def one_way(one: Chosen) -> Result:
        ABOUT.set(lambda: {"full_name": one.entry.full_name})
        session.stop.check()
        return do(one, count)

    with new_bar(title, sum(one.entry.size_bytes for one in chosen)) as bar:
        count = counting(bar)
        with ThreadPoolExecutor(session.options.concurrency) as pool:
            # The largest first: the command ends with small ones on every worker.
            ordered = sorted(chosen, key=lambda one: -one.entry.size_bytes)
            waiting = {pool.submit(one_way, one): one for one in ordered}
            for future in as_completed(waiting):
                try:
                    done.append(future.result())
                except EXPECTED_ERRORS as error:
                    failed.append(Missing(waiting[future].entry.full_name, str(error)))
    return done, failed


def counting(bar: "tqdm[NoReturn]") -> OnBytes:
    """Return what adds bytes to the bar, from any thread."""
    lock = threading.Lock()

    def count(number: int) -> None:
        with lock:
            bar.update(number)

    return count


def say(session: Session, event: str, one: Chosen, **more: Any) -> str:
    """Log how one repository's way ended."""
    session.log.info(event, size_bytes=one.entry.size_bytes, refs=one.entry.ref_count, date=one.date, **more)
    return event


# -- the end -------------------------------------------------------------------------------------


def finish(session: Session, failed: Sequence[Missing], done: int) -> int:
    """Say what failed, log the summary, and return the exit code."""
    for one in failed:
        session.log.error("failed", full_name=one.full_name, error=one.error)
    code = SOME_FAILED if failed else OK
    seconds = (datetime.now(UTC) - session.started_at).total_seconds()
    if session.options.command in ("fetch", "verify", "push") or failed:
        speak = session.log.error if failed else session.log.info
        speak(
            f"{session.options.command} finished",
            exit_code=code,
            done=done,
            failed=len(failed),
            duration=round(seconds, 3),
        )
    return code


def drill_reports(session: Session) -> drill.Reports | None:
    """Return the place of the reports, None where the report goes to a file or to stdout."""
    url = session.options.report or ""
    if not url.startswith("s3://"):
        return None
    parts = urlsplit(url)
    # In the region of this machine: the backups that are read may be in another one.
    return drill.Reports(session.aws.client("s3", config=s3_config(1)), parts.netloc, parts.path)


def put_report(session: Session, report: dict[str, Any], reports: drill.Reports | None) -> list[Missing]:
    """Write the report where it was asked for; return what went wrong."""
    path = session.options.report
    try:
        if reports:
            session.log.info("report written", report=reports.put(report))
        elif path:
            Path(path).write_text(json.dumps(report, indent=2) + "\n")
        else:
            print(json.dumps(report, indent=2), flush=True)
    except (drill.ReportError, OSError) as error:
        return [Missing("report", str(error))]
    return []


def publish(aws: boto3.session.Session, values: dict[str, float], log: FilteringBoundLogger) -> None:
    """Publish a verification's metrics; one outside AWS goes on without them."""
    service = os.environ.get("SERVICE_NAME", "").strip() or DEFAULT_SERVICE_NAME
    try:
        metrics.publish(aws.client("cloudwatch", config=s3_config(1)), service, values)
    except (BotoCoreError, ClientError, ValueError) as error:
        log.warning("metrics not published", error=str(error))
