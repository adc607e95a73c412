"""A repository that changes on a git server, and the bundles that the product makes of it."""

import random
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from embedded.git_server import GitServer
from embedded.real_git import bundled_refs, git, restore_changes, served_refs
from github_s3_backup.git.bundle import open_bundle
from github_s3_backup.git.changes import Changes, fetch_changes, open_changes
from github_s3_backup.git.mirror import Mirror
from github_s3_backup.git.object_list import ObjectList, list_of_mirror, parse_object_list
from github_s3_backup.git.objects import list_objects
from github_s3_backup.git.process import Git
from github_s3_backup.git.refs import Refs
from github_s3_backup.github.transport.http import Link, new_session
from github_s3_backup.github.transport.packs import Limits, PackRequest, fetch_pack
from github_s3_backup.runtime.stop import Stop
from support.world import World

MAIN = "refs/heads/main"
LIMITS = Limits(10**8, 60)


@dataclass(frozen=True)
class Full:
    """A full bundle, and the list beside it."""

    path: Path
    objects: ObjectList


@dataclass
class Changing:
    """A bare repository, on a server of its own where `server` is one."""

    tool: Git
    server: GitServer | None
    path: Path
    folder: Path
    count: int = 0
    # Files that are in each commit whose files are not given.
    files: dict[str, str] = field(default_factory=dict)

    def init(self, object_format: str = "sha1") -> "Changing":
        git("init", "--quiet", "--bare", "--initial-branch=main", f"--object-format={object_format}", self.path)
        return self

    def new(self, name: str) -> Path:
        """Return a path that nothing is at."""
        self.count += 1
        return self.folder / f"{self.count}-{name}"

    def git(self, *arguments: object, stdin: bytes = b"") -> str:
        return git(f"--git-dir={self.path}", *arguments, stdin=stdin).decode().strip()

    def commit(self, *parents: str, ref: str = "", files: dict[str, str] | None = None) -> str:
        """Commit these files (else one that is always new) on the parents, point the ref at it, and return its id."""
        self.count += 1
        content = files or {**self.files, "file": f"content {self.count}"}
        tree = self.git("mktree", stdin="".join(map(self._entry, sorted(content.items()))).encode())
        given = [part for parent in parents for part in ("-p", parent)]
        oid = self.git("commit-tree", tree, *given, "-m", f"commit {self.count}")
        if ref:
            self.point(ref, oid)
        return oid

    def _entry(self, file: tuple[str, str]) -> str:
        name, content = file
        if re.fullmatch(r"[0-9]{6} \w+ [0-9a-f]+", content):
            return f"{content}\t{name}\n"
        return f"100644 blob {self.blob(content)}\t{name}\n"

    def tree(self, revision: str) -> str:
        """Return what makes a folder of a commit's files, for `commit`."""
        return f"040000 tree {self.rev(f'{revision}^{{tree}}')}"

    def blob(self, content: str) -> str:
        return self.git("hash-object", "-w", "--stdin", stdin=content.encode())

    def point(self, ref: str, oid: str) -> None:
        self.git("update-ref", "--no-deref", ref, oid)

    def delete(self, *refs: str) -> None:
        self.update(*(f"delete {ref}" for ref in refs))

    def update(self, *commands: str) -> None:
        """Change refs, as `git update-ref --stdin` does."""
        self.git("update-ref", "--stdin", stdin="".join(f"{command}\n" for command in commands).encode())

    def rev(self, name: str) -> str:
        return self.git("rev-parse", name)

    def refs(self) -> Refs:
        """Return what the server serves."""
        pairs = served_refs(self.path).items()
        return {name.encode(errors="surrogateescape"): oid.encode() for name, oid in pairs}

    def full(self) -> Full:
        """Back up in full."""
        clone, path = self.new("clone.git"), self.new("full.bundle")
        git("-c", "fetch.unpackLimit=1", "clone", "--quiet", "--mirror", "--template=", f"file://{self.path}", clone)
        object_format = self.git("rev-parse", "--show-object-format")
        mirror = Mirror(clone, self.refs(), object_format)
        with open_bundle(self.tool, mirror) as bundle, path.open("wb") as file:
            file.writelines(bundle)
        objects = list_of_mirror(self.tool, mirror, bundle.sha256)
        assert objects
        assert parse_object_list(objects.to_bytes(), bundle.sha256) == objects
        return Full(path, objects)

    def fetch(self, request: bytes, limits: Limits = LIMITS) -> Iterator[bytes]:
        """Send a request as the product does."""
        assert self.server
        url = f"{self.server.url}/{self.path.name}/git-upload-pack"
        asked = PackRequest(Link(url, {"Authorization": "Basic Zm9vOmJhcg=="}), request)
        return fetch_pack(new_session(None, 1), asked, limits, Stop())

    def changes(self, base: ObjectList) -> Changes:
        return fetch_changes(self.tool, self.refs(), base, self.new("changes.git"), self.fetch)

    def write(self, changes: Changes) -> Path:
        path = self.new("changes.bundle")
        with open_changes(changes) as bundle, path.open("wb") as file:
            file.writelines(bundle)
        return path

    def without(self, changes: Changes, oid: str) -> Changes:
        """Return the same changes, as they would be if the server had left out an object."""
        source, folder = changes.pack.parents[2], self.new("lacking.git")
        git("init", "--quiet", "--bare", folder)
        others = [header.oid for header in list_objects(self.tool, source) if header.oid != oid.encode()]
        name = folder / "objects" / "pack" / "pack"
        made = git(f"--git-dir={source}", "pack-objects", "--quiet", name, stdin=b"\n".join(others)).decode().strip()
        return replace(changes, pack=name.with_name(f"pack-{made}.pack"))

    def check(self, full: Full) -> Changes:
        """Back up the changes, restore them with stock git, and compare what is there with the server."""
        changes = self.changes(full.objects)
        path = self.write(changes)
        served = served_refs(self.path)
        assert bundled_refs(path) == served
        assert restore_changes(full.path, path, self.new("restored.git")) == {
            name: oid for name, oid in served.items() if name != "HEAD"
        }
        return changes


