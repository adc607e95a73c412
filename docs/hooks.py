"""Hooks of mkdocs: the version on each page, the diagram in its page, links within the site, labels in tables.

Inside the page, the diagram uses the page's colors. GitHub shows the same file as an image. A phone shows each row of a
table as a paragraph, and the labels take the place of the header.
"""

import re
from html import escape
from itertools import cycle
from pathlib import Path
from typing import Any

DIAGRAM = "architecture.svg"
REPOSITORY = "https://github.com/terraform-aws-github-backup/terraform-aws-github-backup"
VERSION = Path(__file__).parent.parent / "container" / "github_s3_backup" / "version.py"
# Pages whose text is in another file.
SOURCES = {"contributing.md": "CONTRIBUTING.md", "performance.md": "tests/bench/performance.md.template"}


def on_config(config: Any, **_: Any) -> Any:
    """Put the version below each page."""
    (version,) = re.findall(r'^TOOL_VERSION = "(.*)"$', VERSION.read_text(), re.MULTILINE)
    config["copyright"] = f"Version {version}. {config['copyright']}"
    return config


def on_page_markdown(_markdown: str, page: Any, **_: Any) -> None:
    """Hide the table of contents beside the tables of inputs and outputs, and edit a page where its text is."""
    if page.file.src_uri == "configuration.md":
        page.meta["hide"] = ["toc"]
    if source := SOURCES.get(page.file.src_uri):
        page.edit_url = f"{REPOSITORY}/edit/main/{source}"


def on_page_content(html: str, page: Any, config: Any, **_: Any) -> str:
    """Return the page's HTML with the diagram, the labels, and links that stay in the site."""
    svg = (Path(config["docs_dir"]) / DIAGRAM).read_text()
    html = re.sub(rf'<p><img [^>]*src="{DIAGRAM}"[^>]*></p>', lambda _: f'<figure class="diagram">{svg}</figure>', html)
    up = "../" * page.file.src_uri.count("/")
    html = re.sub(rf'href="{REPOSITORY}/blob/main/docs/([\w/-]+)\.md', rf'href="{up}\1.html', html)
    return re.sub(r"<table>.*?</table>", lambda table: labelled(table[0]), html, flags=re.DOTALL)


def labelled(table: str) -> str:
    """Return the table with a `data-label` on each cell, and no line break before a unit."""
    table = re.sub(r"(\d) (GB|GiB|MB|kB|vCPU|min|h|s)\b", r"\1&nbsp;\2", table)
    names = [re.sub(r"<[^>]*>", "", name) for name in re.findall(r"<th\b[^>]*>(.*?)</th>", table, re.DOTALL)]
    columns = cycle(names)
    return re.sub(r"<td\b", lambda _: f'<td data-label="{escape(next(columns))}"', table)
