"""`make test-image`: the image, built and run as the rendered task definitions say, a whole backup and restore in it.

Everything around the container is embedded, as in the other tests. `make test` leaves this file out, as it takes
minutes: it builds the image twice.
"""

import os
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NoReturn

import pytest

from embedded.organisation import AWKWARD, LARGE
from embedded.ports import wait_until
from embedded.stack import PROJECT
from github_s3_backup.version import TOOL_VERSION
from image.base import provide_base
from image.cgroup import Meter
from image.engine import Container, Engine, find_engine, find_options
from support.world import Restored, Run, World, events_of
from terraform.module import ACCOUNT, Applied, Module

IMAGE = "localhost/github-backup:test"
MEMORY = 2048
# What differs on this machine: where GitHub and AWS are, and credentials, which Fargate gives by a role.
HERE = ("GITHUB_API_URL", "GITHUB_SERVER_URL", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3")
CREDENTIALS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")


def say(text: str) -> None:
    print(f"image: {text}", flush=True)


def give_up(why: str) -> NoReturn:
    """Say why the image can't be proven here: a failure where TEST_IMAGE=required says that it must be."""
    words = f"the image is NOT proven here: {why}"
    if os.environ.get("TEST_IMAGE") == "required":
        pytest.fail(words)
    pytest.skip(words)


@pytest.fixture(scope="session")
def build() -> tuple[Engine, list[str]]:
    """An engine that has built the image, and the options of that build."""
    engine = find_engine()
    if engine is None:
        give_up("no Docker daemon answers, and podman is not installed")
    begun = time.monotonic()
    provided = provide_base(engine)
    if provided is None:
        give_up("no registry can be reached, and mmdebstrap, which makes a stand-in for the base, is not installed")
    base, options = provided
    say(f"built on {base}; it was ready in {time.monotonic() - begun:.0f} s")
    begun = time.monotonic()
    engine.build(IMAGE, *options)
    say(f"built with {engine.program} in {time.monotonic() - begun:.0f} s")
    return engine, options


@pytest.fixture(scope="session")
def engine(build: tuple[Engine, list[str]]) -> Engine:
    found, problem = find_options(build[0], IMAGE)
    if found is None:
        give_up(f"{build[0].program} runs no container on this machine: {problem}")
    say(f"runs with {' '.join((found.program, *found.globals, *found.options))}")
    if not found.limits_memory:
        say("control groups can't be set here: NOT proven with a memory limit")
    return found


@dataclass
class Task:
    """The module's task definitions, run on this machine in a volume of their own."""

    engine: Engine
    world: World
    applied: Applied
    volume: str

    def start(self, task: str) -> tuple["subprocess.Popen[str]", Container]:
        """Start a task and return its process, which prints what it logs, and its container."""
        name, line = self._command(task)
        process = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        return process, Container(name, self.engine)

    def restore(self, task: str, *command: str) -> Restored:
        """Run a task that restores; a command replaces that of its definition (`aws ecs run-task --overrides`)."""
        _, line = self._command(task, *command)
        done = subprocess.run(line, capture_output=True, text=True, timeout=300, check=False)
        return Restored(done.returncode, done.stdout, done.stderr, events_of(done.stderr))

    def _command(self, task: str, *command: str) -> tuple[str, list[str]]:
        definition = self.applied.container(task) | ({"command": list(command)} if command else {})
        local = self.world.environment()
        variables = self.applied.environment(task) | {name: local[name] for name in (*HERE, *CREDENTIALS)}
        file = self.world.folder / "variables"
        file.write_text("".join(f"{name}={value}\n" for name, value in variables.items()))
        name = f"github-backup-test-{time.monotonic_ns()}"
        return name, self.engine.command(definition, self.volume, name, IMAGE, file)

    def files(self, script: str) -> tuple[int, str]:
        """Run a shell script in a container like the task's."""
        definition = self.applied.container() | {"entryPoint": ["sh", "-c"], "command": [script]}
        file = self.world.folder / "nothing"
        file.write_text("")
        line = self.engine.command(definition, self.volume, f"github-backup-test-{time.monotonic_ns()}", IMAGE, file)
        done = subprocess.run(line, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout + done.stderr


@pytest.fixture
def task(engine: Engine, world: World, module: Module) -> Iterator[Task]:
    secret = world.stack.aws.new_secret(world.service, world.github.pem())
    bucket = {"name": world.bucket}
    applied = module.apply(
        existing={"secret": {"arn": secret}, "bucket": bucket, "replica_bucket": bucket | {"account_id": ACCOUNT}},
        kms_key_arns={"signing": world.stack.aws.new_signing_key()},
        restore_drill={},
        service_name=world.service,
        task_memory=MEMORY,
    )
    volume = f"github-backup-test-{time.monotonic_ns()}"
    engine.tell("volume", "create", volume)
    yield Task(engine, world, applied, volume)
    engine.tell("volume", "rm", volume)


def first_request(world: World, since: float) -> float:
    """Wait for the first request that reaches GitHub, and return the seconds since then."""

    def wait() -> None:
        assert world.github.requests("")

    wait_until(wait, "the run's first request to GitHub")
    return time.monotonic() - since


def watched(task: Task) -> Run:
    """Run a backup to its end, measured."""
    begun = time.monotonic()
    process, container = task.start("backup")
    with Meter(container.pid) as meter:
        started = first_request(task.world, begun)
        run = task.world.end(process, 300)
    seconds = time.monotonic() - begun
    say(f"{task.engine.size(IMAGE) / 1e6:.0f} MB of layers, not compressed")
    say(f"{started:.1f} s from start to the first request to GitHub, {seconds:.1f} s in all")
    if task.engine.limits_memory:
        assert meter.limit == MEMORY * 2**20
        assert meter.peak
        say(f"memory: at most {meter.peak / 2**20:.0f} MiB of {MEMORY} in the control group with files' pages")
        say(f"memory: at most {meter.processes / 2**20:.0f} MiB in the processes (every 50 ms)")
    return run


def test_a_backup_and_a_restore_run_in_it_as_on_fargate(task: Task) -> None:
    world = task.world
    for recipe in (*AWKWARD, *LARGE):
        world.add(recipe.name)
    run = watched(task)
    assert run.code == 0, run.output
    assert len(run.repos) == len(AWKWARD) + len(LARGE)
    say(f"backup: {len(run.repos)} repositories, git {run.manifest['git_version'] if run.manifest else ''}")
    assert task.files("ls -A /scratch") == (0, ""), "a run leaves nothing in its volume"

    listed = task.restore("backup", "restore", "list", "--limit", "1")
    assert listed.code == 0, listed.stderr
    assert f" {len(run.repos)} " in listed.stdout
    verified = task.restore("backup", "restore", "verify", "--all")
    assert verified.code == 0, verified.stderr
    assert len(verified.named("verified")) == len(run.repos)
    drill = task.restore("drill")
    assert drill.code == 0, drill.stderr
    assert world.metrics()["RestoreVerified"] == [len(drill.named("verified"))]
    say(f"restored and compared: {len(run.repos)} repositories; by a drill {len(drill.named('verified'))}, a sample")
    assert task.files("ls -A /scratch") == (0, "")


def test_its_git_sends_credentials_with_the_first_request(task: Task) -> None:
    task.world.add("public", private=False)
    run = task.world.end(task.start("backup")[0])
    assert run.code == 0, run.output
    asked = [bool(request.headers.get("Authorization")) for request in task.world.github.requests(r"\.git/")]
    assert asked
    assert all(asked)
    say(f"a public repository: {len(asked)} requests by git, {asked.count(False)} of them without credentials")


def test_sigterm_reaches_the_program(task: Task) -> None:
    task.world.add("api")
    task.world.github.latency = 2.0
    process, container = task.start("backup")
    first_request(task.world, 0)
    container.kill("TERM")
    begun = time.monotonic()
    run = task.world.end(process)
    assert run.code == 143, run.output
    say(f"SIGTERM: exit 143 after {time.monotonic() - begun:.1f} s")


def test_nothing_but_the_volume_can_be_written_to_and_no_capability_is_left(task: Task) -> None:
    _, output = task.files("for place in / /app /etc /opt/venv /tmp /var/tmp; do touch $place/x; done")
    assert output.count("Read-only file system") == 6, output
    assert task.files("id -u") == (0, "65532\n")
    code, output = task.files("touch /scratch/x && rm /scratch/x && grep Cap /proc/self/status")
    assert code == 0, output
    assert {line.split()[1] for line in output.splitlines()} == {"0" * 16}


def test_it_holds_no_compiler_no_cache_and_its_labels(task: Task) -> None:
    _, output = task.files("which cc gcc make; ls /var/lib/apt/lists /var/cache /root/.cache 2> /dev/null")
    assert output.split() == ["/var/cache:", "/var/lib/apt/lists:"], output
    configuration = task.engine.configuration(IMAGE)
    assert configuration["User"] == task.applied.container()["user"]
    assert configuration["Labels"]["org.opencontainers.image.version"] == TOOL_VERSION
    assert configuration["Labels"]["org.opencontainers.image.base.name"].startswith("docker.io/library/python:")


def test_a_second_build_makes_the_same_files(build: tuple[Engine, list[str]]) -> None:
    engine, options = build
    engine.build(f"{IMAGE}-again", "--no-cache", *options)
    first, second = (contents(image) for image in (IMAGE, f"{IMAGE}-again"))
    assert first == second
    assert len(first) > 1000
    say(f"a second build without cache: {len(first)} files and packages, all the same")


def contents(image: str) -> list[str]:
    script = PROJECT / "container" / "contents.sh"
    return subprocess.run([script, image], check=True, capture_output=True, text=True).stdout.splitlines()
