"""What can't be undercut: each part of the work alone, without everything around it."""

import base64
import http.client
import mmap
import os
import shutil
import subprocess
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from bench.measure import used
from bench.organisation import Organisation
from bench.recorded import Traffic
from bench.recorded_server import GIT_PATH
from bench.session import Session
from embedded.real_git import ENVIRONMENT, git, served_refs
from github_s3_backup.configuration import MAX_DEFAULT_WORKERS, WORKERS_PER_CPU
from github_s3_backup.git.bundle import only_pack, open_bundle, write_header
from github_s3_backup.git.mirror import Mirror
from github_s3_backup.git.process import Git
from github_s3_backup.runtime.stop import Stop

CORES = os.cpu_count() or 1
# As many repositories as a run has in flight by itself.
WORKERS = min(MAX_DEFAULT_WORKERS, WORKERS_PER_CPU * CORES)
TIMES = 5
BLOCK = 1024**2


@dataclass(frozen=True)
class Bounds:
    """Seconds of wall clock, and bytes.

    `bundle` is the largest mirror written as a bundle, `hashed` the same with the hashes that prove it on the way,
    `bundle_cp` a copy of its pack.
    """

    index_pack: float
    wire: float
    copy: float
    bundle: float
    hashed: float
    bundle_cp: float
    packs: int
    largest_mirrors: int


def bounds(session: Session, organisation: Organisation, traffic: Traffic) -> Bounds:
    """Measure the parts of a full run alone."""
    with session.scratch() as folder:
        mirrors = clone_all(organisation, folder)
        largest = max(mirrors, key=used)
        packs, its_pack = packs_of(mirrors), packs_of([largest])
        sizes = sorted(map(used, mirrors), reverse=True)
        return Bounds(
            index_pack=timed(folder, lambda new: index_all(packs, new)),
            wire=timed(folder, lambda _: read_all(session, traffic)),
            copy=timed(folder, lambda new: copy(packs, new)),
            bundle=timed(folder, lambda new: write_header_and_pack(largest, new / "bundle")),
            hashed=timed(folder, lambda new: write_hashed(largest, folder, new / "bundle")),
            bundle_cp=timed(folder, lambda new: copy(its_pack, new)),
            packs=sum(pack.stat().st_size for pack in packs),
            largest_mirrors=sum(sizes[:WORKERS]),
        )


def timed(folder: Path, action: Callable[[Path], object]) -> float:
    """Return the median of the seconds that `action` takes, with a new folder each time."""
    seconds = []
    for _ in range(TIMES):
        new = folder / "timed"
        new.mkdir()
        begun = time.monotonic()
        action(new)
        seconds.append(time.monotonic() - begun)
        shutil.rmtree(new)
    return median(seconds)


def clone_all(organisation: Organisation, folder: Path) -> list[Path]:
    """Mirror every repository and return where."""
    mirrors = []
    for repository in organisation.github.repositories.values():
        mirrors.append(folder / "mirrors" / f"{repository.name}.git")
        git("clone", "--quiet", "--mirror", "--no-local", repository.path, mirrors[-1])
    return mirrors


def packs_of(mirrors: list[Path]) -> list[Path]:
    return [pack for mirror in mirrors for pack in mirror.glob("objects/pack/*.pack")]


def index_all(packs: list[Path], folder: Path) -> None:
    """Index every pack as a clone does, as many at once as there are cores."""

    def index(number: int) -> None:
        new = folder / f"{number}.git"
        git("init", "--quiet", "--bare", "--template=", new)
        with packs[number].open("rb") as pack:
            command = ["git", f"--git-dir={new}", "index-pack", "--stdin", "--fix-thin"]
            subprocess.run(command, stdin=pack, stdout=subprocess.DEVNULL, env=ENVIRONMENT, check=True)

    with ThreadPoolExecutor(CORES) as pool:
        list(pool.map(index, range(len(packs))))


def read_all(session: Session, traffic: Traffic) -> None:
    """Ask for everything that a full run asked for, several repositories at once, and throw the answers away."""
    repositories = defaultdict(list)
    for request in traffic.asked:
        match = GIT_PATH.fullmatch(request["path"])
        repositories[match["name"] if match else ""].append(request)
    with ThreadPoolExecutor(WORKERS) as pool:
        list(pool.map(lambda requests: read(session.recorded.host, requests), repositories.values()))
    session.recorded.take()


