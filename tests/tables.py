"""The README's tables of inputs and outputs, made from variables.tf and outputs.tf.

make docs      # write them
tests/test_docs.py compares them
"""

import re
import sys

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


def filled(text: str) -> str:
    """Return the README with both tables between their marks."""
    for name, table in (("inputs", inputs()), ("outputs", outputs())):
        before, rest = text.split(f"<!-- {name} -->\n")
        after = rest.split(f"<!-- end of {name} -->", 1)[1]
        text = f"{before}<!-- {name} -->\n{table}\n<!-- end of {name} -->{after}"
    return text


if __name__ == "__main__":
    README.write_text(filled(README.read_text()))
    sys.exit(0)
