"""What can't be undercut: each part of the work alone, without everything around it."""

import base64
import http.client
import os
import shutil
import subprocess
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
from configuration import WORKERS_PER_CPU
from embedded.real_git import ENVIRONMENT, git

CORES = os.cpu_count() or 1
# As many repositories as a run has in flight by itself.
WORKERS = WORKERS_PER_CPU * CORES
TIMES = 3
BLOCK = 1024**2


@dataclass(frozen=True)
class Bounds:
    """Seconds of wall clock, and bytes. `bundle` is the largest mirror as a bundle, `bundle_cp` a copy of its pack."""

    index_pack: float
    wire: float
    copy: float
    bundle: float
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
            bundle=timed(folder, lambda new: write_as_the_product_does(largest, new / "bundle")),
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
    for one in organisation.github.repositories.values():
        mirrors.append(folder / "mirrors" / f"{one.name}.git")
        git("clone", "--quiet", "--mirror", "--no-local", one.path, mirrors[-1])
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


# How the product writes a bundle, and how the figure is called.
BUNDLE_LABEL = "git bundle create"


def write_as_the_product_does(mirror: Path, bundle: Path) -> None:
    """Write the mirror's bundle to a file the way the product does."""
    git(f"--git-dir={mirror}", "bundle", "create", "--quiet", bundle, "--all")


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
    names = [one.full_name for one in organisation.github.repositories.values()]
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
