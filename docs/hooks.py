"""What mkdocs does besides: the diagram is put into the page, where it takes the page's colours."""

import re
from pathlib import Path
from typing import Any

DIAGRAM = "architecture.svg"


def on_page_content(html: str, config: Any, **_: Any) -> str:
    """Return the page with the diagram itself in place of the image. GitHub shows the image."""
    svg = (Path(config["docs_dir"]) / DIAGRAM).read_text()
    return re.sub(rf'<p><img [^>]*src="{DIAGRAM}"[^>]*></p>', lambda _: f'<figure class="diagram">{svg}</figure>', html)
