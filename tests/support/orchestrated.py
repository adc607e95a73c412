"""A run in many tasks on this machine: the state machine and the task definitions of the applied module.

Step Functions and ECS are embedded, and each task is a process of the program. Whatever a test is about, what always
holds of each task is checked when an execution has ended.
"""

from dataclasses import dataclass, field
from typing import Any

from embedded.ecs import RUN_TASK, EcsTask, EmbeddedEcs, TaskDefinition
from embedded.executions import Execution
from embedded.integrations import sdk
from embedded.stack import BACKUP, measured
from embedded.step_functions import StateMachine
from support.world import Run, World, events_of
from terraform.module import Applied, Module

PUT_METRICS = "arn:aws:states:::aws-sdk:cloudwatch:putMetricData"
# What is another way on this machine than on Fargate: where GitHub and AWS are, and credentials. And TMPDIR.
HERE = (
    "PATH",
    "GITHUB_API_URL",
    "GITHUB_SERVER_URL",
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_S3",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
)
# How long a second of a wait before a retry takes here.
WAIT_SECOND = 0.0002


@dataclass(frozen=True)
class OrchestratedRun(Run):
    """A run whose execution has ended. `code` is that of the last task, `output` is of all tasks."""

    execution: Execution
    tasks: list[EcsTask]


@dataclass
class Orchestrated:
    """A world whose runs are executions of the module's state machine."""

    world: World
    applied: Applied
    machine: StateMachine
    ecs: EmbeddedEcs
    # The manifests of the runs that have ended.
    manifests: set[str] = field(default_factory=set)

    def run(self, seconds: float = 100) -> OrchestratedRun:
        """Run an execution to its end and check what always holds."""
        return self.end(self.machine.start(), seconds)

    def end(self, execution: Execution, seconds: float = 100) -> OrchestratedRun:
        """Wait for an execution to end, and for its tasks; check what always holds."""
        execution.wait(seconds)
        tasks = [task for task in self.ecs.tasks if run_name(task) in {execution.name, ""}]
        for task in tasks:
            assert task.ended.wait(30), f"{task.command} still runs"
            self._check(task)
        output = "".join(task.output for task in tasks)
        manifest = self._manifest()
        code = tasks[-1].code if tasks else None
        return OrchestratedRun(-1 if code is None else code, output, events_of(output), manifest, execution, tasks)

    def _check(self, task: EcsTask) -> None:
        assert "Traceback" not in task.output, task.output
        assert task.left == [], f"{task.command} left {task.left}"
        self.world.check_no_secret(task.output)

    def _manifest(self) -> dict[str, Any] | None:
        """Return the manifest that the run has written, checked like that of any run."""
        written = self.world.run_keys() - self.manifests
        self.manifests |= written
        if not written:
            return None
        [key] = written
        manifest = self.world.read(key)
        self.world.check_manifest(manifest)
        return manifest

    def plan(self, execution: Execution, name: str) -> Any:
        """Return a file of a run's plan."""
        day = f"{execution.started_at:%Y-%m-%d}"
        return self.world.read(f"github-backup/{day}/plans/{execution.name}/{name}")


def run_name(task: EcsTask) -> str:
    """Return the execution that a task belongs to."""
    return task.environment.get("RUN_NAME", "")


def apply_for(world: World, module: Module, **inputs: Any) -> Applied:
    """Apply the module with orchestration for this world's bucket, App's key and metrics."""
    secret = world.stack.aws.new_secret(world.service, world.github.pem())
    existing = {"secret": {"arn": secret}, "bucket": {"name": world.bucket}}
    given: dict[str, Any] = {"orchestration": {"volumes": True}, "existing": existing, "service_name": world.service}
    given["kms_key_arns"] = {"signing": world.stack.aws.new_signing_key()}
    return module.apply(**given | inputs)


def orchestrate(world: World, applied: Applied, program: tuple[str, ...] = BACKUP) -> Orchestrated:
    """Return what an apply with orchestration made, ready to run on this machine."""
    local = world.environment()
    here = {name: local[name] for name in HERE} | measured()
    resources = applied.resources.items()
    definitions = [TaskDefinition.of(item) for name, item in resources if name.startswith("aws_ecs_task_definition.")]
    ecs = EmbeddedEcs(applied.outputs["ecs_cluster_arn"], definitions, program, here, world.folder / "tasks")
    made = applied["aws_sfn_state_machine.backup[0]"]
    integrations = {
        RUN_TASK: ecs.run_task,
        PUT_METRICS: sdk("cloudwatch", "PutMetricData", world.stack.aws.cloudwatch().put_metric_data),
    }

    def read(bucket: str, key: str) -> bytes:
        return world.stack.s3.client().get_object(Bucket=bucket, Key=key)["Body"].read()

    machine = StateMachine(made["arn"], made["definition"], integrations, read, WAIT_SECOND)
    return Orchestrated(world, applied, machine, ecs)
