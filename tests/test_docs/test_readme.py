"""The commands in the README are executed as they stand, and the tables of the environment are those of the code."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from embedded.github import FakeRepository
from embedded.real_git import git, served_refs
from embedded.stack import PROJECT
from github_s3_backup.exit_codes import NOT_STARTED, OK, SOME_FAILED, STOPPED
from github_s3_backup.runtime import metrics
from support.world import World

README = (PROJECT / "README.md").read_text()
CONFIGURATION = (PROJECT / "docs" / "configuration.md").read_text()
TROUBLESHOOTING = (PROJECT / "docs" / "troubleshooting.md").read_text()
# Run with what runs these tests, not with an environment to be made first.
MAKE = ["make", f"BIN={Path(sys.executable).parent}", "READY="]


def section(heading: str, page: str = README) -> str:
    """Return a page's text below a heading, up to the next one."""
    return re.split(r"^#+ ", page.split(f"# {heading}\n", 1)[1], flags=re.MULTILINE)[0]


def commands(heading: str) -> list[str]:
    """Return the shell blocks of a section."""
    return re.findall(r"```sh\n(.*?)```", section(heading), re.DOTALL)


def table(heading: str, page: str = CONFIGURATION) -> set[str]:
    """Return the first column of the tables in a section of a page."""
    names = set(re.findall(r"^\| `?(\w+)`?", section(heading, page), re.MULTILINE))
    return names - {"Variable", "Code", "Metric"}


def shell(script: str, folder: Path, environment: dict[str, str]) -> str:
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_readme_is_short_and_in_the_order_of_its_readers_questions() -> None:
    assert len(README.splitlines()) <= 150
    assert re.findall(r"^## (.*)", README, re.MULTILINE) == [
        "What a run looks like",
        "Try it",
        "Deploy it",
        "Restore",
        "Limits",
        "Documentation",
    ]


