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
    value_font_size=13,
    value_colors=(GREY,) * 4,
    legend_font_size=13,
    title_font_size=15,
)


def without_scripts(svg: Element) -> Element:
    """Return the plot without what makes it interactive: a page does not let it run."""
    for parent in list(svg.iter()):
        for child in [one for one in parent if str(one.tag).endswith("script")]:
            parent.remove(child)
    return svg


def drawn(chart: Any) -> bytes:
    chart.add_xml_filter(without_scripts)
    return bytes(chart.render()) + b"\n"


def settings(title: str) -> dict[str, Any]:
    return {"style": STYLE, "title": title, "js": (), "width": 760, "height": 360, "legend_at_bottom": True}


def compared(results: Results) -> bytes:
    """Draw the wall clock of each, as many times that of a full run of this product."""
    chart = pygal.HorizontalBar(
        **settings("Wall clock against a full run of this product (= 1)"),
        print_values=True,
        formatter=lambda value: f"{value:.2f}",
    )
    for who in (LOOP, GITHUB_BACKUP, FULL, CHANGED):
        chart.add(NAMES[who], results.ratio(who, "wall"))
    return drawn(chart)


def grown(results: Results) -> bytes:
    """Draw the wall clock by the number of repositories, a line for each share that changed."""
    chart = pygal.XY(
        **settings("Seconds of wall clock by repositories, the day after a full run"), logarithmic=True, dots_size=4
    )
    sizes = sorted({row.repositories for row in results.growth})
    chart.x_labels = sizes
    for share in sorted({row.share for row in results.growth}):
        rows = [row for row in results.growth if row.share == share]
        chart.add(f"{share} % changed", [(row.repositories, round(row.usage.wall, 2)) for row in rows])
    return drawn(chart)


PLOTS: dict[str, Callable[[Results], bytes]] = {"performance-runs.svg": compared, "performance-growth.svg": grown}
