"""The workflows: pinned, allowed little, and green in a fork without credentials. `make lint` runs linters on them."""

import re
from typing import Any

import pytest
import yaml

from embedded.stack import PROJECT

FOLDER = PROJECT / ".github" / "workflows"
TEXTS = {path.stem: path.read_text() for path in FOLDER.glob("*.yml")}
# YAML 1.1 reads the key `on` as true.
WORKFLOWS: dict[str, dict[Any, Any]] = {name: yaml.safe_load(text) for name, text in TEXTS.items()}
JOBS = [(name, job) for name, workflow in WORKFLOWS.items() for job in workflow["jobs"]]
# Everything that a job may do beyond reading the code, and why.
MORE = {
    ("docs", "deploy"): {"id-token", "pages"},
    ("image", "publish"): {"id-token"},
    ("release", "image"): {"id-token"},
    ("release", "release"): {"contents"},
}


def test_there_is_one_for_each_task() -> None:
    assert WORKFLOWS.keys() == {"audit", "docs", "image", "release", "test"}
    assert "schedule" in WORKFLOWS["image"][True], "the image is rebuilt for fixes in its base"
    assert "schedule" in WORKFLOWS["audit"][True]


@pytest.mark.parametrize("name", TEXTS)
def test_every_action_is_a_commit_with_its_version_beside_it(name: str) -> None:
    used = re.findall(r"uses: (.*)", TEXTS[name])
    assert used
    for action in used:
        assert re.fullmatch(r"[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", action), action


def test_an_action_has_one_version_everywhere() -> None:
    pins: dict[str, set[str]] = {}
    for text in TEXTS.values():
        for action, version in re.findall(r"uses: ([\w./-]+)@(.*)", text):
            pins.setdefault(action, set()).add(version)
    assert {action: found for action, found in pins.items() if len(found) > 1} == {}


@pytest.mark.parametrize(("name", "job"), JOBS)
def test_a_job_may_do_only_what_it_needs(name: str, job: str) -> None:
    assert WORKFLOWS[name]["permissions"] == {}, "by default, nothing"
    permissions = WORKFLOWS[name]["jobs"][job]["permissions"]
    assert {what for what, level in permissions.items() if level == "write"} == MORE.get((name, job), set())


def test_the_tests_need_no_credentials() -> None:
    assert "secrets." not in TEXTS["test"] + TEXTS["audit"]
    assert "vars." not in TEXTS["test"] + TEXTS["audit"]
    assert [job for job, about in WORKFLOWS["test"]["jobs"].items() if "if" in about] == []


@pytest.mark.parametrize("name", ["docs", "image", "release"])
def test_what_publishes_does_nothing_in_a_fork(name: str) -> None:
    jobs = WORKFLOWS[name]["jobs"]
    for about in jobs.values():
        assert re.match(r"vars\.PUBLISH_\w+ [!=]= ", about.get("if", "")) or "needs" in about


def test_the_tests_cover_the_versions_that_are_supported() -> None:
    jobs = WORKFLOWS["test"]["jobs"]
    module = (PROJECT / "versions.tf").read_text()
    program = (PROJECT / "container" / "pyproject.toml").read_text()
    oldest = jobs["terraform"]["strategy"]["matrix"]
    assert f'required_version = ">= {oldest["terraform"][0].removesuffix(".0")}"' in module
    assert re.search(rf'version = "[~>=]+ {re.escape(oldest["provider"][0].removesuffix(".0"))}(\.0)?\b', module)
    assert f'requires-python = ">={jobs["test"]["strategy"]["matrix"]["python"][0]}"' in program
    assert [step["run"] for step in jobs["test"]["steps"] if step.get("run", "").startswith("make")] == ["make test"]


def test_the_published_image_is_the_modules() -> None:
    module = (PROJECT / "versions.tf").read_text()
    for name in ("image", "release"):
        assert f'"{WORKFLOWS[name]["env"]["IMAGE"]}"' in module
    platforms = re.search(r"platforms: (linux.*)", TEXTS["image"])
    assert platforms
    assert platforms[1] == "linux/amd64,linux/arm64"


def test_the_lowest_versions_are_the_same_wherever_they_stand() -> None:
    versions = (PROJECT / "versions.tf").read_text()
    terraform = re.search(r'required_version = ">= ([\d.]+)"', versions)
    provider = re.search(r'version = ">= ([\d.]+)"', versions.partition("hashicorp/aws")[2])
    assert terraform
    assert provider
    for path, text in {
        "modules/vault/main.tf": f'required_version = ">= {terraform[1]}"',
        "modules/vault/main.tf ": f'version = ">= {provider[1]}"',
        "README.md": f"Terraform {terraform[1]} or newer and `hashicorp/aws >= {provider[1]}`",
        ".github/workflows/test.yml": f'terraform: ["{terraform[1]}.0", latest]',
        ".github/workflows/test.yml ": f'provider: ["{provider[1]}.0", ""]',
        "tests/tools/live.py": f"the program, {terraform[1]} or newer",
    }.items():
        assert text in (PROJECT / path.strip()).read_text(), path