def make(*words: str) -> str:
    """Run make with the environment of these tests and return what it prints."""
    done = subprocess.run([*MAKE, *words], cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def restore_by_hand(output: str, commands: int) -> str:
    """Execute the commands that the demo prints last, and return the folder that they made."""
    by_hand = [line.strip() for line in output.splitlines() if line.startswith("    git ")]
    assert len(by_hand) == commands
    shell("\n".join(by_hand), PROJECT, dict(os.environ))
    return by_hand[-1].split()[-1]


@pytest.mark.exhaustive
def test_the_demo_commands_back_up_restore_and_say_how_to_restore_by_hand(tmp_path: Path) -> None:
    """Both of the README's commands, one after the other as they share a folder, and then what they print."""
    generated, with_folder = (command.split() for command in commands("Try it"))
    output = make(*generated[1:])
    listed = re.search(r"(\d+) listed", output)
    assert listed is not None
    assert int(listed[1]) >= 35
    assert "all equal to the source" in output
    restore_by_hand(output, commands=4)
    assert git("-C", PROJECT / "build" / "demo" / "api", "show", "HEAD:changed.txt") == b"changed\n"
    picture = section("What a run looks like")
    for pattern in (r"^== .*", r"^   [a-z]+ {2,}"):
        pictured = set(re.findall(pattern, re.sub(r"\d+", "N", picture), re.MULTILINE))
        assert pictured
        assert pictured <= set(re.findall(pattern, re.sub(r"\d+", "N", output), re.MULTILINE))

    for name in ("first", "second.git"):
        git("init", "--quiet", *(["--bare"] if name.endswith(".git") else []), tmp_path / "mine" / name)
    git("-C", tmp_path / "mine" / "first", "commit", "--quiet", "--allow-empty", "-m", "first")
    git("-C", tmp_path / "mine" / "first", "branch", "other")
    (tmp_path / "mine" / "broken" / ".git").mkdir(parents=True)
    output = make(with_folder[1], with_folder[2].replace("/path/to/a/folder/of/repositories", str(tmp_path / "mine")))
    assert "broken is left out" in output
    assert "2 listed: 1 empty, 1 stored" in output
    assert "2 restored and compared, all equal to the source" in output

    work_tree = PROJECT / restore_by_hand(output, commands=3)
    assert git("-C", work_tree, "rev-parse", "HEAD") == git("-C", tmp_path / "mine" / "first", "rev-parse", "HEAD")


@pytest.mark.exhaustive
def test_ctrl_c_in_the_demo_stops_the_backup_as_it_stops_on_fargate(tmp_path: Path) -> None:
    """A terminal sends the signal to every process of its group: S3 must be there until the manifest is written.

    In a copy, as two demos at once would share a folder.
    """
    for name in ("container", "tests"):
        shutil.copytree(PROJECT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__", "build"))
    demo = subprocess.Popen(
        [sys.executable, tmp_path / "tests" / "tools" / "demo.py"],
        env=os.environ | {"PYTHONPATH": f"{tmp_path / 'container'}:{tmp_path / 'tests'}"},
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert demo.stdout
    next(line for line in demo.stdout if '"repositories listed"' in line)
    os.killpg(demo.pid, signal.SIGINT)
    *_, summary = (json.loads(line) for line in demo.stdout if line.startswith("{"))
    assert demo.wait() == 130
    assert summary["exit_code"] == 143
    assert summary["manifest"].endswith(".json")


def test_the_laptop_commands_back_up_to_any_s3(world: World) -> None:
    """The command is installed by a test of docs/restore.md; here it runs this checkout."""
    world.add("api")
    install, run = commands("Against the real GitHub, from a laptop")
    assert install.split()[-1] in (PROJECT / "docs" / "restore.md").read_text()
    world.stack.s3.new_bucket("my-backups")
    environment = world.environment(S3_BUCKET=None, GITHUB_APP_ID=None, GITHUB_APP_KEY_FILE=None, AWS_REGION=None)
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
    environment["PYTHONPATH"] = str(PROJECT / "container")
    (world.folder / "my-app.private-key.pem").write_text(world.github.pem())
    output = shell(run, world.folder, environment)
    *_, summary = (json.loads(line) for line in output.splitlines() if line.startswith("{"))
    assert summary["exit_code"] == 0
    assert re.search(r"^\d{4}-\d\d-\d\d +", output, re.MULTILINE)


def run_three_commands(world: World, repository: FakeRepository, to: str) -> dict[str, Any]:
    """Back up, restore with the README's commands, and return the manifest's entry."""
    entry = world.run().repos[repository.full_name]
    given, three = commands("Restore")[:2]
    assert len(three.strip().splitlines()) == 3
    values = {
        "BUCKET": world.bucket,
        "DATE": str(world.day()),
        "OWNER": entry["owner"],
        "NAME": entry["name"],
        "TO": to,
    }
    for name, value in values.items():
        given, count = re.subn(rf"\b{name}=[^$\s]+", f"{name}={value}", given)
        assert count == 1, name
    environment = world.environment(PATH=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    shell(given + three, world.folder, environment)
    return entry


def restored(world: World, repository: FakeRepository) -> dict[str, str]:
    """Restore into a new repository that refuses what GitHub refuses, and return its refs."""
    target = world.folder / "restored.git"
    git("init", "--quiet", "--bare", target)
    git("-C", target, "config", "receive.hideRefs", "refs/pull")
    entry = run_three_commands(world, repository, str(target))
    assert git("-C", world.folder / f"{entry['name']}.git", "show-ref").decode().count("refs/pull/") == entry[
        "ref_count"
    ] - len([ref for ref in served_refs(target) if ref != "HEAD"])
    return served_refs(target)


def test_the_three_commands_restore_every_branch_tag_and_note(world: World) -> None:
    repository = world.add("api")
    source = served_refs(repository.path)
    pushable = {name: oid for name, oid in source.items() if name != "HEAD" and not name.startswith("refs/pull/")}
    assert len(pushable) == 5
    found = restored(world, repository)
    found.pop("HEAD", None)
    assert found == pushable


def test_the_three_commands_restore_a_repository_that_did_not_change(world: World) -> None:
    repository = world.add("api")
    stored = world.run().repos[repository.full_name]
    assert restored(world, repository)["refs/heads/main"] == served_refs(repository.path)["refs/heads/main"]
    unchanged = world.run().repos[repository.full_name]
    assert (unchanged["status"], unchanged["s3_key"]) == ("unchanged", stored["s3_key"])


def test_the_three_commands_restore_the_default_branch(world: World) -> None:
    """Three branches are at one commit, so that nothing but the order of the pushes tells which is the default one."""
    repository = world.add("shared-commit")
    world.github.new_repositories = world.folder / "created"
    there = world.github.create("acme-restored", "shared-commit", private=True, settings={})
    assert there
    login = f"x-access-token:{world.github.personal_token('octocat', ['acme-restored'])}"
    url = f"{world.github.server_url}/acme-restored/shared-commit.git".replace("://", f"://{login}@")
    run_three_commands(world, repository, url)
    assert there.default_branch == "trunk"
    assert served_refs(there.path) == served_refs(repository.path)


def test_the_three_commands_work_where_there_are_no_tags_and_no_notes(world: World) -> None:
    repository = world.add("gitlinks")
    assert restored(world, repository)["refs/heads/main"] == served_refs(repository.path)["refs/heads/main"]


def test_the_tables_name_every_exit_code_metric_and_variable() -> None:
    documented = table("Exit codes", TROUBLESHOOTING) | table("Metrics")
    codes = {str(code) for code in (OK, SOME_FAILED, NOT_STARTED, STOPPED)} | {"137"}
    assert documented == codes | metrics.UNITS.keys() | metrics.RESTORE_UNITS.keys() | {metrics.RUN_REFUSED}
    sources = "".join(path.read_text() for path in (PROJECT / "container").rglob("*.py"))
    read = set(
        re.findall(
            r'"((?:GITHUB|S3|BACKUP|FULL|SERVICE|RESTORE|RUN|SHARD|INSTALLATION|ANOMALY|MANIFEST)_[A-Z_]+|DIFFERENTIAL)"',
            sources,
        )
    )
    assert table("Environment variables") - {"AWS_REGION"} == read - {"GITHUB_APP", "RESTORE_APP"}


def test_links_between_the_documents_lead_somewhere() -> None:
    for page in [*PROJECT.glob("*.md"), *PROJECT.glob("docs/**/*.md")]:
        for link in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (page.parent / link).exists(), f"{page.name}: {link}"