def ballast(size: int) -> str:
    """Return text that does not get smaller by packing."""
    return random.Random(size).randbytes(size // 2).hex()  # noqa: S311


def add_large(world: World, name: str = "api") -> Changing:
    """Add a repository that may change: about 60 kB in full, so that a commit is a small part of it."""
    added = world.add("api", name=name)
    path = world.folder / f"{name}.git"
    shutil.copytree(added.path, path)
    added.path = path
    return enlarged(world, path)


def enlarged(world: World, path: Path) -> Changing:
    """Return a git directory of the test's own, made so large."""
    tool = Git(Path(tempfile.mkdtemp(dir=world.folder)), "https://github.com", Stop())
    number, files = len(world.github.repositories), {"ballast": ballast(120_000)}
    repository = Changing(tool, None, path, world.folder, count=100 * number, files=files)
    grow(repository, 0)
    return repository


def grow(repository: Changing, size: int = 100) -> None:
    """Commit so many new bytes, about half of that packed."""
    parents = ["main"] if MAIN.encode() in repository.refs() else []
    files = {**repository.files, "new": ballast(size + repository.count)}
    repository.commit(*parents, ref=MAIN, files=files)


def random_change(repository: Changing, choice: random.Random) -> None:
    """Commit, merge, tag, delete, rewind, or move HEAD, at random."""
    branches = repository.git("for-each-ref", "--format=%(refname)", "refs/heads").split()
    some = choice.choice(branches)
    actions: list[Callable[[], object]] = [
        lambda: repository.commit(some, ref=some),
        lambda: repository.commit(some, choice.choice(branches), ref=some),
        lambda: repository.commit(some, ref=f"refs/heads/branch-{repository.count}"),
        lambda: repository.git("tag", "-a", "-m", "x", f"tag-{repository.count}", some),
        lambda: repository.point(some, repository.git("rev-list", some).split()[-1]),
        lambda: repository.commit(ref=some),
        lambda: None if some == MAIN else repository.delete(some),
        lambda: repository.git("symbolic-ref", "HEAD", some),
    ]
    repository.count += 1
    choice.choice(actions)()
    if choice.random() < 0.1:
        repository.git("-c", "gc.reflogExpire=now", "gc", "--quiet", "--prune=now")
