"""The diagram of docs/architecture.md, drawn as SVG from the description below.

make docs      # write it
tests/test_docs/test_site.py compares it
"""

from collections.abc import Iterator
from dataclasses import dataclass
from html import escape

from embedded.stack import PROJECT

DIAGRAM = PROJECT / "docs" / "architecture.svg"
ALT = "How a run works: what starts it, what it reads, where backups go, who is notified, and how they are restored"

# Pixels: a box, the gap between two boxes, the margin, a line of text.
WIDTH, HEIGHT, ACROSS, DOWN, AROUND, LINE = 204, 74, 34, 52, 8, 17
COLUMNS, ROWS = 3, 4


@dataclass(frozen=True)
class Box:
    """A cell of the grid: a title, and up to two lines below it."""

    column: int
    row: int
    title: str
    lines: tuple[str, ...]
    look: str = "part"

    @property
    def left(self) -> int:
        return AROUND + self.column * (WIDTH + ACROSS)

    @property
    def top(self) -> int:
        return AROUND + self.row * (HEIGHT + DOWN)


@dataclass(frozen=True)
class Arrow:
    """From a box to a neighbor, with a label; `aside` moves its right end out of the middle."""

    start: str
    end: str
    words: str = ""
    aside: int = 0


BOXES = {
    "secret": Box(0, 0, "Secrets Manager", ("the App's private key,", "only the task reads it")),
    "github": Box(1, 0, "GitHub", ("every repository that", "the App can see"), "outside"),
    "people": Box(2, 0, "You", ("e-mail, or alarm_actions",), "outside"),
    "schedule": Box(0, 1, "EventBridge rule", ("schedule_expression",)),
    "task": Box(1, 1, "Fargate task", ("github-s3-backup backup", "clone, bundle, verify, upload"), "core"),
    "watch": Box(2, 1, "CloudWatch", ("logs, metrics, dashboard,", "alarms, SNS topics")),
    "letters": Box(0, 2, "Dead-letter queue", ("failed starts", "raise an alarm")),
    "primary": Box(1, 2, "Primary bucket", ("versioned, Object Lock if on", "date/owner/name.bundle"), "core"),
    "drill": Box(2, 3, "Restore drill (optional)", ("github-s3-backup restore", "can only read the replica")),
    "git": Box(0, 3, "Your restore", ("git and aws alone,", "or github-s3-backup restore"), "outside"),
    "replica": Box(1, 3, "Replica bucket", ("in replica_region, with the", "same keys and versions"), "core"),
}
ARROWS = (
    Arrow("secret", "task", aside=-60),
    Arrow("github", "task", "read-only token"),
    Arrow("watch", "people", "alarms"),
    Arrow("schedule", "task"),
    Arrow("task", "watch"),
    Arrow("schedule", "letters", "after retries"),
    Arrow("task", "primary", "SHA-256, manifest last"),
    Arrow("primary", "replica", "replication, no deletions"),
    Arrow("replica", "drill"),
    Arrow("drill", "watch", "metrics"),
    Arrow("replica", "git"),
    Arrow("primary", "git", aside=-60),
)
# Colors come from the site's palette, or from the reader's system where there is none.
STYLE = """
.gb { color: var(--md-typeset-color, #1f2328); font: 13px system-ui, "Segoe UI", Roboto, Arial, sans-serif; }
@media (prefers-color-scheme: dark) { .gb { color: var(--md-typeset-color, #e6edf3); } }
.gb text { fill: currentColor; }
.gb .title { font-size: 14px; font-weight: 600; }
.gb .words { font-size: 12px; }
.gb rect { stroke: currentColor; stroke-width: 1.2; fill: currentColor; fill-opacity: .05; }
.gb .core { stroke-width: 2; fill: #5c7cfa; fill-opacity: .22; }
.gb .outside { stroke-dasharray: 5 4; fill-opacity: 0; }
.gb path { stroke: currentColor; stroke-width: 1.4; fill: none; }
.gb .head { fill: currentColor; stroke: none; }
"""


def svg() -> str:
    """Return the whole drawing."""
    width = 2 * AROUND + COLUMNS * WIDTH + (COLUMNS - 1) * ACROSS
    height = 2 * AROUND + ROWS * HEIGHT + (ROWS - 1) * DOWN
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" class="gb" viewBox="0 0 {width} {height}" role="img">',
        f"<title>{escape(ALT)}</title>",
        f"<style>{STYLE}</style>",
        '<defs><marker id="gb-head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" '
        'orient="auto"><path class="head" d="M0 0 8 4 0 8z"/></marker></defs>',
        *(line for box in BOXES.values() for line in drawn_box(box)),
        *(line for arrow in ARROWS for line in drawn_arrow(arrow)),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def drawn_box(box: Box) -> Iterator[str]:
    """Yield a box with its text in the middle."""
    yield f'<rect class="{box.look}" x="{box.left}" y="{box.top}" width="{WIDTH}" height="{HEIGHT}" rx="7"/>'
    middle, first = box.left + WIDTH // 2, box.top + HEIGHT // 2 + 5 - len(box.lines) * LINE // 2
    for number, words in enumerate((box.title, *box.lines)):
        look = ' class="title"' if number == 0 else ""
        yield f'<text{look} x="{middle}" y="{first + number * LINE}" text-anchor="middle">{escape(words)}</text>'


def drawn_arrow(arrow: Arrow) -> Iterator[str]:
    """Yield an arrow and its label: straight between neighbors, with two bends to a box in another row and column."""
    start, end = BOXES[arrow.start], BOXES[arrow.end]
    if start.row == end.row:
        rightwards = end.column > start.column
        y = start.top + HEIGHT // 2
        path = f"M{start.left + WIDTH * rightwards} {y}H{end.left + WIDTH * (not rightwards)}"
    else:
        downwards = end.row > start.row
        x, to = start.left + WIDTH // 2, end.left + WIDTH // 2
        y, to_y = start.top + HEIGHT * downwards, end.top + HEIGHT * (not downwards)
        bend = (y + to_y) // 2
        if start.column < end.column:
            to += arrow.aside
        else:
            x += arrow.aside
        path = f"M{x} {y}V{to_y}" if x == to else f"M{x} {y}V{bend}H{to}V{to_y}"
        if arrow.words:
            yield f'<text class="words" x="{x + 8}" y="{bend + 4}">{escape(arrow.words)}</text>'
    yield f'<path d="{path}" marker-end="url(#gb-head)"/>'


if __name__ == "__main__":
    DIAGRAM.write_text(svg())
