"""Hooks of mkdocs: put the diagram into its page, label the cells of tables, make room for wide tables.

Inside the page, the diagram uses the page's colors. GitHub shows the same file as an image. A phone shows each row of a
table as a paragraph, and the labels take the place of the header.
"""

import re
from html import escape
from itertools import cycle
from pathlib import Path
from typing import Any

DIAGRAM = "architecture.svg"


def on_page_markdown(markdown: str, page: Any, **_: Any) -> None:
    """Hide the table of contents beside the tables of terraform-docs, which have five columns."""
    if "<!-- BEGIN_TF_DOCS -->" in markdown:
        page.meta["hide"] = ["toc"]


def on_page_content(html: str, config: Any, **_: Any) -> str:
    """Return the page's HTML with the diagram and the labels."""
    svg = (Path(config["docs_dir"]) / DIAGRAM).read_text()
    html = re.sub(rf'<p><img [^>]*src="{DIAGRAM}"[^>]*></p>', lambda _: f'<figure class="diagram">{svg}</figure>', html)
    return re.sub(r"<table>.*?</table>", lambda table: labelled(table[0]), html, flags=re.DOTALL)


def labelled(table: str) -> str:
    """Return the table with a `data-label` on each cell."""
    names = [re.sub(r"<[^>]*>", "", name) for name in re.findall(r"<th\b[^>]*>(.*?)</th>", table, re.DOTALL)]
    columns = cycle(names)
    return re.sub(r"<td\b", lambda _: f'<td data-label="{escape(next(columns))}"', table)
