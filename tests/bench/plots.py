"""The plots of docs/performance.md: SVG without scripts and fonts of their own, readable on light and on dark pages."""

from collections.abc import Callable
from typing import Any
from xml.etree.ElementTree import Element

import pygal
from pygal.style import Style

from bench.compare import CHANGED, FULL, GITHUB_BACKUP, LOOP
from bench.report import NAMES
from bench.results import Results

GREY = "#808890"
SECONDS = (1, 3, 10, 30, 100, 300, 1000, 3000, 10_000)
STYLE = Style(
    background="transparent",
    plot_background="transparent",
    foreground=GREY,
    foreground_strong=GREY,
    foreground_subtle=GREY,
    opacity="1",
    opacity_hover="0.7",
    transition="0s",
    colors=("#2f81c4", "#d9822b", "#3a9d5d", "#b05cc4"),
    font_family="sans-serif",
    label_font_size=13,
    major_label_font_size=13,
    guide_stroke_color=GREY,
    major_guide_stroke_color=GREY,
    legend_font_size=13,
    title_font_size=15,
)


def without_scripts(svg: Element) -> Element:
    """Return the plot without what makes it interactive: a page does not let it run."""
    for parent in list(svg.iter()):
        for script in [child for child in parent if str(child.tag).endswith("script")]:
            parent.remove(script)
    return svg


def drawn(chart: Any) -> bytes:
    chart.add_xml_filter(without_scripts)
    chart.uuid = "plot"  # not another one each time
    return bytes(chart.render()) + b"\n"


def settings(title: str) -> dict[str, Any]:
    return {"style": STYLE, "title": title, "js": (), "width": 760, "height": 360, "legend_at_bottom": True}


def compared(results: Results) -> bytes:
    """Draw the wall clock of each, as many times that of a full run of this product."""
    chart = pygal.HorizontalBar(**settings("Wall clock against a full run of this product"))
    for who in (LOOP, GITHUB_BACKUP, FULL, CHANGED):
        ratio = results.ratio(who, "wall")
        chart.add(f"{NAMES[who]}: {ratio:.2f}", ratio)
    return drawn(chart)


def grown(results: Results) -> bytes:
    """Draw the wall clock by the number of repositories, a line for a first run and for each share that changed."""
    title = "Seconds of wall clock by repositories, and by what is new or changed"
    chart = pygal.XY(**settings(title), logarithmic=True, dots_size=4, stroke_style={"width": 2})
    chart.x_labels = sorted({row.repositories for row in results.growth})
    most = max((row.usage.wall for row in results.growth), default=1)
    chart.y_labels = [seconds for seconds in SECONDS if seconds < 3 * most]
    for name in dict.fromkeys(row.name for row in results.growth):
        rows = [row for row in results.growth if row.name == name]
        chart.add(name, [(row.repositories, round(row.usage.wall, 2)) for row in rows])
    return drawn(chart)


PLOTS: dict[str, Callable[[Results], bytes]] = {"performance-runs.svg": compared, "performance-growth.svg": grown}
