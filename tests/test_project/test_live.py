"""`make test-live`, as far as it goes without an account: what it asks for, and what it applies on the stand-in."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from embedded.stack import PROJECT
from terraform.module import ACCOUNT, REGION, REPLICA_REGION, Module
from tools import live

GIVEN = {
    "AWS_REGION": REGION,
    "GITHUB_APP_ID": "123456",
    "GITHUB_APP_KEY_FILE": "/nowhere/key.pem",
    "LIVE_ALARM_EMAIL": "a@example.com",
    "LIVE_REPLICA_REGION": REPLICA_REGION,
    "LIVE_SUBNET_IDS": "subnet-0123456789abcdef0,subnet-0fedcba9876543210",
}


def test_it_names_what_is_missing_and_does_nothing() -> None:
    environment = {name: value for name, value in os.environ.items() if name not in live.REQUIRED}
    environment["PYTHONPATH"] = f"{PROJECT / 'container'}:{PROJECT / 'tests'}"
    command = [sys.executable, str(PROJECT / "tests" / "tools" / "live.py")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    for name, what in (live.REQUIRED | live.OPTIONAL).items():
        assert f"  {name}: {what}" in done.stderr
    assert not live.FOLDER.exists()


def test_a_key_that_is_not_there_is_named() -> None:
    assert "GITHUB_APP_KEY_FILE: there is no file /nowhere/key.pem" in list(live.missing(GIVEN))
    assert [line for line in live.missing(GIVEN) if line.startswith("AWS_REGION")] == []


@pytest.mark.parametrize("image", [None, "registry.example.com/github-backup@sha256:" + "0" * 64])
def test_what_it_applies_has_the_outputs_it_uses(standin: dict[str, str], tmp_path: Path, image: str | None) -> None:
    writer = f"arn:aws:iam::{ACCOUNT}:role/tester"
    live.write_root(tmp_path, GIVEN | ({"LIVE_IMAGE_URI": image} if image else {}), live.Account(writer))
    root = Module(live.root(tmp_path), standin).init()
    root.terraform("apply", "-no-color", "-input=false", "-auto-approve")
    outputs = json.loads(root.terraform("output", "-json", "live"))
    used = re.findall(r'outputs\["(\w+)"\]', Path(live.__file__).read_text())
    assert set(used) <= outputs.keys()
    assert outputs["restore_drill_command"].endswith(f" {live.SERVICE}-drill")
    made = root.terraform("show", "-no-color")
    assert writer in made
    assert (image or "public.ecr.aws/terraform-aws-github-backup/github-backup") in made


def test_the_page_names_what_it_needs() -> None:
    page = (PROJECT / "docs" / "test-live.md").read_text()
    for name in live.REQUIRED | live.OPTIONAL:
        assert f"`{name}`" in page
