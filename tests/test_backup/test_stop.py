"""SIGTERM and Ctrl-C: what was begun is ended within 20 seconds, and what finished is in the manifest."""

import signal
import time
from collections.abc import Callable

import psutil
import pytest

from embedded.github import Fault
from embedded.organisation import IN_PARTS
from embedded.ports import wait_until
from embedded.s3_proxy import S3Fault, S3Proxy
from support.changing import add_large, grow
from support.world import Run, World

LIMIT = 20.0


def stop_when(world: World, begun: Callable[[], object], number: signal.Signals = signal.SIGTERM) -> Run:
    """Start a run, signal it as soon as something has begun, and see that it ends in time with its children."""
    process = world.start()
    me = psutil.Process(process.pid)

    def wait() -> None:
        assert begun()

    wait_until(wait, "what the run is stopped in")
    children = me.children(recursive=True)
    process.send_signal(number)
    told = time.monotonic()
    run = world.end(process)
    assert time.monotonic() - told < LIMIT
    assert [child for child in children if child.is_running() and child.status() != psutil.STATUS_ZOMBIE] == []
    assert run.code == 143
    assert world.metrics()["BackupFailure"][0] >= 1
    return run


def test_a_stopped_run_keeps_what_finished_and_names_what_did_not(world: World) -> None:
    world.add("api", size_kb=100)
    world.add("fork", size_kb=50)
    world.add("public", size_kb=1)
    world.github.faults = [Fault(r"POST /acme/fork\.git", status=0, delay=60, times=9)]
    world.variables["BACKUP_CONCURRENCY"] = "1"
    run = stop_when(world, lambda: world.github.faults[0].times < 9)  # the first is done when the second is begun
    assert run.manifest is not None
    assert run.manifest["complete"] is False
    assert run.repos.keys() == {"acme/api"}
    assert run.failures.keys() == {"acme/fork", "acme/public"}
    assert "stopped" in run.failures["acme/public"]["error"]
    assert run.events[-1]["event"] == "run stopped"


def test_an_upload_in_parts_is_aborted(world: World, s3_proxy: S3Proxy) -> None:
    world.add("in-parts")
    world.variables["TEST_PART"] = "1"
    s3_proxy.faults = [S3Fault(r"PUT .*/in-parts\.bundle.*partNumber", "slow")]
    run = stop_when(world, lambda: any("partNumber=1" in request for request in s3_proxy.requests))
    assert run.failures["acme/in-parts"]["stage"] == "upload"
    client = world.stack.s3.client()
    assert client.list_multipart_uploads(Bucket=world.bucket).get("Uploads", []) == []
    assert world.stored_keys() == {world.key("manifest.json"), *world.run_keys()}
    assert IN_PARTS > LIMIT * 1024**2  # at 1 MiB a second it would have taken longer than the limit


def test_a_run_stopped_while_changes_arrive_or_are_uploaded_stores_them_the_next_time(
    world: World, s3_proxy: S3Proxy
) -> None:
    repository = add_large(world)
    first = world.run().repos["acme/api"]
    grow(repository)
    drip = Fault(r"POST /acme/api\.git", status=0, drip=0.5)
    world.github.faults = [drip]
    run = stop_when(world, lambda: drip.times == 0)
    assert run.failures.keys() == {"acme/api"}
    s3_proxy.faults = [S3Fault(r"PUT .*\.changes\.bundle", "hang", times=1)]
    run = stop_when(world, lambda: s3_proxy.faults[0].times == 0)
    assert run.failures.keys() == {"acme/api"}
    assert run.manifest is not None
    assert [entry["s3_key"] for entry in run.manifest["last_good"]] == [first["s3_key"]]
    assert world.run().repos["acme/api"]["base"]["sha256"] == first["sha256"]


@pytest.mark.parametrize(
    "fault", [Fault("GET", status=0, delay=60), Fault("GET", status=429, headers={"Retry-After": "60"})]
)
def test_a_run_stopped_while_it_lists_writes_no_manifest(world: World, fault: Fault) -> None:
    world.add("api")
    world.github.faults = [fault]
    run = stop_when(world, lambda: fault.times == 0)
    assert run.manifest is None
    assert world.stored_keys() == set()


def test_a_run_stopped_by_ctrl_c_while_it_waits_to_try_again_ends_at_once(world: World) -> None:
    world.add("fork")
    world.github.faults = [Fault(r"GET /acme/fork\.git", status=429, headers={"Retry-After": "60"}, times=9)]
    run = stop_when(world, lambda: world.github.requests(r"GET /acme/fork\.git"), signal.SIGINT)
    assert run.failures.keys() == {"acme/fork"}


def test_a_server_that_never_answers_does_not_keep_a_stopped_run(world: World, s3_proxy: S3Proxy) -> None:
    world.add("fork")
    world.github.faults = [
        Fault(r"GET /acme/fork\.git", status=500, times=9),
        Fault(r"GET .*/repositories/\d+", status=0, delay=60, times=9),
    ]
    run = stop_when(world, lambda: any(f.delay and f.times < 9 for f in world.github.faults))
    assert run.failures.keys() == {"acme/fork"}
    assert s3_proxy.requests


def test_a_stopped_run_raises_its_alarm_though_s3_no_longer_answers(world: World, s3_proxy: S3Proxy) -> None:
    world.add("fork")
    world.github.faults = [Fault(r"POST /acme/fork\.git", status=0, delay=60, times=9)]
    s3_proxy.faults = [S3Fault(r"PUT .*/runs/", "hang")]
    run = stop_when(world, lambda: world.github.git_at_once)
    assert run.manifest is None
    assert "did not respond in time" in run.events[-1]["event"]


def test_a_log_that_nobody_reads_does_not_keep_a_stopped_run(world: World) -> None:
    for number in range(60):
        world.add("service-001", name=f"a-name-that-fills-the-pipe-soon-{number:060}")
    world.github.faults = [Fault(r"GET .*000059\.git", status=0, delay=60, times=9)]
    process = world.start()

    def some_are_stored() -> None:
        assert len(world.stored_keys()) >= 20

    wait_until(some_are_stored, "twenty stored bundles")
    process.send_signal(signal.SIGTERM)
    assert process.wait(LIMIT) == 143
