"""Fetch a repository from the backups into a folder, with its LFS objects, releases, issues and wiki."""

from pathlib import Path

from structlog.typing import FilteringBoundLogger

from github_s3_backup.records.entry import Entry
from github_s3_backup.restore.errors import EXPECTED_ERRORS, Parts, is_disk_full
from github_s3_backup.restore.fetch.content import Staging, check_out_lfs_files, fetch_releases, stage_lfs_objects
from github_s3_backup.restore.fetch.destination import Destination, lfs_objects_in
from github_s3_backup.restore.fetch.git import Complete, GitFetcher
from github_s3_backup.restore.fetch.issues import fetch_issues
from github_s3_backup.restore.selection.older import BROKEN, OlderBundles, OlderBundlesError, missing_at
from github_s3_backup.restore.unbundle import MirrorSource
from github_s3_backup.restore.workers import Pool, Reading
from github_s3_backup.s3.download import OnBytes


class Fetcher:
    """Fetches repositories into one folder."""

    def __init__(
        self, destination: Destination, source: MirrorSource, older: OlderBundles, pool: Pool, log: FilteringBoundLogger
    ) -> None:
        self._destination, self._reader, self._git = destination, source.reader, source.git
        self._older, self._pool, self._log = older, pool, log
        self._fetcher = GitFetcher(destination, source, log)

    def fetch(self, entry: Entry, on_bytes: OnBytes) -> str:
        """Fetch one repository and return the event to log.

        Raises what EXPECTED_ERRORS names. Of a repository with a broken part the others are there. The next fetch
        continues an interrupted one.
        """
        try:
            return self._fetch(entry, on_bytes)
        except EXPECTED_ERRORS as error:
            if is_disk_full(error):  # others need the space
                self._destination.remove_partial(entry)
            raise

    def _fetch(self, entry: Entry, on_bytes: OnBytes) -> str:
        parts, events = Parts(), list[str]()
        with parts.part():
            events.append(self._fetch_with_lfs(entry, parts, on_bytes))
        with parts.part("releases"):
            if fetch_releases(entry, self._destination, Reading(self._reader, self._pool, on_bytes)):
                events.append("fetched")
        with parts.part("issues"):
            if fetch_issues(entry, self._destination, Reading(self._reader, self._pool, on_bytes)):
                events.append("fetched")
        with parts.part("wiki"):
            if entry.wiki and entry.wiki.status != "gone":
                events.append(self._fetch_git(entry.wiki, on_bytes, lambda _: None))
        parts.check()
        return "fetched" if "fetched" in events else events[0]

    def _fetch_with_lfs(self, entry: Entry, parts: Parts, on_bytes: OnBytes) -> str:
        """Fetch the LFS objects, and the git data even where some of them are broken."""
        if entry.lfs is None or entry.lfs.list is None:
            return self._fetch_git(entry, on_bytes, lambda _: None)
        destination, staging = self._destination, Staging(self._destination.partial(entry, ".lfs"))
        objects = destination.lfs_objects(entry)
        with parts.part("Git LFS"):
            stage_lfs_objects(entry, objects, staging, Reading(self._reader, self._pool, on_bytes))
        if destination.form == "bundles":
            moved = staging.move_lfs_objects(objects)
            event = self._fetch_git(entry, on_bytes, lambda _: None)
            return "fetched" if moved else event

        def complete(path: Path) -> None:
            git_dir = path / ".git" if destination.form == "clones" else path
            with parts.part("Git LFS"):
                self._complete_lfs(entry, staging, git_dir)

        event = self._fetch_git(entry, on_bytes, complete)
        if event == "already there" and any(staging.folder.glob("*")):  # what the last fetch could not get
            complete(destination.path(entry))
            return "fetched"
        return event

    def _complete_lfs(self, entry: Entry, staging: Staging, git_dir: Path) -> None:
        """Move the objects into a mirror or clone, and make files of a clone's pointers."""
        if staging.move_lfs_objects(lfs_objects_in(git_dir)) and self._destination.form == "clones":
            check_out_lfs_files(self._git, git_dir.parent, self._destination.path(entry), self._log)

    def _fetch_git(self, entry: Entry, on_bytes: OnBytes, complete: Complete) -> str:
        try:
            return self._fetcher.fetch(entry, on_bytes, complete)
        except BROKEN as error:
            if is_disk_full(error):
                raise
            bundle = self._destination.partial(entry, ".bundle")
            fetch = lambda older: self._fetcher.fetch(older, on_bytes, complete)  # noqa: E731
            raise OlderBundlesError(self._older.use(entry, error, fetch, missing_at(bundle)), error) from None
