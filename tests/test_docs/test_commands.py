"""The help of every command explains it, and is what the page about the commands shows."""

import re
import shlex
import subprocess
import sys

import pytest

from embedded.stack import PROJECT
from github_s3_backup import cli_help
from github_s3_backup.report import arguments as report_arguments
from github_s3_backup.restore import arguments, options
from tools import tables

PAGE = (PROJECT / "docs" / "commands.md").read_text()
CONFIGURATION = (PROJECT / "docs" / "configuration.md").read_text()
TOPS = (cli_help.new_parser(), arguments.new_parser(), report_arguments.new_parser())
PARSERS = {each.prog: each for top in TOPS for each in tables.parsers(top)}


def words(text: str) -> str:
    """Return a text without its line breaks, which differ between versions of Python."""
    return " ".join(text.split())


def test_the_page_has_the_help_of_every_command() -> None:
    assert words(tables.filled(PAGE)) == words(PAGE), "it differs: run `make docs`"
    assert re.findall(r"^## (.*)", PAGE, re.MULTILINE) == list(PARSERS)


@pytest.mark.parametrize("name", PARSERS)
def test_every_command_says_what_it_does_how_to_type_it_and_what_each_option_means(name: str) -> None:
    parser = PARSERS[name]
    assert parser.description
    assert re.search(rf"^examples?:\n.*\b{name}\b", str(parser.epilog), re.MULTILINE | re.DOTALL)
    assert [
        action.dest for action in parser._actions if not action.help and action.dest not in ("command", "task")
    ] == []


def test_the_help_names_every_variable() -> None:
    table = CONFIGURATION.split("\n## Environment variables\n")[1].split("\n## ")[0]
    variables = set(re.findall(r"`([A-Z0-9_]+)`", "".join(re.findall(r"^\| (.*?) \|", table, re.MULTILINE))))
    assert len(variables) > 20
    helps = "".join(parser.format_help() for parser in PARSERS.values())
    assert {name for name in variables if not re.search(rf"\b{name}\b", helps)} - {"AWS_DEFAULT_REGION"} == set()


def test_every_example_of_a_restore_can_be_typed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("S3_BUCKET", "acme-github-backups")
    examples = [line for line in PAGE.splitlines() if line.startswith(f"  {arguments.PROGRAM} ")]
    assert len(examples) > 10
    for example in examples:
        options.parse(shlex.split(example.partition(" > ")[0].removeprefix(f"  {arguments.PROGRAM} ")))


@pytest.mark.parametrize("command", ["", "backup", "backup shard", "restore", "restore push", "report"])
def test_the_program_prints_its_help(command: str) -> None:
    done = run(*command.split(), "--help")
    assert done.returncode == 0
    assert words(done.stdout) in words(PAGE)


def test_wrong_usage_is_explained() -> None:
    for arguments_, said in ((["back-up"], "'back-up'"), (["backup", "all"], "'all'"), ([], "COMMAND")):
        done = run(*arguments_)
        assert done.returncode == 2
        assert done.stderr.startswith("usage: ")
        assert said in done.stderr


def run(*words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "github_s3_backup", *words],
        env={"PYTHONPATH": str(PROJECT / "container"), "COLUMNS": "100"},
        capture_output=True,
        text=True,
        check=False,
    )
