"""Ways to run terraform against the stand-in.

`serve` is the fast one: one provider process for many runs. Terraform then skips version constraints and the lock file,
so at least one run should go through `install`, where `terraform init` finds the provider as it would any other.
"""

from __future__ import annotations

import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .provider import COOKIE, DEFAULT_REGION
from .schema import HERE, SOURCE

OLDEST = "6.40.0"
NEWEST = "6.62.0"

PACKAGE = __package__ or HERE.name
ROOT = HERE.parents[PACKAGE.count(".")]

CONFIGURATION = """\
provider_installation {{
  filesystem_mirror {{
    path    = "{directory}"
    include = ["registry.terraform.io/hashicorp/*"]
  }}
}}
disable_checkpoint = true
"""


def command(version: str) -> list[str]:
    """The command that runs the provider with the schema of one version."""
    return [sys.executable, "-m", f"{PACKAGE}.provider", "--schema", str(HERE / f"aws-{version}.json")]


def install(directory: Path, *versions: str) -> dict[str, str]:
    """Lay the stand-in out as a filesystem mirror, in one or more versions (the newest if none is named).

    Returns the environment with which `terraform init` finds it there.
    """
    machine = {"x86_64": "amd64", "aarch64": "arm64", "AMD64": "amd64"}.get(platform.machine(), platform.machine())
    for version in versions or (NEWEST,):
        folder = directory / SOURCE / version / f"{platform.system().lower()}_{machine}"
        folder.mkdir(parents=True)
        executable = folder / f"terraform-provider-aws_v{version}"
        executable.write_text(f"#!/bin/sh\nPYTHONPATH={shlex.quote(str(ROOT))} exec {shlex.join(command(version))}\n")
        executable.chmod(0o755)
    configuration = directory / "terraformrc"
    configuration.write_text(CONFIGURATION.format(directory=directory))
    return {"TF_CLI_CONFIG_FILE": str(configuration), "CHECKPOINT_DISABLE": "1"}


@contextmanager
def serve(version: str = NEWEST, region: str = DEFAULT_REGION) -> Iterator[dict[str, str]]:
    """One provider process for as long as the context lasts; yields the environment that attaches terraform to it.

    `region` stands in for AWS_REGION: it holds where a provider block names none. Runs may be concurrent.
    """
    cookie, value = COOKIE
    environment = {**os.environ, cookie: value, "AWS_REGION": region, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [*command(version), "--serve"], env=environment, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout
            attachment = process.stdout.readline().strip()
            if not attachment:
                raise RuntimeError("the stand-in provider did not start; its error is above")
            yield {"TF_REATTACH_PROVIDERS": attachment, "TF_CLI_CONFIG_FILE": os.devnull, "CHECKPOINT_DISABLE": "1"}
        finally:
            process.terminate()
