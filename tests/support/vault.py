"""Backups to restore from: an organisation backed up once, and buckets with copies of it that a test may spoil."""

import contextlib
import copy
import hashlib
import io
import itertools
import json
import os
import pty
import tempfile
import termios
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from embedded.organisation import AWKWARD, LARGE, Recipe, Stream
from embedded.programs import Process, start_program
from embedded.real_git import git, served_refs
from embedded.s3 import REGION, WRITER
from embedded.stack import RESTORE, Stack, measured
from github_s3_backup.git.process import Git
from github_s3_backup.records.entry import Entry
from github_s3_backup.records.manifest import parse_manifest
from github_s3_backup.runtime.logs import new_logger
from github_s3_backup.runtime.redaction import Redactor
from github_s3_backup.runtime.stop import Stop
from github_s3_backup.s3.catalogue import Catalogue
from github_s3_backup.s3.download import BucketReader
from github_s3_backup.s3.keys import run_key
from github_s3_backup.s3.objects import Objects
from support.world import Restored, World, events_of

PREFIX = "github-backup"
# Three days in a row, the newest last.
FIRST, SECOND, THIRD = "2025-11-20", "2025-11-21", "2025-11-22"
SECRETS = (WRITER[1],)


# -- repositories that only a restore finds awkward ----------------------------------------------


def _write(path: Path, kind: str, content: bytes) -> str:
    """Write an object that git itself would refuse to write."""
    arguments = ("hash-object", "-w", "--literally", "-t", kind, "--stdin")
    return git(f"--git-dir={path}", *arguments, stdin=content).decode().strip()


def careless_commit(path: Path) -> str:
    """Write a commit without a space before its date, on a tree with a zero-padded mode: whole, and badly written."""
    blob = _write(path, "blob", b"content")
    subtree = _write(path, "tree", b"100644 file\0" + bytes.fromhex(blob))
    tree = _write(path, "tree", b"040000 folder\0" + bytes.fromhex(subtree))
    who = "A U Thor <author@example.com>1700000000 +0000"
    return _write(path, "commit", f"tree {tree}\nauthor {who}\ncommitter {who}\n\ncareless\n".encode())


def _careless(path: Path) -> None:
    git(f"--git-dir={path}", "update-ref", "refs/heads/careless", careless_commit(path))


def _main_only(stream: Stream) -> None:
    stream.history("refs/heads/main", 3)


def _strange_refs(stream: Stream) -> None:
    """Refs outside of the usual places, one that a clone has a use of its own for, and a branch HEAD of its own."""
    base = stream.history("refs/heads/main", 2)
    stream.commit("refs/keep-around/1", {"kept": b"kept"}, base)
    stream.commit("refs/remotes/origin/main", {"remote": b"somebody's"}, base)
    stream.commit("refs/heads/HEAD", {"head": b"a branch"}, base)


def _heavy(stream: Stream) -> None:
    stream.commit("refs/heads/main", {"noise.bin": os.urandom(5_000_000)})


SPECIAL = (
    Recipe("careless", _main_only, after=_careless),
    Recipe("careless-headless", _main_only, after=_careless, head="refs/heads/gone", about={"default_branch": "gone"}),
    Recipe("strange-refs", _strange_refs),
    Recipe("heavy", _heavy),
)
MANY_REFS = next(recipe for recipe in LARGE if recipe.name == "many-refs")


@dataclass(frozen=True)
class Organisation:
    """Everything awkward, backed up once. Nobody writes to its bucket."""

    stack: Stack
    bucket: str
    manifest: dict[str, Any]
    sources: dict[str, Path]

    @property
    def entries(self) -> dict[str, dict[str, Any]]:
        return {entry["full_name"]: entry for entry in self.manifest["repos"]}

    @property
    def date(self) -> str:
        return str(self.manifest["date"])

    def refs(self, full_name: str) -> dict[str, str]:
        """Return the refs of the source, HEAD included where it resolves."""
        return served_refs(self.sources[full_name])


