"""`push`: repositories to GitHub or another git server."""

import os
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace

import requests
from structlog.typing import FilteringBoundLogger

from github_s3_backup.git.process import Git
from github_s3_backup.github.transport.http import new_session
from github_s3_backup.github.transport.rest import Api
from github_s3_backup.github.transport.uploads import LfsUploader
from github_s3_backup.restore.push.fetched import FetchedReader
from github_s3_backup.restore.push.git import GitPusher
from github_s3_backup.restore.push.issues.pusher import IssuePusher
from github_s3_backup.restore.push.lfs import LfsPusher
from github_s3_backup.restore.push.look_ahead import least_time, look_ahead
from github_s3_backup.restore.push.releases import ReleasePusher
from github_s3_backup.restore.push.repository import Pusher
from github_s3_backup.restore.push.targets.base import Target
from github_s3_backup.restore.push.targets.credentials import (
    CONNECTIONS,
    WriteAccess,
    open_credentials,
    read_write_access,
)
from github_s3_backup.restore.push.targets.git_server import GitServer
from github_s3_backup.restore.push.targets.github import GitHubTarget
from github_s3_backup.restore.push.targets.pace import LONG_WAIT, Pace, PacedApi
from github_s3_backup.restore.push.wiki import WikiPusher
from github_s3_backup.restore.selection.older import OlderBackups, OlderBundles
from github_s3_backup.restore.selection.records import Selected, Unavailable
from github_s3_backup.restore.session import FILES_PER_WORKER, Session, finish
from github_s3_backup.restore.terminal import no_limit
from github_s3_backup.restore.unbundle import MirrorSource
from github_s3_backup.restore.workers import Ended, Work, open_room
from github_s3_backup.runtime.units import format_bytes
from github_s3_backup.s3.download import BucketReader, OnBytes


def run(session: Session) -> int:
    """Push the selected repositories, or print what would be done, and return the exit code."""
    options = session.options
    access = read_write_access(os.environ, token_needed=not options.url)
    git = session.git(options.url or access.server_url)
    http = new_session(os.environ.get("SSL_CERT_FILE"), CONNECTIONS + FILES_PER_WORKER * options.concurrency)
    pace = Pace(time.monotonic, session.stop.sleep, session.log) if access.has_limits else None
    target = _target(session, access, http, git, pace)
    reader = FetchedReader(options.from_folder, session.reader) if options.from_folder else session.reader
    pusher = _pusher(session, MirrorSource(reader, git), target, http)
    selection = session.select()
    if isinstance(target, GitHubTarget):
        look_ahead(session, target, selection.selected, access.has_limits)
    clashes = _clashes(session, target, selection.selected)
    clashing = {clash.full_name for clash in clashes}
    selected = [repository for repository in selection.selected if repository.entry.full_name not in clashing]

    noted = set[tuple[str, str]]()

    def push(repository: Selected, on_bytes: OnBytes) -> str:
        with pusher.plan(repository, options.to or repository.entry.owner, options.dry_run) as plan:
            if options.dry_run:
                return "\n".join(plan.lines())
            for note in plan.notes:
                if (about := (repository.entry.full_name, note)) not in noted:
                    session.log.warning("left out", note=note)
                    noted.add(about)
            on_bytes(max(0, repository.size_bytes - plan.size))
            plan.perform(on_bytes)
        event = "pushed" if plan.actions else "already there"
        session.log.info(event, **repository.facts())
        return event

    is_slow = isinstance(target, GitHubTarget) and access.has_limits and not options.dry_run
    ended = _in_turn(session, selected, push, least_time if is_slow else lambda _: no_limit)
    if options.dry_run and ended.results:
        print("\n".join(sorted(ended.results)))
    if access.token and not options.dry_run:
        session.by_hand.note("revoke the token", "RESTORE_TOKEN")
    if pace and pace.longest >= LONG_WAIT:
        session.log.info("longest wait for GitHub", seconds=round(pace.longest))
    _say_what_was_taken(reader, session.log)
    return finish(session, [*selection.unavailable, *clashes, *ended.failures], len(ended.done), ended)


