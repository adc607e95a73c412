"""Turn a bundle back into a repository, with git alone, and compare every ref with the manifest."""

import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from github_s3_backup.git.bundle import BundleError, read_header
from github_s3_backup.git.mirror import local_refs
from github_s3_backup.git.process import Git, GitError
from github_s3_backup.git.refs import Refs, refs_sha256
from github_s3_backup.records.manifest import Entry
from github_s3_backup.restore.errors import UnbundleError
from github_s3_backup.s3.download import BucketReader, OnBytes

# What `git fsck` reports about an object that is intact but badly formatted: GitHub serves many of these.
BADLY_FORMATTED = re.compile(r"(error|warning) in (commit|tree|tag|blob) [0-9a-f]+: .*")
# What it reports about refs, which are as they were on GitHub: a default branch without commits, no branch at all.
NOTICE = "notice: "
# fsck's exit code is a sum: 1 for remarks on loose objects, 4 for remarks on packed ones, 2 if an object is missing.
REMARKS_ONLY = (1, 4, 5)


def read_refs(bundle: Path, entry: Entry) -> Refs:
    """Return the refs in the bundle, HEAD included. Raises UnbundleError unless they are those of the manifest."""
    try:
        with bundle.open("rb") as file:
            header = read_header(file)
    except BundleError as error:
        raise UnbundleError(str(error)) from None
    if refs_sha256(header.refs) != entry.refs_sha256:
        raise UnbundleError("the refs in the bundle do not match the manifest")
    return header.refs


@dataclass(frozen=True)
class MirrorSource:
    """Where the git data of a repository comes from."""

    reader: BucketReader
    git: Git

    def make(self, entry: Entry, path: Path, on_bytes: OnBytes) -> None:
        """Make the new bare repository `path`, with all refs and HEAD at the default branch.

        What is downloaded is kept beside it until it is there: an interrupted download is continued. Raises
        DownloadError, UnbundleError, GitError and OSError.
        """
        if entry.status == "empty":
            make_empty(self.git, entry, path)
            return
        bundle = path.with_suffix(".bundle")
        self.reader.download(entry, bundle, on_bytes)
        make_mirror(self.git, bundle, entry, path)
        bundle.unlink()


def make_mirror(git: Git, bundle: Path, entry: Entry, path: Path) -> None:
    """Clone the bundle into the new bare repository `path`, with HEAD at the default branch.

    git checks the hash of every object. Raises UnbundleError and GitError.
    """
    refs = read_refs(bundle, entry)
    shutil.rmtree(path, ignore_errors=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    git.run("clone", "--mirror", "--quiet", "--template=", "--", str(bundle), str(path))
    cloned = local_refs(git, path)
    wrong = sorted(name for name in refs if name != b"HEAD" and cloned.get(name) != refs[name])
    if wrong:
        names = ", ".join(name.decode(errors="replace") for name in wrong[:5])
        raise UnbundleError(f"{len(wrong)} refs are missing after cloning the bundle: {names}")
    _point_head(git, path, entry)


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
            raise UnbundleError(str(error)) from None
        return remarks
    return []
