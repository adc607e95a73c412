"""ECS on this machine: each task is a process, with the environment that its task definition and RunTask give it.

What RunTask refuses is after the ECS API Reference. A task's environment differs from what Fargate would give it only
in `here`: where things are on this machine, and credentials.
"""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import threading
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from embedded.asl import StatesError
from embedded.integrations import AbortedError, Patience, request
from embedded.killing import kill_with_children
from embedded.programs import Process, start_program

RUN_TASK = "arn:aws:states:::ecs:runTask.sync"
# RunTask's limits: characters of all overrides, and GiB of a gp3 volume on Fargate.
MAX_OVERRIDES, MAX_VOLUME = 8192, 16384
FILESYSTEMS = {"ext3", "ext4", "xfs"}


@dataclass(frozen=True)
class TaskDefinition:
    """What a task definition says of its one container. `volumes`: those that are configured at launch."""

    arn: str
    container: dict[str, Any]
    volumes: frozenset[str]

    @classmethod
    def of(cls, resource: Mapping[str, Any]) -> "TaskDefinition":
        """Return that of an `aws_ecs_task_definition`."""
        [container] = json.loads(resource["container_definitions"])
        volumes = [volume["name"] for volume in resource["volume"] if volume.get("configure_at_launch")]
        return cls(resource["arn"], container, frozenset(volumes))


@dataclass(eq=False)
class EcsTask:
    """One task. `asked` is its RunTask; `left`: what was in its scratch folder when it ended by itself."""

    arn: str
    definition: TaskDefinition
    asked: dict[str, Any]
    environment: dict[str, str]
    command: list[str]
    process: Process
    lines: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    code: int | None = None
    killed: bool = False
    ended: threading.Event = field(default_factory=threading.Event)

    @property
    def output(self) -> str:
        return "".join(self.lines)

    @property
    def volume_gib(self) -> int:
        """Return the size of its volume, 0 where it has none."""
        return sum(volume["managedEBSVolume"]["sizeInGiB"] for volume in self.asked.get("volumeConfigurations", []))

    def kill(self) -> None:
        """End it at once with git's processes, as when its machine is lost."""
        self.killed = True
        kill_with_children(self.process.pid)

    def stop(self) -> None:
        """Stop it as StopTask does, without waiting: SIGTERM, and SIGKILL when its `stopTimeout` is over."""
        self.process.send_signal(signal.SIGTERM)

        def kill() -> None:
            if not self.ended.wait(self.definition.container["stopTimeout"]):
                self.kill()

        threading.Thread(target=kill, daemon=True).start()

    def described(self) -> dict[str, Any]:
        """Return what DescribeTasks says of it once it has ended, as Step Functions spells it."""
        container = {"Name": self.definition.container["name"], "ExitCode": self.code, "LastStatus": "STOPPED"}
        return {
            "TaskArn": self.arn,
            "TaskDefinitionArn": self.definition.arn,
            "LastStatus": "STOPPED",
            "StopCode": "EssentialContainerExited",
            "StoppedReason": "Essential container in task exited",
            "Containers": [container],
            "Overrides": self.asked.get("overrides", {}),
        }


