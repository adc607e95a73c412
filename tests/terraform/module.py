"""A copy of the module, planned and applied on the stand-in provider; what it made is read from the state."""

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from embedded.stack import PROJECT

ACCOUNT, REGION, REPLICA_REGION = "123456789012", "eu-central-1", "eu-west-1"
REQUIRED: dict[str, Any] = {
    "alarm_emails": ["oncall@example.com"],
    "github_app_id": "123456",
    "github_app_key_secret_writers": [f"arn:aws:iam::{ACCOUNT}:role/admin"],
    "replica_region": REPLICA_REGION,
    "subnet_ids": ["subnet-0123456789abcdef0"],
}
TERRAFORM = shutil.which("terraform")


@dataclass(frozen=True)
class Applied:
    """What an apply made: outputs, and resources and data sources by address."""

    outputs: dict[str, Any]
    resources: dict[str, dict[str, Any]]

    def __getitem__(self, address: str) -> dict[str, Any]:
        return self.resources[address]

    def policy(self, address: str) -> dict[str, Any]:
        """Return the policy document that a data source rendered."""
        document: dict[str, Any] = json.loads(self.resources[f"data.aws_iam_policy_document.{address}"]["json"])
        return document

    def environment(self, task: str = "backup") -> dict[str, str]:
        """Return the environment that a task definition gives its container."""
        return {variable["name"]: variable["value"] for variable in self.container(task)["environment"]}

    def container(self, task: str = "backup") -> dict[str, Any]:
        definitions = json.loads(self.resources[f'aws_ecs_task_definition.task["{task}"]']["container_definitions"])
        container: dict[str, Any] = definitions[0]
        return container


@dataclass(frozen=True)
class Module:
    """A folder with terraform code, and the environment in which terraform finds its provider."""

    folder: Path
    environment: Mapping[str, str]

    def terraform(self, *arguments: str, check: bool = True) -> str:
        """Run terraform and return what it prints, its errors included."""
        done = subprocess.run(
            [str(TERRAFORM), *arguments],
            cwd=self.folder,
            env={**os.environ, "AWS_REGION": REGION, **self.environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert done.returncode == 0 or not check, done.stdout
        return done.stdout

    def init(self) -> "Module":
        self.terraform("init", "-input=false", "-no-color")
        return self

    def plan(self, **variables: Any) -> str:
        """Return what a plan with these variables besides the required ones prints, refusals included."""
        return self.terraform("plan", "-no-color", "-input=false", *self._variables(variables), check=False)

    def apply(self, **variables: Any) -> Applied:
        """Apply with these variables besides the required ones, and return what was made."""
        state = self.folder / "state.json"
        state.unlink(missing_ok=True)
        options = ("-no-color", "-input=false", "-auto-approve", f"-state={state}")
        self.terraform("apply", *options, *self._variables(variables))
        shown = json.loads(self.terraform("show", "-json", str(state)))["values"]
        outputs = {name: item["value"] for name, item in shown["outputs"].items()}
        return Applied(outputs, _resources(shown["root_module"]))

    def apply_example(self) -> Applied:
        """Apply an example, which has all its values, and return what was made."""
        self.terraform("apply", "-no-color", "-input=false", "-auto-approve")
        return Applied({}, _resources(json.loads(self.terraform("show", "-json"))["values"]["root_module"]))

    def _variables(self, changes: dict[str, Any]) -> list[str]:
        file = self.folder / "given.tfvars.json"
        file.write_text(json.dumps(REQUIRED | changes))
        return [f"-var-file={file}"]


def _resources(module: dict[str, Any]) -> dict[str, dict[str, Any]]:
    found = {resource["address"]: resource["values"] for resource in module.get("resources", [])}
    for child in module.get("child_modules", []):
        found |= _resources(child)
    return found


def copy_module(folder: Path) -> Path:
    """Copy the module's code, without whatever terraform left beside it, and return the copy's folder."""
    for source in PROJECT.glob("*.tf"):
        shutil.copy(source, folder)
    shutil.copytree(PROJECT / "modules", folder / "modules", ignore=shutil.ignore_patterns(".terraform*"))
    return folder
