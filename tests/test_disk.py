"""Temporary disk is reserved before it is used, and what can't fit is said with the input that helps."""

import re
import shutil
import subprocess
import threading
import time
from pathlib import Path

import pytest

from disk import Disk, DiskFullError, estimate
from stop import Stop, Stopped
from world import World

UNSHARE = ("unshare", "--user", "--map-root-user", "--mount")


def test_reservations_together_never_exceed_the_budget(tmp_path: Path) -> None:
    disk = Disk(tmp_path, Stop())
    disk.budget = 100
    lock, now, most = threading.Lock(), 0, 0

    def use(size: int) -> None:
        nonlocal now, most
        with disk.reserve(size):
            with lock:
                now += size
                most = max(most, now)
            time.sleep(0.01)
            with lock:
                now -= size

    threads = [threading.Thread(target=use, args=(size,)) for size in (100, 60, 50, 40, 30, 20, 10, 99, 1) * 3]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert now == 0
    assert 60 < most <= 100


def test_a_large_reservation_is_not_overtaken_forever(tmp_path: Path) -> None:
    disk, order = Disk(tmp_path, Stop()), []
    disk.budget = 10

    def use(name: str, size: int) -> None:
        with disk.reserve(size):
            order.append(name)

    with disk.reserve(5):
        large = threading.Thread(target=use, args=("large", 10))
        large.start()
        time.sleep(0.05)
        small = threading.Thread(target=use, args=("small", 1))
        small.start()
        time.sleep(0.3)
        assert order == []
    large.join(5)
    small.join(5)
    assert order == ["large", "small"]


def test_what_does_not_fit_alone_is_refused_with_need_room_and_remedy(tmp_path: Path) -> None:
    disk = Disk(tmp_path, Stop())
    disk.budget = 20 * 10**9
    with (
        pytest.raises(DiskFullError, match=r"about 32\.\d GB .* needed, 20\.0 GB usable .*task_ephemeral_storage_gb"),
        disk.reserve(estimate(25_000_000)),
    ):
        pass


def test_a_stopped_run_does_not_wait_for_disk(tmp_path: Path) -> None:
    class Told(Stop):
        def check(self) -> None:
            raise Stopped

    disk = Disk(tmp_path, Told())
    disk.budget = 10
    with disk.reserve(10), pytest.raises(Stopped), disk.reserve(1):
        pass


def test_a_repository_larger_than_the_disk_fails_and_the_others_are_stored(world: World) -> None:
    world.add("api")
    world.add("fork", size_kb=10**12)
    run = world.run()
    assert run.code == 1
    assert run.repos.keys() == {"acme/api"}
    assert run.failures["acme/fork"]["stage"] == "clone"
    assert "task_ephemeral_storage_gb" in run.failures["acme/fork"]["error"]
    assert world.github.requests(r"/acme/fork\.git") == []


def small_disk(folder: Path, megabytes: int) -> list[str]:
    """Return the command that runs another one with a small file system of its own at `folder`."""
    script = f'mount -t tmpfs -o size={megabytes}m none "{folder}" && exec "$@"'
    return [*UNSHARE, "sh", "-c", script, "sh"]


def namespaces_work() -> bool:
    if shutil.which("unshare") is None:
        return False
    return subprocess.run([*UNSHARE, "true"], capture_output=True, check=False).returncode == 0


@pytest.mark.skipif(
    not namespaces_work(), reason="a small file system needs unshare and user namespaces, which are off here"
)
def test_a_disk_that_fills_up_costs_no_other_repository(world: World) -> None:
    """GitHub said 1 KB, it is 60 MB, and the disk takes 50: not even alone on it the clone fits."""
    for name in ("api", "fork", "public", "archived"):
        world.add(name)
    world.add("big-file", size_kb=1)
    run = world.run(*small_disk(world.scratch, 50))
    assert run.code == 1
    assert run.repos.keys() == {"acme/api", "acme/fork", "acme/public", "acme/archived"}
    assert re.search("No space left on device|Out of diskspace", run.failures["acme/big-file"]["error"])
    assert "task_ephemeral_storage_gb" in run.failures["acme/big-file"]["error"]
    assert len(run.named("disk full, trying again alone")) >= 1
