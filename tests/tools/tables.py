"""The tables of the docs site, made from the variables and outputs of the modules and from the scripts in docs/.

make docs      # write them
tests/test_docs/test_site.py compares them
"""

import argparse
import functools
import json
import re
import sys
import textwrap
from collections.abc import Callable, Iterator

from calculator import cost_tables, durations, prices, scaling_tables
from embedded.stack import PROJECT
from github_s3_backup import cli_help
from github_s3_backup.records import issue_list, lfs_list, manifest, release_list
from github_s3_backup.report import arguments as report_arguments
from github_s3_backup.restore import arguments


def blocks(file: str, kind: str) -> list[tuple[str, str]]:
    """Return name and body of each block of a kind, in the order of the file."""
    text = (PROJECT / file).read_text()
    return re.findall(rf'^{kind} "(\w+)" \{{\n(.*?)^\}}', text, re.MULTILINE | re.DOTALL)


def argument(body: str, name: str) -> str | None:
    """Return an argument's value as it is written, None where it is not set."""
    heredoc = re.search(rf"^  {name}\s+= <<-EOT\n(.*?)^  EOT", body, re.MULTILINE | re.DOTALL)
    if heredoc:
        return textwrap.dedent(heredoc[1]).strip()
    found = re.search(rf"^  {name}\s+= (.+(?:\n    .*)*(?:\n  [)\]}}]+)?)$", body, re.MULTILINE)
    return found[1] if found else None


def cell(text: str) -> str:
    """Return a description, in quotes or from a heredoc, as a table's cell."""
    if text.startswith('"'):
        text = json.loads(text)
    # A line ends where the file's width does, and an item of a list where the next one begins.
    text = re.sub(r"\n(?!- |\n) *", " ", text)
    return text.replace("|", "\\|").replace("\n", "<br/>")


def code(value: str) -> str:
    """Return HCL or JSON as a table's cell."""
    return f"<pre>{value.replace(chr(10), '<br/>')}</pre>" if "\n" in value else f"`{value}`"


def as_json(value: str) -> str:
    """Return a default as JSON, its keys sorted."""
    return json.dumps(json.loads(re.sub(r"(\w+) = ", r'"\1": ', value)), indent=2, sort_keys=True)


def inputs(folder: str = "", anchor: str = "input") -> str:
    """Return the table of a module's inputs: the required ones first, as in the file."""
    rows = ["| Name | Description | Type | Default | Required |", "| ---- | ----------- | ---- | ------- | :------: |"]
    for name, body in blocks(f"{folder}variables.tf", "variable"):
        description, kind, default = (argument(body, each) for each in ("description", "type", "default"))
        shown, required = ("n/a", "yes") if default is None else (code(as_json(default)), "no")
        link = f'<a name="{anchor}_{name}"></a> [{name}](#{anchor}_{name})'
        rows.append(f"| {link} | {cell(str(description))} | {code(str(kind))} | {shown} | {required} |")
    return "\n".join(rows)


def outputs(folder: str = "", anchor: str = "output") -> str:
    """Return the table of a module's outputs."""
    rows = ["| Name | Description |", "| ---- | ----------- |"]
    for name, body in blocks(f"{folder}outputs.tf", "output"):
        link = f'<a name="{anchor}_{name}"></a> [{name}](#{anchor}_{name})'
        rows.append(f"| {link} | {cell(str(argument(body, 'description')))} |")
    return "\n".join(rows)


def module() -> str:
    """Return the tables of the module's inputs and outputs."""
    return f"## Inputs\n\n{inputs()}\n\n## Outputs\n\n{outputs()}"


def vault() -> str:
    """Return the tables of the module that makes a replica bucket in another account."""
    found = inputs("modules/vault/", "vault_input"), outputs("modules/vault/", "vault_output")
    return "### Inputs of the vault\n\n{}\n\n### Outputs of the vault\n\n{}".format(*found)


def parsers(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """Yield a command and all commands below it."""
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                yield from parsers(command)


def helps() -> str:
    """Return the `--help` of every command."""
    tops = (cli_help.new_parser(), arguments.new_parser(), report_arguments.new_parser())
    found = {each.prog: each for top in tops for each in parsers(top)}
    texts = []
    for name, parser in found.items():
        parser.formatter_class = functools.partial(argparse.RawDescriptionHelpFormatter, width=100)
        texts.append(f"## {name}\n\n```text\n{parser.format_help().rstrip()}\n```")
    return "\n\n".join(texts)


# By the marks around them.
TABLES: dict[tuple[str, str], Callable[[], str]] = {
    ("<!-- BEGIN_TF_DOCS -->", "<!-- END_TF_DOCS -->"): module,
    ("<!-- summary -->", "<!-- end of summary -->"): cost_tables.summary,
    ("<!-- vault -->", "<!-- end of vault -->"): vault,
    ("<!-- costs -->", "<!-- end of costs -->"): cost_tables.table,
    ("<!-- year -->", "<!-- end of year -->"): cost_tables.year_table,
    ("<!-- content -->", "<!-- end of content -->"): cost_tables.content_table,
    ("<!-- recovery -->", "<!-- end of recovery -->"): cost_tables.recovery_table,
    ("<!-- prices -->", "<!-- end of prices -->"): prices.price_table,
    ("<!-- sizes -->", "<!-- end of sizes -->"): cost_tables.sizing_table,
    ("<!-- durations -->", "<!-- end of durations -->"): durations.table,
    ("<!-- shards -->", "<!-- end of shards -->"): scaling_tables.sizes_table,
    ("<!-- shard costs -->", "<!-- end of shard costs -->"): scaling_tables.costs_table,
    ("<!-- requests -->", "<!-- end of requests -->"): scaling_tables.rest_table,
    ("<!-- shard durations -->", "<!-- end of shard durations -->"): scaling_tables.model_table,
    ("<!-- large -->", "<!-- end of large -->"): scaling_tables.large_table,
    ("<!-- help -->", "<!-- end of help -->"): helps,
    ("<!-- monorepo -->", "<!-- end of monorepo -->"): scaling_tables.monorepo_table,
}
PAGES = tuple(
    PROJECT / "docs" / name for name in ("index.md", "configuration.md", "commands.md", "costs.md", "scaling.md")
)
SCHEMAS = {
    PROJECT / "docs" / "manifest.schema.json": manifest.json_schema,
    PROJECT / "docs" / "lfs-list.schema.json": lfs_list.json_schema,
    PROJECT / "docs" / "release-list.schema.json": release_list.json_schema,
    PROJECT / "docs" / "issue.schema.json": issue_list.json_schema,
}


def filled(text: str) -> str:
    """Return a page with the tables between their marks."""
    for (begin, end), table in TABLES.items():
        if begin in text:
            before, rest = text.split(f"{begin}\n")
            text = f"{before}{begin}\n{table()}\n{end}{rest.split(end, 1)[1]}"
    return text


if __name__ == "__main__":
    for page in PAGES:
        page.write_text(filled(page.read_text()))
    for path, schema in SCHEMAS.items():
        path.write_text(json.dumps(schema(), indent=2) + "\n")
    sys.exit(0)
