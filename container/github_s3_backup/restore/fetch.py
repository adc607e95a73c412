"""Fetching backups to a folder: as bundles, as mirrors, or as working clones to go on working in."""

import contextlib
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from github_s3_backup.git.process import Git, GitError, Refs
from github_s3_backup.manifest import Entry
from github_s3_backup.restore.unbundle import local_refs, make_empty, make_mirror
from github_s3_backup.s3.download import Bundles, OnBytes, is_bundle_of

Form = Literal["bundles", "mirrors", "clones"]
# Half-made things, on the same disk as the whole ones; gone when the last of them is whole.
WORKSHOP = ".restoring"

# Whatever a clone does not bring along by itself; refs/remotes is its own.
EVERY_OTHER_REF = ("refs/*:refs/*", "^refs/heads/*", "^refs/tags/*", "^refs/remotes/*")


class FetchError(Exception):
    """The place where a repository should go is taken by something else."""


@dataclass(frozen=True)
class Fetch:
    """How to fetch one repository into `into`, an absolute path. `server_url`: where a clone's `origin` will point."""

    bundles: Bundles
    git: Git
    into: Path
    form: Form
    server_url: str

    def place(self, entry: Entry) -> Path:
        """Return where the repository goes."""
        name = {"bundles": f"{entry.name}.bundle", "mirrors": f"{entry.name}.git", "clones": entry.name}[self.form]
        return self.into / entry.owner / name

    def fetch(self, entry: Entry, on_bytes: OnBytes) -> str:
        """Fetch one repository and return what was done. Raises DownloadError, UnbundleError, GitError, FetchError."""
        place = self.place(entry)
        if self.form == "bundles":
            if entry.status == "empty":
                return "empty, has no bundle"
            if place.exists() and not is_bundle_of(entry, place):
                raise FetchError(f"{place} is there already and is not the bundle of this backup: move it away")
            return "fetched" if self.bundles.download(entry, place, on_bytes) else "was there already"
        if place.exists():
            self._compare(entry, place)
            on_bytes(entry.size_bytes)
            return "was there already"
        self._build(entry, place, on_bytes)
        return "fetched"

    def tidy(self) -> None:
        """Remove the workshop unless something half-made is in it that the same command can continue."""
        with contextlib.suppress(OSError):
            (self.into / WORKSHOP).rmdir()

    def _build(self, entry: Entry, place: Path, on_bytes: OnBytes) -> None:
        """Make the repository beside its place and move it there whole."""
        bundle = self.into / WORKSHOP / f"{entry.id}.bundle"
        mirror, clone = bundle.with_suffix(".git"), bundle.with_suffix(".clone")
        bundle.parent.mkdir(parents=True, exist_ok=True)
        if entry.status == "empty":
            make_empty(self.git, entry, mirror)
        else:
            self.bundles.download(entry, bundle, on_bytes)
            make_mirror(self.git, bundle, entry, mirror)
        place.parent.mkdir(parents=True, exist_ok=True)
        if self.form == "mirrors":
            mirror.rename(place)
        else:
            self._clone(entry, mirror, clone)
            clone.rename(place)
            shutil.rmtree(mirror)
        bundle.unlink(missing_ok=True)

    def _clone(self, entry: Entry, mirror: Path, clone: Path) -> None:
        """Make a working clone: branches as origin/<branch>, the default one checked out, and all other refs."""
        shutil.rmtree(clone, ignore_errors=True)
        self.git.run("clone", "--quiet", "--template=", "--", str(mirror), str(clone))
        inside = ("-C", str(clone))
        self.git.run(*inside, "fetch", "--quiet", "origin", *EVERY_OTHER_REF)
        self.git.run(*inside, "remote", "set-url", "origin", f"{self.server_url}/{entry.full_name}.git")

    def _compare(self, entry: Entry, place: Path) -> None:
        """Raise FetchError unless what is at the place is what would be put there."""
        wanted = self._wanted(entry)
        try:
            found = local_refs(self.git, place if self.form == "mirrors" else place / ".git")
        except GitError as error:
            raise FetchError(f"{place} is there already and can't be read as a repository: {error}") from None
        wrong = [name for name in wanted if found.get(name) != wanted[name]]
        if entry.status == "empty":  # nothing it lacks could tell it from another one
            wrong = list(found)
        if wrong:
            names = ", ".join(sorted(name.decode(errors="replace") for name in wrong)[:5])
            raise FetchError(f"{place} is there already and is another repository ({names}): move it away")

    def _wanted(self, entry: Entry) -> Refs:
        """Return the refs that a finished repository has here, from the bundle's header alone."""
        if entry.status == "empty":
            return {}
        refs = {name: oid for name, oid in self.bundles.header(entry).refs.items() if name != b"HEAD"}
        if self.form != "clones":
            return refs
        head, remote = b"refs/heads/", b"refs/remotes/origin/"
        return {
            (remote + name.removeprefix(head) if name.startswith(head) else name): oid
            for name, oid in refs.items()
            if name != b"refs/heads/HEAD" and not name.startswith(b"refs/remotes/")  # a clone uses these names itself
        }
