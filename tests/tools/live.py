"""`make test-live`: the module in a real AWS account, against a real organization on GitHub.

Applies the basic example, stores the App's key, runs a backup, restores everything on this machine, runs the restore
drill and a backup in several tasks, and destroys all of it again. Costs a few cents and takes about an hour.
"""

import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from embedded.stack import PROJECT, RESTORE
from tools.terraform_test import copy_with_tests

FOLDER = PROJECT / "build" / "live"
SERVICE = "github-backup-live"
REPLICATION_SECONDS = 1800
EXECUTION_SECONDS = 3600
REQUIRED = {
    "AWS_REGION": "the region to deploy in",
    "GITHUB_APP_ID": "of an App that is installed in a test organization",
    "GITHUB_APP_KEY_FILE": "the App's private key, a PEM file",
    "LIVE_ALARM_EMAIL": "an address that may receive alarms",
    "LIVE_REPLICA_REGION": "another region, for the replica",
    "LIVE_SUBNET_IDS": "subnets that reach the internet, separated by commas",
}
OPTIONAL = {
    "LIVE_ASSIGN_PUBLIC_IP": "true where the subnets are public",
    "LIVE_CPU_ARCHITECTURE": "X86_64 or ARM64 (the default), as the image",
    "LIVE_IMAGE_URI": "an image of your own; by default that of the module's release",
}


class FailedError(Exception):
    """What did not go as it must."""


@dataclass(frozen=True)
class Account:
    """Who runs this: the principal that stores the App's key."""

    arn: str


def main() -> int:
    """Run it all and return the exit code: 2 where something is missing."""
    if problems := list(missing(os.environ)):
        print("make test-live deploys into a real AWS account. Missing:", *problems, sep="\n  ", file=sys.stderr)
        print("Optional:", *(f"{name}: {what}" for name, what in OPTIONAL.items()), sep="\n  ", file=sys.stderr)
        return 2
    try:
        live(os.environ)
    except FailedError as error:
        print(f"\nFAILED: {error}", file=sys.stderr)
        return 1
    say("passed")
    return 0


def missing(environment: Mapping[str, str]) -> Iterator[str]:
    """Yield what has to be there first, by name."""
    for name, what in REQUIRED.items():
        if not environment.get(name):
            yield f"{name}: {what}"
    key = environment.get("GITHUB_APP_KEY_FILE")
    if key and not Path(key).is_file():
        yield f"GITHUB_APP_KEY_FILE: there is no file {key}"
    if not shutil.which("terraform"):
        yield "terraform: the program, 1.9 or newer"
    if (root(FOLDER) / "terraform.tfstate").exists():
        yield f"{FOLDER} is left from a run that did not end: terraform -chdir={root(FOLDER)} destroy, then remove it"


def live(environment: Mapping[str, str]) -> None:
    """Deploy, test, and destroy whatever happened."""
    account = find_account()
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    write_root(FOLDER, environment, account)
    terraform("init", "-input=false")
    try:
        terraform("apply", "-input=false", "-auto-approve")
        outputs = json.loads(run("terraform", f"-chdir={root(FOLDER)}", "output", "-json", "live"))
        prove(outputs, environment)
    finally:
        say("destroying")
        terraform("destroy", "-input=false", "-auto-approve")
    shutil.rmtree(FOLDER)


def prove(outputs: Mapping[str, Any], environment: Mapping[str, str]) -> None:
    """Back up, restore here, and let the drill restore from the replica."""
    say("storing the App's key")
    key = Path(environment["GITHUB_APP_KEY_FILE"]).resolve()
    secret = outputs["github_app_key_secret_arn"]
    run("aws", "secretsmanager", "put-secret-value", "--secret-id", secret, "--secret-string", f"file://{key}")
    say("running a backup on Fargate")
    run_task(outputs["run_task_command"], outputs)
    say("restoring every repository on this machine")
    run(*RESTORE, "verify", "--all", "--bucket", outputs["s3_bucket_name"])
    say("waiting for the replica")
    wait_for_replica(outputs)
    say("running the restore drill on Fargate")
    run_task(outputs["restore_drill_command"], outputs)
    say("letting Step Functions check the state machine")
    validate_state_machine(outputs["state_machine_arn"])
    say("running a backup in several tasks")
    run_state_machine(outputs)


def validate_state_machine(arn: str) -> None:
    """Raise FailedError for a fault that Step Functions finds: a field of RunTask that it does not take, too."""
    machine = json.loads(
        run("aws", "stepfunctions", "describe-state-machine", "--state-machine-arn", arn, "--output", "json")
    )
    file = FOLDER / "definition.json"
    file.write_text(machine["definition"])
    given = ("--definition", f"file://{file}", "--type", "STANDARD", "--output", "json")
    found = json.loads(run("aws", "stepfunctions", "validate-state-machine-definition", *given))
    if found["result"] != "OK":
        raise FailedError(f"Step Functions refuses the state machine: {found['diagnostics']}")


