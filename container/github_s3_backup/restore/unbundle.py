"""Turn bundles back into a repository, with git alone, and compare every ref with the manifest."""

import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from github_s3_backup.git.bundle import Bundle, BundleError, read_header
from github_s3_backup.git.mirror import local_refs
from github_s3_backup.git.process import BLOCK_SIZE, Git, GitError
from github_s3_backup.git.refs import Refs, refs_sha256
from github_s3_backup.records.entry import Entry
from github_s3_backup.records.stored_object import StoredObject
from github_s3_backup.restore.errors import UnbundleError
from github_s3_backup.s3.download import BucketReader, OnBytes
from github_s3_backup.s3.keys import BUNDLE, CHANGES

ALL_REFS = "+refs/*:refs/*"
# What `git fsck` reports about an object that is intact but badly formatted: GitHub serves many of these.
BADLY_FORMATTED = re.compile(r"(error|warning) in (commit|tree|tag|blob) [0-9a-f]+: .*")
# What it reports about refs, which are as they were on GitHub: a default branch without commits, no branch at all.
NOTICE = "notice: "
# fsck's exit code is a sum: 1 for remarks on loose objects, 4 for remarks on packed ones, 2 if an object is missing.
REMARKS_ONLY = (1, 4, 5)


def bundles_at(entry: Entry, bundle: Path) -> list[tuple[StoredObject, Path]]:
    """Return what restores the repository, and where it is on the disk: the full bundle at `bundle`."""
    return list(zip(entry.bundles, (bundle, changes_beside(bundle)), strict=False))


def changes_beside(bundle: Path) -> Path:
    """Return the path of the bundle of changes that stands on a full bundle."""
    return bundle.with_name(f"{bundle.name.removesuffix(BUNDLE)}{CHANGES}")


def download_bundles(reader: BucketReader, entry: Entry, bundle: Path, on_bytes: OnBytes) -> None:
    """Download what restores the repository. Raises DownloadError and OSError. An interrupted download is continued."""
    for stored, path in bundles_at(entry, bundle):
        reader.download(stored, path, on_bytes)


def remove_bundles(bundle: Path) -> None:
    """Remove a full bundle and the changes beside it, and what an interrupted download left of them."""
    for path in (bundle, changes_beside(bundle)):
        path.unlink(missing_ok=True)
        path.with_name(f"{path.name}.part").unlink(missing_ok=True)


def read_refs(bundle: Path, entry: Entry) -> Refs:
    """Return the refs that the bundles restore, HEAD included.

    Raises UnbundleError unless they are those of the manifest.
    """
    _, newest = bundles_at(entry, bundle)[-1]
    try:
        with newest.open("rb") as file:
            header = read_header(file, stands_alone=entry.base is None)
    except BundleError as error:
        raise UnbundleError(str(error)) from None
    if refs_sha256(header.refs) != entry.refs_sha256:
        raise UnbundleError("the refs in the bundle do not match the manifest")
    return header.refs


def check_bundle(bundle: Path, entry: Entry) -> None:
    """Raise UnbundleError unless the files are whole bundles with the refs of the manifest."""
    read_refs(bundle, entry)
    for number, (_, path) in enumerate(bundles_at(entry, bundle)):
        with path.open("rb") as file:
            try:
                header = read_header(file, stands_alone=number == 0)
                blocks = iter(lambda: file.read(BLOCK_SIZE), b"")
                for _ in Bundle(b"", blocks, header.object_format, 0):
                    pass
            except BundleError as error:
                raise UnbundleError(str(error)) from None


def replacements(refs: Refs) -> list[str]:
    """Return a remark on refs that change what git shows of other objects."""
    count = sum(name.startswith(b"refs/replace/") for name in refs)
    words = "refs in refs/replace: git shows other objects in place of those that they name, unless it is told not to"
    return [f"{count} {words}"] if count else []


@dataclass(frozen=True)
class MirrorSource:
    """Where the git data of a repository comes from."""

    reader: BucketReader
    git: Git

    def make(self, entry: Entry, path: Path, on_bytes: OnBytes) -> None:
        """Make the new bare repository `path`, with all refs and HEAD at the default branch.

        A download is kept next to it until it is complete: an interrupted download is continued. Raises
        DownloadError, UnbundleError, GitError and OSError.
        """
        if entry.status == "empty":
            make_empty(self.git, entry, path)
            return
        bundle = path.with_suffix(".bundle")
        download_bundles(self.reader, entry, bundle, on_bytes)
        make_mirror(self.git, bundle, entry, path)
        remove_bundles(bundle)


def make_mirror(git: Git, bundle: Path, entry: Entry, path: Path) -> None:
    """Clone the bundle into the new bare repository `path`, with HEAD at the default branch.

    Where the repository has a bundle of changes, that is fetched into it. git checks the hash of every object. Raises
    UnbundleError and GitError.
    """
    refs = read_refs(bundle, entry)
    shutil.rmtree(path, ignore_errors=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    git.run("clone", "--mirror", "--quiet", "--template=", "--", str(bundle), str(path))
    if entry.base:
        changes = str(changes_beside(bundle))
        options = ("--quiet", "--prune", "--no-write-fetch-head")
        # What arrives stays a pack, whose checksum proves it later.
        git.run("-c", "fetch.unpackLimit=1", f"--git-dir={path}", "fetch", *options, "--", changes, ALL_REFS)
    _check_refs(local_refs(git, path), refs)
    _point_head(git, path, entry)


def _check_refs(restored: Refs, refs: Refs) -> None:
    """Raise UnbundleError unless the restored refs are those of the bundles."""
    wrong = sorted(name for name in {*refs, *restored} - {b"HEAD"} if restored.get(name) != refs.get(name))
    if wrong:
        names = ", ".join(name.decode(errors="replace") for name in wrong[:5])
        words = "refs differ from those of the bundle once it is restored"
        raise UnbundleError(f"{len(wrong)} {words}: {names}", "clone")


def make_empty(git: Git, entry: Entry, path: Path) -> None:
    """Create the bare repository of an entry without commits."""
    shutil.rmtree(path, ignore_errors=True)
    git.run("init", "--bare", "--quiet", "--template=", "--", str(path))
    _point_head(git, path, entry)


def _point_head(git: Git, path: Path, entry: Entry) -> None:
    """Point HEAD at the default branch: a bundle holds HEAD's commit but not its branch."""
    git.run(f"--git-dir={path}", "symbolic-ref", "HEAD", f"refs/heads/{entry.default_branch}")


def check_objects(git: Git, path: Path) -> list[str]:
    """Return fsck's remarks on intact objects. Raises UnbundleError if an object is missing or corrupt."""
    try:
        git.run(f"--git-dir={path}", "fsck", "--full", "--no-dangling", "--no-progress")
    except GitError as error:
        remarks = [line for line in error.lines if not line.startswith(NOTICE)]
        if error.returncode not in REMARKS_ONLY or not all(BADLY_FORMATTED.fullmatch(line) for line in remarks):
            raise UnbundleError(str(error), "fsck") from None
        return remarks
    return []
