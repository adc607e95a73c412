"""`make terraform`: format, validate and `terraform test`, with the real provider where a registry can be reached.

Where it can't be reached, the same files run against the stand-in provider; where terraform is missing, that is said
and nothing is run. AWS_PROVIDER=6.40.0 in the environment takes exactly that version of the real provider. Arguments
are the names of the files in tests/ to run, without `.tftest.hcl`; by default all.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from embedded.stack import PROJECT
from terraform.module import REGION, TERRAFORM
from terraform.standin.mirror import NEWEST, serve

# Longer than the registry takes to answer, and to send a provider of some hundred megabytes.
SECONDS = 300
REACHABLE_SECONDS = 15


def main(names: list[str]) -> int:
    """Run what can be run here, say what it was, and return the exit code."""
    if TERRAFORM is None:
        print("terraform: not installed, so the module is NOT tested here; everything else is")
        return 0
    with tempfile.TemporaryDirectory() as name:
        folder = copy_with_tests(Path(name))
        if run(folder, {}, "fmt", "-check", "-diff", "-recursive"):
            return 1
        if registry_answers(folder):
            print("terraform: the real hashicorp/aws provider, from the registry")
            return check(folder, {}, names)
        with serve(region=REGION) as environment:
            print(f"terraform: no registry can be reached, so the stand-in provider {NEWEST} is used")
            return check(folder, environment, names)


def copy_with_tests(folder: Path) -> Path:
    """Copy the module, its tests and its examples, so that no lock file is left in the checkout."""
    for source in PROJECT.glob("*.tf"):
        shutil.copy(source, folder)
    (folder / "tests").mkdir()
    for source in (PROJECT / "tests").glob("*.tftest.hcl"):
        shutil.copy(source, folder / "tests")
    shutil.copytree(PROJECT / "tests" / "mocks", folder / "tests" / "mocks")
    for name in ("examples", "modules"):
        shutil.copytree(PROJECT / name, folder / name, ignore=shutil.ignore_patterns(".terraform*"))
    if exactly := os.environ.get("AWS_PROVIDER"):
        required = {"aws": {"source": "hashicorp/aws", "version": exactly}}
        override = {"terraform": {"required_providers": required}}
        (folder / "version_override.tf.json").write_text(json.dumps(override))
    return folder


def registry_answers(folder: Path) -> bool:
    """Return whether the provider's versions can be asked for within a moment."""
    try:
        done = subprocess.run(
            [str(TERRAFORM), "init", "-input=false", "-no-color"],
            cwd=folder,
            env={
                **os.environ,
                "TF_REGISTRY_CLIENT_TIMEOUT": str(REACHABLE_SECONDS),
                "TF_REGISTRY_DISCOVERY_RETRY": "0",
            },
            capture_output=True,
            timeout=SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


def check(folder: Path, environment: Mapping[str, str], names: list[str]) -> int:
    """Validate the module and run its tests."""
    tests = ("test", "-no-color", *(f"-filter=tests/{name}.tftest.hcl" for name in names))
    commands = (("init", "-input=false", "-no-color"), ("validate", "-no-color"), tests)
    return next((1 for command in commands if run(folder, environment, *command)), 0)


def run(folder: Path, environment: Mapping[str, str], *command: str) -> int:
    """Run terraform; print all that it said where it failed, and how it succeeded otherwise."""
    done = subprocess.run(
        [str(TERRAFORM), *command],
        cwd=folder,
        env={**os.environ, "AWS_REGION": REGION, "CHECKPOINT_DISABLE": "1", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    success = re.findall(r"^Success! (.*)$", done.stdout, re.MULTILINE)
    print(f"terraform {command[0]}: {done.stdout if done.returncode else ' '.join(success) or 'ok'}", flush=True)
    return done.returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