def run_state_machine(outputs: Mapping[str, Any]) -> None:
    """Start an execution, wait for its end, and raise FailedError unless it succeeded."""
    arn = json.loads(run(*shlex.split(outputs["start_execution_command"]), "--output", "json"))["executionArn"]
    deadline = time.monotonic() + EXECUTION_SECONDS
    while (ended := describe(arn))["status"] == "RUNNING" and time.monotonic() < deadline:
        time.sleep(30)
    if ended["status"] != "SUCCEEDED":
        raise FailedError(f"{arn}: {ended['status']}, {ended.get('error')}: {ended.get('cause')}")


def describe(execution: str) -> dict[str, Any]:
    named = ("--execution-arn", execution, "--output", "json")
    found: dict[str, Any] = json.loads(run("aws", "stepfunctions", "describe-execution", *named))
    return found


def find_account() -> Account:
    """Return who runs this; of an assumed role, the role."""
    caller = json.loads(run("aws", "sts", "get-caller-identity", "--output", "json"))["Arn"]
    if ":assumed-role/" not in caller:
        return Account(caller)
    role = caller.split("/")[1]
    return Account(json.loads(run("aws", "iam", "get-role", "--role-name", role, "--output", "json"))["Role"]["Arn"])


def root(folder: Path) -> Path:
    return folder / "examples" / "basic"


def write_root(folder: Path, environment: Mapping[str, str], account: Account) -> None:
    """Copy the module and write what its basic example has differently here, as Terraform's override file."""
    copy_with_tests(folder)
    given = {
        "alarm_emails": [environment["LIVE_ALARM_EMAIL"]],
        "assign_public_ip": environment.get("LIVE_ASSIGN_PUBLIC_IP") == "true",
        "cpu_architecture": environment.get("LIVE_CPU_ARCHITECTURE") or "ARM64",
        "force_destroy": True,
        "github_app_id": environment["GITHUB_APP_ID"],
        "github_app_key_secret_writers": [account.arn],
        "image_uri": environment.get("LIVE_IMAGE_URI") or None,
        # With all fields of RunTask that Step Functions does not document.
        "fargate_spot": {"shards": True},
        "orchestration": {"shards": 2, "volumes": True},
        "replica_region": environment["LIVE_REPLICA_REGION"],
        "restore_drill": {},
        "schedule_enabled": False,
        "service_name": SERVICE,
        "subnet_ids": environment["LIVE_SUBNET_IDS"].split(","),
    }
    override = {
        "provider": {"aws": {"region": environment["AWS_REGION"]}},
        "module": {"github_backup": {name: value for name, value in given.items() if value is not None}},
    }
    (root(folder) / "override.tf.json").write_text(json.dumps(override, indent=1))
    (root(folder) / "live.tf.json").write_text('{"output": {"live": {"value": "${module.github_backup}"}}}')


def run_task(command: str, outputs: Mapping[str, Any]) -> None:
    """Start a task, wait for its end, and raise FailedError unless its program succeeded."""
    task = json.loads(run(*shlex.split(command), "--output", "json"))["tasks"][0]["taskArn"]
    where = ("--cluster", outputs["ecs_cluster_arn"])
    run("aws", "ecs", "wait", "tasks-stopped", *where, "--tasks", task)
    ended = json.loads(run("aws", "ecs", "describe-tasks", *where, "--tasks", task, "--output", "json"))["tasks"][0]
    container = ended["containers"][0]
    if container.get("exitCode") != 0:
        why = container.get("reason") or ended.get("stoppedReason")
        raise FailedError(f"{task}: exit code {container.get('exitCode')}, {why}; see {outputs['log_group_name']}")


def wait_for_replica(outputs: Mapping[str, Any]) -> None:
    """Return when the replica has as many objects as the primary bucket."""
    deadline = time.monotonic() + REPLICATION_SECONDS
    while count(outputs["replica_bucket_name"]) < count(outputs["s3_bucket_name"]):
        if time.monotonic() > deadline:
            raise FailedError(f"S3 has not replicated everything within {REPLICATION_SECONDS} s")
        time.sleep(30)


def count(bucket: str) -> int:
    return len(run("aws", "s3", "ls", "--recursive", f"s3://{bucket}/github-backup/").splitlines())


def terraform(*arguments: str) -> None:
    """Run terraform and show what it prints."""
    if subprocess.run(["terraform", f"-chdir={root(FOLDER)}", *arguments], check=False).returncode:
        raise FailedError(f"terraform {arguments[0]}; what is there: terraform -chdir={root(FOLDER)} state list")


def run(*command: str) -> str:
    """Run a command and return what it prints; raise FailedError with its last words where it fails."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(command, env={**os.environ, "PATH": path}, capture_output=True, text=True, check=False)
    if done.returncode:
        raise FailedError(f"{' '.join(command[:3])}: {done.stderr[-2000:].strip()}")
    return done.stdout


def say(text: str) -> None:
    print(f"== {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
