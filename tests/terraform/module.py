"""A copy of the module, planned and applied on the stand-in provider, and what that makes.

What the same code makes of the same inputs is asked once in a session, whichever worker asks.
"""

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
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
PLAN = ("plan", "-no-color", "-input=false")


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
    """A folder with terraform code, and the environment in which terraform finds its provider.

    `memory`: the folder of what is remembered, None where nothing is.
    """

    folder: Path
    environment: Mapping[str, str]
    memory: Path | None = None

    def terraform(self, *arguments: str, check: bool = True) -> str:
        """Run terraform and return what it prints, its errors included."""
        done = subprocess.run(
            [str(TERRAFORM), *arguments],
            cwd=self.folder,
            env={**os.environ, "AWS_REGION": REGION, "GOGC": "400", **self.environment},
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
        printed: str = self._once(
            "plan", variables, lambda: self.terraform(*PLAN, *self._variables(variables), check=False)
        )
        return printed

    def apply(self, **variables: Any) -> Applied:
        """Return what an apply with these variables besides the required ones makes."""
        return Applied(**self._once("apply", variables, lambda: asdict(self.apply_now(**variables))))

    def apply_now(self, **variables: Any) -> Applied:
        """Apply with these variables besides the required ones, leave the state, and return what was made."""
        state = self.folder / "state.json"
        state.unlink(missing_ok=True)
        options = ("-no-color", "-input=false", "-auto-approve", f"-state={state}")
        self.terraform("apply", *options, *self._variables(variables))
        return _applied(state)

    def changes(self, **variables: Any) -> dict[str, Any]:
        """Return what a plan with these variables changes of the state that `apply_now` left, by address."""
        options = ("-no-color", "-input=false", "-state=state.json", "-out=next.plan")
        self.terraform("plan", *options, *self._variables(variables))
        shown = json.loads(self.terraform("show", "-json", "next.plan"))
        return {found["address"]: found["change"] for found in shown["resource_changes"]}

    def _once(self, what: str, variables: dict[str, Any], ask: Callable[[], Any]) -> Any:
        """Return what is remembered under this code and these inputs; ask where nobody has."""
        if self.memory is None:
            return ask()
        code = {str(path.relative_to(self.folder)): path.read_text() for path in sorted(self.folder.rglob("*.tf"))}
        key = json.dumps([what, variables, code], sort_keys=True)
        file = self.memory / f"{hashlib.sha256(key.encode()).hexdigest()}.json"
        with file.open("a+") as remembered:
            fcntl.flock(remembered, fcntl.LOCK_EX)
            if not file.stat().st_size:
                remembered.write(json.dumps(ask()))
            remembered.seek(0)
            return json.load(remembered)

    def apply_example(self) -> Applied:
        """Return what an apply of an example makes, which has all its values."""

        def ask() -> dict[str, Any]:
            self.terraform("apply", "-no-color", "-input=false", "-auto-approve")
            return asdict(_applied(self.folder / "terraform.tfstate"))

        return Applied(**self._once("example", {}, ask))

    def _variables(self, changes: dict[str, Any]) -> list[str]:
        file = self.folder / "given.tfvars.json"
        file.write_text(json.dumps(REQUIRED | changes))
        return [f"-var-file={file}"]


def _applied(state: Path) -> Applied:
    """Return what a state holds, by the addresses that terraform uses. `terraform show` would take 0.3 s to say it."""
    document = json.loads(state.read_text())
    resources = {}
    for resource in document["resources"]:
        places = [resource.get("module"), "data" if resource["mode"] == "data" else None]
        address = ".".join(filter(None, (*places, resource["type"], resource["name"])))
        for instance in resource["instances"]:
            index = f"[{json.dumps(instance['index_key'])}]" if "index_key" in instance else ""
            resources[address + index] = {name: _plain(value) for name, value in instance["attributes"].items()}
    return Applied({name: item["value"] for name, item in document["outputs"].items()}, resources)


def _plain(value: Any) -> Any:
    """Return the value of an attribute that a state holds together with its type, as those of terraform_data."""
    return value["value"] if isinstance(value, dict) and value.keys() == {"value", "type"} else value


def copy_module(folder: Path) -> Path:
    """Copy the module's code, without whatever terraform left beside it, and return the copy's folder."""
    for source in PROJECT.glob("*.tf"):
        shutil.copy(source, folder)
    shutil.copytree(PROJECT / "modules", folder / "modules", ignore=shutil.ignore_patterns(".terraform*"))
    return folder
