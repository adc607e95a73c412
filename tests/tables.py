"""The tables of the README and the site, made from variables.tf, outputs.tf and docs/costs.py.

make docs      # write them
tests/test_docs.py and tests/test_docs_site.py compare them
"""

import re
import sys
from collections.abc import Callable

import costs
import durations
from embedded.stack import PROJECT

README = PROJECT / "README.md"


def blocks(file: str, kind: str) -> list[tuple[str, str]]:
    """Return name and body of each block of a kind, in the order of the file."""
    text = (PROJECT / file).read_text()
    return re.findall(rf'^{kind} "(\w+)" \{{\n(.*?)^\}}', text, re.MULTILINE | re.DOTALL)


def argument(body: str, name: str) -> str | None:
    """Return the text of an argument, a heredoc's or an object's lines put together; None where it is not set."""
    heredoc = re.search(rf"^  {name}\s+= <<-EOT\n(.*?)^  EOT", body, re.MULTILINE | re.DOTALL)
    if heredoc:
        return " ".join(heredoc[1].split())
    found = re.search(rf"^  {name}\s+= (\S.*?(?:\n  [)}}\]].*)?)$(?=\n  \w|\n\n|\n*\Z)", body, re.MULTILINE | re.DOTALL)
    return " ".join(found[1].split()) if found else None


def text_of(value: str | None) -> str:
    """Return a description without HCL's quotes, fit for a cell of a table."""
    plain = (value or "").removeprefix('"').removesuffix('"').replace('\\"', '"')
    return plain.replace("|", "\\|")


def inputs() -> str:
    """Return the table of inputs: the required ones first, as in the file."""
    rows = ["| input | default | meaning |", "|---|---|---|"]
    for name, body in blocks("variables.tf", "variable"):
        default = argument(body, "default")
        shown = "required" if default is None else f"`{text_of(default) if default.startswith(chr(34)) else default}`"
        rows.append(f"| `{name}` | {shown} | {text_of(argument(body, 'description'))} |")
    return "\n".join(rows)


def outputs() -> str:
    """Return the table of outputs."""
    rows = ["| output | meaning |", "|---|---|"]
    rows += [
        f"| `{name}` | {text_of(argument(body, 'description'))} |" for name, body in blocks("outputs.tf", "output")
    ]
    return "\n".join(rows)


def copied(first: str) -> str:
    """Return the README's table whose first column is called `first`: it is written there and nowhere else."""
    found = re.search(rf"^\| {first} \|.*\n\|[-|]+\n(?:\|.*\n)+", README.read_text(), re.MULTILINE)
    assert found, first
    return found[0].strip()


TABLES: dict[str, Callable[[], str]] = {
    "inputs": inputs,
    "outputs": outputs,
    "environment": lambda: copied("variable"),
    "exit codes": lambda: copied("code"),
    "metrics": lambda: copied("metric"),
    "costs": costs.table,
    "prices": costs.price_table,
    "sizes": costs.sizing_table,
    "durations": durations.table,
}
PAGES = (README, *(PROJECT / "docs" / name for name in ("configuration.md", "costs.md", "sizing.md")))


def filled(text: str) -> str:
    """Return a page with the tables between their marks."""
    for name in re.findall(r"^<!-- end of (.*) -->$", text, re.MULTILINE):
        before, rest = text.split(f"<!-- {name} -->\n")
        after = rest.split(f"<!-- end of {name} -->", 1)[1]
        text = f"{before}<!-- {name} -->\n{TABLES[name]()}\n<!-- end of {name} -->{after}"
    return text


if __name__ == "__main__":
    for page in PAGES:
        page.write_text(filled(page.read_text()))
    sys.exit(0)