def read(host: str, requests: list[dict[str, str]]) -> None:
    """Send recorded requests once more, one after the other on one connection."""
    connection, buffer = http.client.HTTPConnection(host), bytearray(BLOCK)
    for request in requests:
        headers = {name: value for name, value in request.items() if name not in ("method", "path", "body")}
        connection.request(request["method"], request["path"], bytes.fromhex(request["body"]), headers)
        answer = connection.getresponse()
        while answer.readinto(buffer):
            pass
    connection.close()


def copy(packs: list[Path], folder: Path) -> None:
    """Copy the packs with `cp`, one after the other."""
    for number, pack in enumerate(packs):
        subprocess.run(["cp", pack, folder / str(number)], check=True)


# How the product makes a bundle, and how the figure is called.
BUNDLE_LABEL = "header + pack"


def write_header_and_pack(mirror: Path, path: Path) -> None:
    """Write the mirror's bundle to a file as the product puts it together, its hashes left out.

    The kernel copies the pack once, as it does for `cp`; the first write is shorter by the header, so that all
    others begin where a page of the file does.
    """
    made = as_mirror(mirror)
    pack, header = only_pack(mirror), write_header(made.refs, made.object_format)
    assert pack
    with path.open("wb", buffering=0) as file, pack.open("rb") as source:
        flags = mmap.MAP_SHARED | mmap.MAP_POPULATE
        with mmap.mmap(source.fileno(), 0, flags, mmap.PROT_READ) as mapped, memoryview(mapped) as content:
            at = os.writev(file.fileno(), [header, content[: BLOCK - len(header)]]) - len(header)
            while at < len(content):
                at += file.write(content[at : at + BLOCK])


def write_hashed(mirror: Path, folder: Path, path: Path) -> None:
    """Write the mirror's bundle to a file as the product sends it to S3, hashed on the way."""
    with (
        tempfile.TemporaryDirectory(dir=folder) as home,
        path.open("wb") as file,
        open_bundle(Git(Path(home), "file:///", Stop()), as_mirror(mirror)) as bundle,
    ):
        for block in bundle:
            file.write(block)


def as_mirror(path: Path) -> Mirror:
    refs = {name.encode(): oid.encode() for name, oid in served_refs(path).items()}
    return Mirror(path, refs, "sha1")


# -- git ls-remote -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Listed:
    """Seconds of wall clock for each repository: as one types it, and with nothing that can be left out.

    `plain` is refused first, as git offers a token only when asked, and speaks protocol 2: three requests.
    `bare` sends the token at once and speaks protocol 0: one request.
    """

    plain: float
    bare: float


def list_remotes(session: Session, organisation: Organisation, number: int) -> Listed:
    """Time so many `git ls-remote`, as many at once as a run has repositories in flight."""
    names = [repository.full_name for repository in organisation.github.repositories.values()]
    names = (names * (number // len(names) + 1))[:number]
    token = organisation.github.issued[-1]
    basic = base64.b64encode(f"x-access-token:{token}".encode()).decode()
    bare = ("-c", f"http.extraHeader=Authorization: Basic {basic}", "-c", "protocol.version=0")
    login = f"http://x-access-token:{token}@{session.recorded.host}"
    return Listed(
        plain=recorded_then_timed(session, (), [f"{login}/{name}.git" for name in names]),
        bare=recorded_then_timed(session, bare, [f"{session.recorded.url}/{name}.git" for name in names]),
    )


def recorded_then_timed(session: Session, settings: tuple[str, ...], urls: list[str]) -> float:
    """Ask for all once to record the answers, and again to time them; return the seconds for each."""
    session.recorded.set(recording=True)
    ask_all(settings, urls)
    session.recorded.set(recording=False)
    begun = time.monotonic()
    ask_all(settings, urls)
    seconds = time.monotonic() - begun
    session.recorded.take()
    return seconds / len(urls)


def ask_all(settings: tuple[str, ...], urls: list[str]) -> None:
    with ThreadPoolExecutor(WORKERS) as pool:
        list(pool.map(lambda url: git(*settings, "ls-remote", url), urls))
