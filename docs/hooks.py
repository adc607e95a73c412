"""What mkdocs does besides: the diagram goes into its page, and cells of tables get the names of their columns.

In the page the diagram takes the page's colours; GitHub shows the same file as an image. A phone shows each row of
a table as a paragraph, in which the names say what is what.
"""

import re
from html import escape
from itertools import cycle
from pathlib import Path
from typing import Any

DIAGRAM = "architecture.svg"


def on_page_content(html: str, config: Any, **_: Any) -> str:
    """Return the page as it is shown."""
    svg = (Path(config["docs_dir"]) / DIAGRAM).read_text()
    html = re.sub(rf'<p><img [^>]*src="{DIAGRAM}"[^>]*></p>', lambda _: f'<figure class="diagram">{svg}</figure>', html)
    return re.sub(r"<table>.*?</table>", lambda table: labelled(table[0]), html, flags=re.DOTALL)


def labelled(table: str) -> str:
    """Return a table each of whose cells has the name of its column."""
    names = [re.sub(r"<[^>]*>", "", one) for one in re.findall(r"<th\b[^>]*>(.*?)</th>", table, re.DOTALL)]
    columns = cycle(names)
    return re.sub(r"<td\b", lambda _: f'<td data-label="{escape(next(columns))}"', table)
