"""Temporary disk is reserved before it is used, and what can't fit is said with the input that helps."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from support.world import World

UNSHARE = ("unshare", "--user", "--map-root-user", "--mount")


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
    assert len(run.named("disk full, retrying alone")) >= 1