def _in_turn(
    session: Session, selected: Sequence[Selected], push: Work[str], least: Callable[..., Callable[[float], float]]
) -> Ended[str]:
    """Push everything but issues, and then those: they may take hours."""
    if session.options.dry_run:
        return session.workers.each(selected, push, "pushing", least(selected))
    first = [repository.before_issues() for repository in selected]
    ended = session.workers.each(first, push, "pushing", least(first))
    failed = {failure.full_name for failure in ended.failures}
    later = [each.with_issues_alone(each.entry.full_name in failed) for each in selected if each.has_issues]
    if ended.left:
        left = {*ended.left, *(each.entry.full_name for each in later)}
        return replace(ended, done=[name for name in ended.done if name not in left], left=sorted(left))
    return _together(ended, session.workers.each(later, push, "pushing issues", least(later))) if later else ended


def _together(git: Ended[str], issues: Ended[str]) -> Ended[str]:
    """Return how repositories ended of which the issues were pushed after the rest."""
    errors = {failure.full_name: failure.error for failure in issues.failures}
    for name, error in ((failure.full_name, failure.error) for failure in git.failures):
        errors[name] = error if errors.get(name, error) == error else f"{error}; {errors[name]}"
    done = [name for name in git.done if name not in errors and name not in issues.left]
    return Ended(git.results, [Unavailable(*failure) for failure in errors.items()], done, issues.left)


def _target(session: Session, access: WriteAccess, http: requests.Session, git: Git, pace: Pace | None) -> Target:
    options = session.options
    if options.url:
        if access.token:
            session.redactor.hide_token(access.token)
        return GitServer(options.url, Api(options.url, http, session.stop, session.log), access.token, git, session.log)
    credentials = open_credentials(access, session.aws, session.redactor, session.stop, session.log)
    api = PacedApi(access.api_url, http, session.stop, session.log, pace)
    return GitHubTarget(
        api, access.server_url, credentials, options.more_readers, session.by_hand, session.stop, session.log
    )


def _say_what_was_taken(reader: BucketReader, log: FilteringBoundLogger) -> None:
    """Say how much came from the folder of --from, and warn where that is nothing."""
    if not isinstance(reader, FetchedReader):
        return
    if reader.from_folder:
        log.info("taken from the folder", size_bytes=reader.from_folder, bucket=format_bytes(reader.from_bucket))
    elif reader.from_bucket:
        log.warning("nothing taken from the folder", bucket=format_bytes(reader.from_bucket))


def _pusher(session: Session, source: MirrorSource, target: Target, http: requests.Session) -> Pusher:
    options, stop, log = session.options, session.stop, session.log
    refs = GitPusher(
        source=source,
        older=OlderBundles(OlderBackups(session.catalogue, log), source.reader),
        room=open_room(session.scratch, stop),
        step_size=options.step_size * 1000**2,
        overwrite=options.overwrite,
        hidden_as=options.hidden_refs_as,
        stop=stop,
        log=log,
    )
    return Pusher(
        target=target,
        git=refs,
        lfs=LfsPusher(source.reader, session.pool, LfsUploader(http, stop, log)),
        releases=ReleasePusher(source.reader, log),
        wiki=WikiPusher(refs, log),
        issues=IssuePusher(source.reader, log),
        scratch=session.scratch,
    )


def _clashes(session: Session, target: Target, selected: tuple[Selected, ...]) -> list[Unavailable]:
    """Return the repositories that share their target with another one."""
    entries = [repository.entry for repository in selected]
    urls = {entry.full_name: target.url(session.options.to or entry.owner, entry.name) for entry in entries}
    count = Counter(url.lower() for url in urls.values())
    return [
        Unavailable(full_name, f"another selected repository would also be pushed to {url}")
        for full_name, url in urls.items()
        if count[url.lower()] > 1
    ]
