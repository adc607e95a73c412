"""Fetch the git data of a repository, or of its wiki, into a folder: as a bundle, a mirror or a working clone."""

import shutil
from collections.abc import Callable
from pathlib import Path

from github_s3_backup.git.mirror import local_refs
from github_s3_backup.git.process import Git, GitError
from github_s3_backup.git.refs import Refs
from github_s3_backup.records.manifest import Entry
from github_s3_backup.restore.errors import FetchError, UnbundleError
from github_s3_backup.restore.fetch.destination import Destination, Form
from github_s3_backup.restore.unbundle import (
    bundles_at,
    download_bundles,
    make_empty,
    make_mirror,
    read_refs,
    remove_bundles,
)
from github_s3_backup.s3.download import BucketReader, OnBytes, is_copy_of

# The refs that a clone does not fetch by itself; refs/remotes is its own.
OTHER_REFS = ("refs/*:refs/*", "^refs/heads/*", "^refs/tags/*", "^refs/remotes/*")

# Gets the path of a mirror or clone before it is moved to its final path.
Complete = Callable[[Path], None]


def fetch_git(
    entry: Entry, destination: Destination, reader: BucketReader, git: Git, on_bytes: OnBytes, complete: Complete
) -> str:
    """Fetch one repository and return the event to log.

    Raises DownloadError, UnbundleError, GitError, FetchError and OSError. The next fetch continues an interrupted one.
    """
    if destination.form == "bundles" and entry.status == "empty":
        return "empty: no bundle"
    if destination.path(entry).exists():
        _check_existing(entry, destination, reader, git)
        on_bytes(entry.restore_bytes)
        return "already there"
    try:
        _build(entry, destination, reader, git, on_bytes, complete)
    except UnbundleError:  # a bundle that is none can't be continued
        destination.remove_partial_git(entry)
        raise
    return "fetched"


def _build(
    entry: Entry, destination: Destination, reader: BucketReader, git: Git, on_bytes: OnBytes, complete: Complete
) -> None:
    """Build the repository in the partial folder, then move it to its path."""
    path = destination.path(entry)
    bundle, mirror = destination.partial(entry, ".bundle"), destination.partial(entry, ".git")
    bundle.parent.mkdir(parents=True, exist_ok=True)
    if entry.status == "empty":
        make_empty(git, entry, mirror)
    else:
        download_bundles(reader, entry, bundle, on_bytes)
        read_refs(bundle, entry)
        if destination.form != "bundles":
            make_mirror(git, bundle, entry, mirror)
    path.parent.mkdir(parents=True, exist_ok=True)
    if destination.form == "bundles":
        for (_, partial), (_, final) in zip(bundles_at(entry, bundle), bundles_at(entry, path), strict=True):
            partial.rename(final)
    elif destination.form == "mirrors":
        complete(mirror)
        mirror.rename(path)
    else:
        clone = destination.partial(entry, ".clone")
        _clone(entry, mirror, clone, destination.server_url, git)
        complete(clone)
        clone.rename(path)
        shutil.rmtree(mirror)
    remove_bundles(bundle)


def _clone(entry: Entry, mirror: Path, clone: Path, server_url: str, git: Git) -> None:
    """Make a working clone: branches as origin/<branch>, the default branch checked out, and all other refs."""
    shutil.rmtree(clone, ignore_errors=True)
    git.run("clone", "--quiet", "--template=", "--", str(mirror), str(clone))
    git.run("-C", str(clone), "fetch", "--quiet", "origin", *OTHER_REFS)
    git.run("-C", str(clone), "remote", "set-url", "origin", f"{server_url}/{entry.full_name}.git")


def _check_existing(entry: Entry, destination: Destination, reader: BucketReader, git: Git) -> None:
    """Raise FetchError unless what is at the path is what would be fetched."""
    path = destination.path(entry)
    if destination.form == "bundles":
        for stored, there in bundles_at(entry, path):
            if not is_copy_of(stored, there):
                raise FetchError(f"{there} already exists and is not the bundle of this backup: move it away")
        read_refs(path, entry)
        return
    expected = _expected_refs(entry, destination.form, reader)
    try:
        existing = local_refs(git, path if destination.form == "mirrors" else path / ".git")
    except GitError as error:
        raise FetchError(f"{path} already exists and can't be read as a repository: {error}") from None
    wrong = [name for name in expected if existing.get(name) != expected[name]]
    if entry.status == "empty":  # it has no refs, so any ref means another repository
        wrong = list(existing)
    if wrong:
        names = ", ".join(sorted(name.decode(errors="replace") for name in wrong)[:5])
        raise FetchError(f"{path} already exists and is another repository ({names}): move it away")


def _expected_refs(entry: Entry, form: Form, reader: BucketReader) -> Refs:
    """Return the refs of a finished repository, from the bundle's header alone."""
    if entry.status == "empty":
        return {}
    refs = {name: oid for name, oid in reader.header(entry).refs.items() if name != b"HEAD"}
    if form != "clones":
        return refs
    head, remote = b"refs/heads/", b"refs/remotes/origin/"
    return {
        (remote + name.removeprefix(head) if name.startswith(head) else name): oid
        for name, oid in refs.items()
        if name != b"refs/heads/HEAD" and not name.startswith(b"refs/remotes/")  # a clone uses these names itself
    }