def back_up(world: World) -> Organisation:
    """Back up every awkward repository."""
    for recipe in (*AWKWARD, MANY_REFS):
        world.add(recipe.name)
    for recipe in SPECIAL:
        path = world.repositories.path(recipe)
        world.github.add(recipe.owner, recipe.name, path, **recipe.about)
    output, _ = world.start().communicate(timeout=100)
    manifest = world.read_manifest()
    assert manifest, output
    assert manifest["failures"] == [], output
    sources = {f"{source.owner}/{source.name}": source.path for source in world.github.repositories.values()}
    return Organisation(world.stack, world.bucket, manifest, sources)


# -- a bucket of backups -------------------------------------------------------------------------


@dataclass
class Vault:
    """A bucket with backups in it, and the restore program as one runs it."""

    organisation: Organisation
    bucket: str
    folder: Path
    service: str
    variables: dict[str, str | None] = field(default_factory=dict)
    log_lines: io.StringIO = field(default_factory=io.StringIO)
    run_numbers: Iterator[int] = field(default_factory=itertools.count)

    def __post_init__(self) -> None:
        self.stack = self.organisation.stack
        self.client = self.stack.s3.client()
        self.stop = Stop()
        self.log = new_logger(self.log_lines, Redactor())
        self.scratch = self.folder / "scratch"
        self.scratch.mkdir()

    # -- what is in it ---------------------------------------------------------------------------

    def store(self, date: str, *names: str, **about: Any) -> dict[str, Any]:
        """Put a day's backup of these repositories into the bucket and return its manifest; `about`: other fields."""
        manifest = copy.deepcopy(self.organisation.manifest) | {
            "date": date,
            "run_id": self._new_run_id(date),
            "started_at": f"{date}T04:00:00Z",
            "finished_at": f"{date}T04:10:00Z",
            "repos": [self.copy(date, name) for name in names],
        }
        return self.write(date, manifest | about)

    def copy(self, date: str, name: str) -> dict[str, Any]:
        """Copy a repository's bundle into a day's folder and return its entry."""
        entry = dict(self.organisation.entries[name])
        if entry["s3_key"]:
            key = f"{PREFIX}/{date}/{name}.bundle"
            source = {"Bucket": self.organisation.bucket, "Key": entry["s3_key"], "VersionId": entry["version_id"]}
            answer = self.client.copy_object(Bucket=self.bucket, Key=key, CopySource=source)  # type: ignore[arg-type]
            entry |= {"s3_key": key, "version_id": answer["VersionId"]}
        return entry

    def put(
        self, date: str, name: str, body: bytes, refs_sha256: str | None = None, name_of: str | None = None
    ) -> dict[str, Any]:
        """Store bytes as the bundle of a repository, and return an entry that is right about them.

        `name_of`: the repository whose entry it is otherwise, by default itself.
        """
        key = f"{PREFIX}/{date}/{name}.bundle"
        answer = self.client.put_object(Bucket=self.bucket, Key=key, Body=body)
        entry = dict(self.organisation.entries[name_of or name]) | {"s3_key": key, "version_id": answer["VersionId"]}
        entry |= {"sha256": hashlib.sha256(body).hexdigest(), "size_bytes": len(body)}
        return entry | ({"refs_sha256": refs_sha256} if refs_sha256 else {})

    def write(self, date: str, manifest: dict[str, Any]) -> dict[str, Any]:
        """Write a run's manifest with the right counts."""
        gone = sum(entry["status"] == "gone" for entry in manifest["repos"])
        manifest |= {"gone_count": gone, "success_count": len(manifest["repos"]) - gone}
        manifest |= {"failure_count": len(manifest["failures"])}
        manifest |= {"total_repos": len(manifest["repos"]) + len(manifest["failures"])}
        self._put_run(date, manifest["run_id"], json.dumps(manifest).encode())
        return manifest

    def write_bytes(self, date: str, body: bytes) -> str:
        """Write anything as the manifest of a day's next run and return the run's id."""
        run_id = self._new_run_id(date)
        self._put_run(date, run_id, body)
        return run_id

    def _put_run(self, date: str, run_id: str, body: bytes) -> None:
        self.client.put_object(Bucket=self.bucket, Key=run_key(PREFIX, date, run_id), Body=body)

    def _new_run_id(self, date: str) -> str:
        """Return an id that sorts after those of the day's earlier runs."""
        return f"{date.replace('-', '')}T040000Z-{next(self.run_numbers):08x}"

    def read(self, entry: dict[str, Any]) -> bytes:
        """Return the bundle of an entry."""
        answer = self.client.get_object(Bucket=self.bucket, Key=entry["s3_key"], VersionId=entry["version_id"])
        return answer["Body"].read()

    def destroy(self, entry: dict[str, Any]) -> None:
        """Delete every version of an entry's bundle."""
        pages = self.client.list_object_versions(Bucket=self.bucket, Prefix=entry["s3_key"])
        for version in pages.get("Versions", []):
            self.client.delete_object(Bucket=self.bucket, Key=version["Key"], VersionId=version["VersionId"])

    # -- the program, and its parts --------------------------------------------------------------

    def environment(self, **changes: str | None) -> dict[str, str]:
        base = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "TMPDIR": str(self.scratch),
            "S3_BUCKET": self.bucket,
            "SERVICE_NAME": self.service,
            "AWS_REGION": REGION,
            "AWS_ACCESS_KEY_ID": WRITER[0],
            "AWS_SECRET_ACCESS_KEY": WRITER[1],
            "AWS_ENDPOINT_URL": self.stack.aws.url,
            "AWS_ENDPOINT_URL_S3": self.stack.s3.url,
            **measured(),
        }
        return {name: value for name, value in (base | self.variables | changes).items() if value is not None}

    def start(self, *arguments: str | Path, prefix: tuple[str, ...] = (), **changes: str | None) -> Process:
        """Start the restore program; `prefix` is a command that runs it."""
        return start_program([*prefix, *RESTORE, *map(str, arguments)], self.environment(**changes))

    def restore(self, *arguments: str | Path, prefix: tuple[str, ...] = (), **changes: str | None) -> Restored:
        """Run the restore program to its end and check what always holds."""
        return self.end(self.start(*arguments, prefix=prefix, **changes))

    def on_terminal(self, *arguments: str | Path) -> tuple[int, str]:
        """Run the restore program at a terminal; return its exit code and all that the terminal got."""
        ours, theirs = pty.openpty()
        termios.tcsetwinsize(theirs, (24, 100))
        command = [*RESTORE, *map(str, arguments)]
        with start_program(command, self.environment(), stdout=theirs, stderr=theirs) as process:
            os.close(theirs)
            output = b""
            with contextlib.suppress(OSError):  # the end: nobody has the other side any more
                while block := os.read(ours, 4096):
                    output += block
        os.close(ours)
        assert list(self.scratch.iterdir()) == []
        return process.wait(), output.decode()

    def end(self, process: Process) -> Restored:
        """Wait for the restore program to end and check what always holds."""
        stdout, stderr = process.communicate(timeout=100)
        assert "Traceback" not in stdout + stderr, stderr
        assert list(self.scratch.iterdir()) == []
        for secret in SECRETS:
            assert secret not in stdout + stderr
        return Restored(process.wait(), stdout, stderr, events_of(stderr))

    def rows(self, *arguments: str, code: int = 0) -> list[dict[str, Any]]:
        """Return what a command prints as JSON."""
        run = self.restore(*arguments, "--json")
        assert run.code == code, run.stderr
        rows: list[dict[str, Any]] = json.loads(run.stdout)
        return rows

    def catalogue(self) -> Catalogue:
        return Catalogue(Objects(self.client, self.bucket), PREFIX)

    def reader(self) -> BucketReader:
        return BucketReader(self.client, self.bucket, self.stop, self.log)

    def git(self) -> Git:
        return Git(Path(tempfile.mkdtemp(dir=self.folder)), "file:///", self.stop, "file")

    @property
    def events(self) -> list[dict[str, Any]]:
        """What the parts have logged."""
        return events_of(self.log_lines.getvalue())


def entries_of(manifest: dict[str, Any]) -> Iterator[Entry]:
    """Yield the entries of a manifest as the program reads them."""
    yield from parse_manifest(json.dumps(manifest).encode()).entries
