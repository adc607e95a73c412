"""`fetch`: repositories into a folder."""

import os
from pathlib import Path

from github_s3_backup.configuration import DEFAULT_SERVER_URL
from github_s3_backup.restore.fetch.destination import Destination, alone_in, remove_partial_folder
from github_s3_backup.restore.fetch.repository import Fetcher
from github_s3_backup.restore.selection.older import OlderBackups, OlderBundles
from github_s3_backup.restore.selection.records import Selected
from github_s3_backup.restore.session import Session, finish
from github_s3_backup.restore.unbundle import MirrorSource
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

    def fetch(repository: Selected, on_bytes: OnBytes) -> None:
        event = fetcher.fetch(repository.entry, on_bytes)
        session.log.info(event, **repository.facts())

    fetched, failures = session.workers.each(selection.selected, fetch, "fetching")
    remove_partial_folder(folder)
    return finish(session, [*selection.unavailable, *failures], len(fetched))
