"""Every example, and the README's usage block, is planned as a user would plan it."""

import re
import shutil
from pathlib import Path

import pytest

from embedded.stack import PROJECT
from terraform.module import Applied, Module, copy_module

EXAMPLES = sorted(path.name for path in (PROJECT / "examples").iterdir())


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_validates_plans_and_applies(name: str, standin: dict[str, str], tmp_path: Path) -> None:
    folder = copy_module(tmp_path) / "examples" / name
    shutil.copytree(PROJECT / "examples" / name, folder, ignore=shutil.ignore_patterns(".terraform*"))
    example = Module(folder, standin).init()
    example.terraform("validate", "-no-color")
    applied = example.terraform("apply", "-no-color", "-input=false", "-auto-approve")
    assert int(re.search(r"Plan: (\d+) to add", applied)[1]) > 20  # type: ignore[index]
    assert "No changes." in example.terraform("plan", "-no-color", "-input=false")


@pytest.mark.exhaustive
def test_the_brought_bucket_of_the_example_keeps_objects_as_long_as_the_modules_own(
    standin: dict[str, str], applied: Applied, tmp_path: Path
) -> None:
    folder = copy_module(tmp_path) / "examples" / "existing-resources"
    shutil.copytree(PROJECT / "examples" / "existing-resources", folder, ignore=shutil.ignore_patterns(".terraform*"))
    brought = Module(folder, standin).init().apply_example()

    def rules(made: Applied, address: str) -> dict[str, object]:
        found = made[f"{address}aws_s3_bucket_lifecycle_configuration.{'backup' if address else 'backups'}"]["rule"]
        parts = ("filter", "expiration", "noncurrent_version_expiration")
        return {rule["id"]: [rule[part] for part in parts] for rule in found if rule["expiration"]}

    assert rules(brought, "") == rules(applied, "module.primary[0].")


def test_the_readmes_usage_block_is_the_basic_example() -> None:
    readme = (PROJECT / "README.md").read_text()
    (block,) = re.findall(r"```hcl\n(.*?)```", readme, re.DOTALL)
    example = (PROJECT / "examples" / "basic" / "main.tf").read_text()

    def arguments(text: str) -> list[str]:
        body = re.search(r'^module "github_backup" \{\n(.*?)^\}', text, re.MULTILINE | re.DOTALL)
        assert body
        return [
            " ".join(line.split())
            for line in body[1].splitlines()
            if line.strip() and " source" not in f" {line.split()[0]}"
        ]

    assert arguments(block) == arguments(example)
