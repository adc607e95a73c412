"""`fetch`: repositories into a folder."""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from github_s3_backup.configuration import DEFAULT_SERVER_URL
from github_s3_backup.restore.fetch.destination import Destination, alone_in, remove_partial_folder
from github_s3_backup.restore.fetch.repository import Fetcher
from github_s3_backup.restore.selection.older import OlderBackups, OlderBundles
from github_s3_backup.restore.selection.records import Selected, sizes_in_words
from github_s3_backup.restore.session import Session, finish
from github_s3_backup.restore.unbundle import MirrorSource
from github_s3_backup.runtime.units import format_bytes
from github_s3_backup.s3.download import OnBytes


def run(session: Session) -> int:
    """Fetch the selected repositories and return the exit code."""
    options = session.options
    folder = options.into.expanduser().resolve()
    folder.mkdir(parents=True, exist_ok=True)
    with alone_in(folder):
        return _fetch(session, folder)


def _fetch(session: Session, folder: Path) -> int:
    options = session.options
    server_url = os.environ.get("GITHUB_SERVER_URL", "").strip().rstrip("/") or DEFAULT_SERVER_URL
    destination = Destination(folder, options.form, server_url)
    source = MirrorSource(session.reader, session.git())
    older = OlderBundles(OlderBackups(session.catalogue, session.log), session.reader)
    fetcher = Fetcher(destination, source, older, session.pool, session.log)
    selection = session.select()
    _look_ahead(session, selection.selected, folder)

    def fetch(repository: Selected, on_bytes: OnBytes) -> None:
        event = fetcher.fetch(repository.entry, on_bytes)
        session.log.info(event, **repository.facts())

    ended = session.workers.each(selection.selected, fetch, "fetching")
    remove_partial_folder(folder)
    return finish(session, [*selection.unavailable, *ended.failures], len(ended.done), ended)


def _look_ahead(session: Session, selected: Sequence[Selected], folder: Path) -> None:
    """Log how much there is to fetch, and whether the disk has room for it."""
    size, free = sum(repository.size_bytes for repository in selected), shutil.disk_usage(folder).free
    about = {"size_bytes": size, **sizes_in_words(selected), "disk_free": format_bytes(free)}
    session.log.info("about to fetch", repositories=len(selected), **about)
    if size > free:
        words = f"the repositories have {format_bytes(size)}, and {format_bytes(free)} are free in {folder}"
        session.log.warning("disk too small", error=words)
