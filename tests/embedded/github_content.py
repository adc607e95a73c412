"""Contents that the embedded GitHub gives out, from memory or from a file."""

import io
from pathlib import Path

Content = bytes | Path


def content_size(content: Content) -> int:
    return len(content) if isinstance(content, bytes) else content.stat().st_size


def open_content(content: Content) -> io.BytesIO | io.BufferedReader:
    return io.BytesIO(content) if isinstance(content, bytes) else content.open("rb")
