"""Fetch the git data of a repository, or of its wiki, into a folder: as a bundle, a mirror or a working clone."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from structlog.typing import FilteringBoundLogger

from github_s3_backup.git.mirror import local_refs
from github_s3_backup.git.process import Git, GitError
from github_s3_backup.git.refs import Refs
from github_s3_backup.records.entry import Entry
from github_s3_backup.restore.errors import FetchError, UnbundleError
from github_s3_backup.restore.fetch.clone import clone_refs, make_clone
from github_s3_backup.restore.fetch.destination import Destination, Form, move_finished
from github_s3_backup.restore.fetch.packs import check_packs
from github_s3_backup.restore.unbundle import (
    MirrorSource,
    bundles_at,
    changes_beside,
    check_bundle,
    download_bundles,
    read_refs,
)
from github_s3_backup.s3.download import BucketReader, OnBytes, is_copy_of

# Gets the path of a mirror or clone before it is moved to its final path.
Complete = Callable[[Path], None]


@dataclass(frozen=True)
class GitFetcher:
    """Fetches git data into one folder."""

    destination: Destination
    source: MirrorSource
    log: FilteringBoundLogger

    def fetch(self, entry: Entry, on_bytes: OnBytes, complete: Complete) -> str:
        """Fetch one repository and return the event to log.

        Raises DownloadError, UnbundleError, GitError, FetchError and OSError. The next fetch continues an interrupted
        one.
        """
        if self.destination.form == "bundles" and entry.status == "empty":
            return "empty: no bundle"
        if self._is_there(entry):
            self._check_existing(entry)
            on_bytes(entry.restore_bytes)
            return "already there"
        try:
            if self.destination.form == "bundles":
                self._fetch_bundles(entry, on_bytes)
            else:
                self._build(entry, on_bytes, complete)
        except UnbundleError:  # a bundle that is none can't be continued
            self.destination.remove_partial_git(entry)
            raise
        return "fetched"

    def _is_there(self, entry: Entry) -> bool:
        """Return whether the repository is there. Raises FetchError where a bundle of another backup is."""
        path = self.destination.path(entry)
        if self.destination.form != "bundles":
            return path.exists()
        bundles = bundles_at(entry, path)
        wrong = [there for stored, there in bundles if there.exists() and not is_copy_of(stored, there)]
        if not entry.base and changes_beside(path).exists():  # it would be taken for a part of this backup
            wrong.append(changes_beside(path))
        if wrong:
            raise FetchError(f"{wrong[0]} already exists and is not the bundle of this backup: move it away")
        return all(there.exists() for _, there in bundles)

    def _fetch_bundles(self, entry: Entry, on_bytes: OnBytes) -> None:
        """Fetch the bundles, or the one that is missing beside the other one."""
        bundle = self.destination.partial(entry, ".bundle")
        bundle.parent.mkdir(parents=True, exist_ok=True)
        finals = bundles_at(entry, self.destination.path(entry))
        moves = [(partial, final) for (_, partial), (_, final) in zip(bundles_at(entry, bundle), finals, strict=True)]
        for partial, final in moves:
            if final.exists():
                final.rename(partial)
        download_bundles(self.source.reader, entry, bundle, on_bytes)
        check_bundle(bundle, entry)
        for partial, final in moves:
            move_finished(partial, final)

    def _build(self, entry: Entry, on_bytes: OnBytes, complete: Complete) -> None:
        """Build the mirror or clone in the partial folder, then move it to its path."""
        mirror, git = self.destination.partial(entry, ".git"), self.source.git
        mirror.parent.mkdir(parents=True, exist_ok=True)
        self.source.make(entry, mirror, on_bytes)
        url = f"{self.destination.server_url}/{entry.full_name}.git"
        if self.destination.form == "mirrors":
            make_harmless(git, mirror, url)
            complete(mirror)
            move_finished(mirror, self.destination.path(entry))
            return
        clone = self.destination.partial(entry, ".clone")
        for remark in make_clone(git, mirror, clone, entry, url):
            self.log.warning("clone not as on GitHub", remark=remark)
        complete(clone)
        move_finished(clone, self.destination.path(entry))

    def _check_existing(self, entry: Entry) -> None:
        """Raise FetchError unless what is at the path is whole, and is what would be fetched."""
        path = self.destination.path(entry)
        if self.destination.form == "bundles":
            read_refs(path, entry)
            return
        git_dir = self.destination.git_dir(entry)
        expected = _expected_refs(entry, self.destination.form, self.source.reader)
        try:
            existing = local_refs(self.source.git, git_dir)
        except GitError as error:
            raise FetchError(f"{path} already exists and can't be read as a repository: {error}") from None
        wrong = [name for name in expected if existing.get(name) != expected[name]]
        if entry.status == "empty":  # it has no refs, so any ref means another repository
            wrong = list(existing)
        if wrong:
            names = ", ".join(sorted(name.decode(errors="replace") for name in wrong)[:5])
            raise FetchError(f"{path} already exists and is another repository ({names}): move it away")
        if damaged := check_packs(git_dir, expected):
            raise FetchError(f"{path} is damaged ({damaged}): move it away")


def make_harmless(git: Git, mirror: Path, url: str) -> None:
    """Give a mirror its URL, not that of a deleted file, and take from it what makes every push a `push --mirror`.

    Refs in refs/replace stay, and are not obeyed: they change what git shows of a commit.
    """
    config = (f"--git-dir={mirror}", "config")
    git.run(*config, "remote.origin.url", url)
    git.run(*config, "core.useReplaceRefs", "false")
    git.run(*config, "remote.origin.mirror", "false")


def _expected_refs(entry: Entry, form: Form, reader: BucketReader) -> Refs:
    """Return the refs of a finished repository, from the bundle's header alone."""
    if entry.status == "empty":
        return {}
    refs = {name: oid for name, oid in reader.header(entry).refs.items() if name != b"HEAD"}
    return refs if form == "mirrors" else clone_refs(refs)
