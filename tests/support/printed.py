"""What the commands of a page print: the blocks of text below the blocks of commands.

A page shows shortened output. A test runs the commands and looks for each line of it in what they printed, with dates,
times, numbers, and hashes left out. A line `...` stands for any others, and a line may end in ` ...`.

WRITE_OUTPUTS=1 pytest -n 0 tests/test_docs/test_restore.py    # writes what is printed today into the pages
"""

import fcntl
import os
import pty
import re
import struct
import subprocess
import termios
from collections.abc import Mapping
from pathlib import Path

MARK = "@@ end of a block @@"
WIDTH, HEIGHT = 130, 50
LONGEST, SHOWN = 12, 5
# What git says of its progress. The pages do without.
PROGRESS = re.compile(r"(remote: )?(Enumerating|Counting|Compressing|Writing|Unpacking|Delta compression|Total \d)")
BLOCKS = re.compile(r"^```sh\n(?P<commands>.*?)^```\n(?:\n```text\n(?P<output>.*?)^```\n)?", re.MULTILINE | re.DOTALL)
# What differs between two runs.
VOLATILE = (
    (re.compile(r", \d[\d.]* (bytes|[KMG]iB) \| \d[\d.]* (bytes|[KMG]iB)/s"), ""),
    (re.compile(r"arn:aws:[^\s\",]+"), "ARN"),
    (re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"), "ID"),
    (re.compile(r"\d+m\d+\.\d+s"), "N"),
    (re.compile(r"\d{8}T\d{6}Z-[0-9a-f]+"), "RUN"),
    (re.compile(r"@\d{6}Z"), "@TIME"),
    (re.compile(r"\b[0-9a-f]{7,64}\b"), "HASH"),
    (re.compile(r"\d{4}-\d\d-\d\d|\w{3}, \d\d \w{3} \d{4}"), "DATE"),
    (re.compile(r"\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)?"), "TIME"),
    (re.compile(r"\b[0-9A-Za-z_-]{32,}\b"), "ID"),
    (re.compile(r"\d[\d.,]*( (B|kB|MB|GB|KiB|MiB|Bytes|KiB/s|s|min|h))?\b"), "N"),
    (re.compile(r" +"), " "),
)


def blocks(text: str) -> list[tuple[str, str]]:
    """Return the commands in a text, each with the output that the page shows, empty if none."""
    return [(found["commands"], found["output"] or "") for found in BLOCKS.finditer(text)]


def run_in_terminal(
    scripts: list[str], folder: Path, environment: Mapping[str, str], typed: str
) -> tuple[int, list[str]]:
    """Run scripts in one shell on a terminal; return the exit code and what each printed."""
    shown, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", HEIGHT, WIDTH, 0, 0))
    script = "".join(f"{each}\nprintf '{MARK}\\n'\n" for each in scripts)
    with subprocess.Popen(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=folder,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=terminal,
        stderr=terminal,
    ) as shell:
        os.close(terminal)
        assert shell.stdin
        shell.stdin.write(typed.encode())
        shell.stdin.close()
        output = _read(shown)
    return shell.returncode, [cleaned(part) for part in output.split(MARK)]


def _read(shown: int) -> str:
    """Return everything that appears on a terminal until its last writer is gone."""
    parts = []
    try:
        while part := os.read(shown, 65536):
            parts.append(part)
    except OSError:  # how Linux says that nobody can write to the terminal any more
        pass
    os.close(shown)
    return b"".join(parts).decode(errors="replace")


def cleaned(output: str) -> str:
    """Return what is left on the screen: no colors, no progress, of a line that was overwritten what came last."""
    lines = []
    for line in re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", output).replace("\r\n", "\n").split("\n"):
        shown = [part.rstrip() for part in line.split("\r") if part.strip()]
        if shown and not re.search(r"\d+%\||^Completed .* remaining", shown[-1]):
            lines.append(shown[-1])
    return "\n".join(lines)


def pattern(line: str) -> str:
    """Return a line without what differs between two runs."""
    for volatile, name in VOLATILE:
        line = volatile.sub(name, line)
    return line.strip()


def missing(shown: str, output: str) -> list[str]:
    """Return the lines of the page that the commands did not print."""
    printed = [pattern(line) for line in output.splitlines()]

    def is_there(line: str) -> bool:
        if line.endswith(" ..."):
            return any(each.startswith(pattern(line.removesuffix(" ..."))) for each in printed)
        return pattern(line) in printed

    return [line for line in shown.splitlines() if line.strip() != "..." and not is_there(line)]


def shortened(output: str) -> str:
    """Return the first and the last lines of an output."""
    lines = [line for line in output.splitlines() if not PROGRESS.match(line)]
    lines = [line if len(line) <= WIDTH else f"{line[: WIDTH - 4]} ..." for line in lines]
    if len(lines) > LONGEST:
        lines = [*lines[:SHOWN], "...", *lines[-SHOWN:]]
    return "".join(f"{line}\n" for line in lines)


def compare(page: Path, commands: str, shown: str, output: str, after: str = "") -> None:
    """Compare what commands printed with what the page shows, or write it there.

    `after`: where the same commands are in several sections, the line after which these come.
    """
    wrong = bool(shown) != bool(output) or missing(shown, output)
    if wrong and os.environ.get("WRITE_OUTPUTS"):
        _write(page, commands, output, after)
    else:
        assert not wrong, f"{wrong}\n{commands}\nprinted (WRITE_OUTPUTS=1 writes it into the page):\n{output}"


def _write(page: Path, commands: str, output: str, after: str) -> None:
    text = page.read_text()
    start = text.index(f"```sh\n{commands}```\n", text.index(after))
    end = start + len(f"```sh\n{commands}```\n")
    below = re.sub(r"\A\n```text\n.*?^```\n", "", text[end:], flags=re.MULTILINE | re.DOTALL)
    page.write_text(f"{text[:end]}\n```text\n{shortened(output)}```\n{below}")