class EmbeddedEcs:
    """A cluster. `program` is the image's entry point; `on_line` sees each line that a task writes.

    `deregistered`: task definitions that start nothing any more. AWS lets them start tasks for ten more minutes.
    """

    def __init__(
        self,
        cluster: str,
        definitions: Iterable[TaskDefinition],
        program: tuple[str, ...],
        here: Mapping[str, str],
        folder: Path,
    ) -> None:
        self.cluster, self.program, self.here, self.folder = cluster, program, here, folder
        self.definitions = {definition.arn: definition for definition in definitions}
        self.on_line: Callable[[EcsTask, str], None] = lambda *_: None
        self.deregistered: set[str] = set()
        self.tasks: list[EcsTask] = []
        self.most_at_once = 0
        self._lock = threading.Lock()

    def named(self, container: str) -> list[EcsTask]:
        """Return the tasks with a container of that name, in the order of their starts."""
        return [task for task in self.tasks if task.definition.container["name"] == container]

    def run_task(self, parameters: dict[str, Any], patience: Patience) -> dict[str, Any]:
        """Run a task to its end, as `ecs:runTask.sync` does.

        An essential container that ends with another code than 0 fails the state. When the state's time is up or the
        execution is stopped, Step Functions stops the task and does not wait for it (Developer Guide "Run a job").
        """
        task = self.start(parameters)
        try:
            patience.wait(task.ended)
        except (AbortedError, StatesError):
            task.stop()
            raise
        if task.code != 0:
            raise StatesError("States.TaskFailed", json.dumps(task.described()))
        return task.described()

    def start(self, parameters: dict[str, Any]) -> EcsTask:
        """Start a task. Raises StatesError for what RunTask refuses."""
        asked = request("ecs", "RunTask", parameters)
        definition = self.definitions.get(asked["taskDefinition"])
        if definition is None or asked["cluster"] != self.cluster:
            raise StatesError("ECS.ClientException", f"TaskDefinition or cluster not found: {asked}")
        if definition.arn in self.deregistered:
            raise StatesError("ECS.ClientException", "TaskDefinition is inactive")
        override = self._override(definition, asked)
        given = {item["name"]: item["value"] for item in definition.container["environment"]}
        given |= {item["name"]: item["value"] for item in override.get("environment", [])}
        command = [str(word) for word in override.get("command", definition.container["command"])]
        return self._start(definition, asked, given, command)

    def _override(self, definition: TaskDefinition, asked: dict[str, Any]) -> dict[str, Any]:
        """Return what replaces a part of the container definition; refuse what ECS refuses."""
        problems = []
        if asked.get("launchType") != "FARGATE":
            problems.append("No Container Instances were found in your cluster.")
        if not asked.get("networkConfiguration", {}).get("awsvpcConfiguration", {}).get("subnets"):
            problems.append("Network Configuration must be provided when networkMode 'awsvpc' is specified.")
        if len(json.dumps(asked.get("overrides", {}))) > MAX_OVERRIDES:
            problems.append("Overrides are too long")
        overrides = asked.get("overrides", {}).get("containerOverrides", [])
        unknown = {override["name"] for override in overrides} - {definition.container["name"]}
        if unknown or len(overrides) > 1:
            problems.append(f"Override for container named {unknown} is not a container in the TaskDefinition.")
        problems += _volume_problems(definition, asked.get("volumeConfigurations", []))
        if problems:
            raise StatesError("ECS.InvalidParameterException", " ".join(problems))
        return dict(overrides[0]) if overrides else {}

    def _start(
        self, definition: TaskDefinition, asked: dict[str, Any], given: dict[str, str], command: list[str]
    ) -> EcsTask:
        number = uuid.uuid4().hex
        scratch = self.folder / number
        scratch.mkdir(parents=True)
        environment = given | {**self.here, "TMPDIR": str(scratch)}
        process = start_program(
            [*self.program, *command], environment, stderr=subprocess.STDOUT, start_new_session=True
        )
        arn = f"{self.cluster.replace(':cluster/', ':task/')}/{number}"
        task = EcsTask(arn, definition, asked, environment, command, process)
        with self._lock:
            self.tasks.append(task)
            running = sum(not other.ended.is_set() for other in self.tasks)
            self.most_at_once = max(self.most_at_once, running)
        threading.Thread(target=self._watch, args=(task, scratch), daemon=True).start()
        return task

    def _watch(self, task: EcsTask, scratch: Path) -> None:
        """Wait until a task ends. Its other processes and its disk end with it."""
        reader = threading.Thread(target=self._read, args=(task,), daemon=True)
        reader.start()
        code = task.process.wait()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(task.process.pid, signal.SIGKILL)
        reader.join()
        task.left = [] if task.killed else [path.name for path in scratch.iterdir()]
        shutil.rmtree(scratch, ignore_errors=True)
        task.code = code if code >= 0 else 128 - code
        task.ended.set()

    def _read(self, task: EcsTask) -> None:
        assert task.process.stdout
        with task.process.stdout as lines:
            for line in lines:
                task.lines.append(line)
                self.on_line(task, line)


def _volume_problems(definition: TaskDefinition, configurations: list[dict[str, Any]]) -> list[str]:
    """Return what ECS says of volumes: those that the task definition leaves open, each of a possible size."""
    if [item["name"] for item in configurations] != sorted(definition.volumes):
        return [f"Volume configurations must name the volumes that are configured at launch: {definition.volumes}."]
    problems = []
    for volume in (item["managedEBSVolume"] for item in configurations):
        if not 1 <= volume.get("sizeInGiB", 0) <= MAX_VOLUME:
            problems.append(f"sizeInGiB: {volume.get('sizeInGiB')}.")
        if (volume["volumeType"], volume["filesystemType"] in FILESYSTEMS) != ("gp3", True):
            problems.append(f"Not a gp3 volume with a file system of Linux: {volume}.")
    return problems
