"""The plots of the report: SVG without scripts, from the facts."""

from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any
from xml.etree.ElementTree import Element

import pygal
from pygal.style import Style

from github_s3_backup.report.facts import Facts
from github_s3_backup.report.manifests import KINDS, Run

GREEN, AMBER, RED, GREY = "#3a9d5d", "#d9a022", "#c0392b", "#5b6670"
BLUES = ("#2f6fb4", "#6aa5d8", "#d9822b", "#8a63b8")
# Labels on an axis, whatever the number of days; and bars or points that a reader can still tell apart.
LABELS, WORST, POINTS = 6, 15, 500
LONGEST_LABEL = 40  # characters
MB, GB = 1000**2, 1000**3


def charts_of(facts: Facts) -> dict[str, str]:
    """Return an SVG element for each plot that there is something to draw for."""
    plots = {
        "runs": _runs(facts),
        "bytes": _bytes(facts.runs),
        "repositories": _repositories(facts.runs),
        "changes": _changes(facts.runs),
        "ages": _ages(facts),
        "restores": _restores(facts),
    }
    return {name: _drawn(name, chart) for name, chart in plots.items() if chart}


def _runs(facts: Facts) -> Any:
    """Runs by day and outcome. A day without a run is a gap."""
    outcomes: list[tuple[str, str]] = [(run.date, run.outcome) for run in facts.runs]
    outcomes += [(run.date, "unreadable") for run in facts.unreadable]
    if not outcomes:
        return None
    days = _all_days(min(outcomes)[0], facts.period.until)
    chart = _over_days(pygal.StackedBar, days, (GREEN, AMBER, GREY, RED), min_scale=1)
    chart.value_formatter = lambda value: f"{value:g}" if value == int(value) else ""
    for outcome in ("good", "with failures", "stopped", "unreadable"):
        chart.add(outcome, [outcomes.count((day, outcome)) or None for day in days])
    return chart


def _bytes(runs: Sequence[Run]) -> Any:
    """Bytes that the newest run of each day names, by kind."""
    newest = _newest_of_days(runs)
    if not newest:
        return None
    chart = _over_days(pygal.StackedLine, list(newest), BLUES, fill=True, dots_size=0, y_title="GB")
    for kind in KINDS:
        values = [round(run.sizes[kind] / GB, 3) for run in newest.values()]
        if any(values):
            chart.add(kind, values)
    return chart


def _repositories(runs: Sequence[Run]) -> Any:
    newest = _newest_of_days(runs)
    if not newest:
        return None
    chart = _over_days(pygal.Line, list(newest), (BLUES[0], RED), dots_size=1)
    chart.add("listed", [run.repositories for run in newest.values()])
    chart.add("failed", [len(run.failures) for run in newest.values()])
    return chart


def _changes(runs: Sequence[Run]) -> Any:
    """Repositories that were stored anew, by day."""
    if not runs:
        return None
    days = _all_days(runs[0].date, runs[-1].date)
    chart = _over_days(pygal.Bar, days, BLUES)
    chart.add("stored anew", [sum(run.changed for run in runs if run.date == day) for day in days])
    return chart


def _ages(facts: Facts) -> Any:
    worst = [age for age in facts.ages if age.confirmed][:WORST]
    if not worst:
        return None
    chart = pygal.HorizontalBar(**_settings(BLUES), show_legend=False, x_title="hours")
    now = facts.period.now
    chart.x_labels = [_shown(age.full_name) for age in reversed(worst)]
    hours = [(now - age.confirmed).total_seconds() / 3600 for age in reversed(worst) if age.confirmed]
    chart.add("hours", [round(value, 1) for value in hours])
    return chart


def _shown(name: str) -> str:
    """Return a name that leaves room for the plot: pygal never ends where its labels take all the width."""
    return name if len(name) <= LONGEST_LABEL else f"{name[: LONGEST_LABEL - 1]}…"


def _restores(facts: Facts) -> Any:
    """Seconds of each restore by the size of the bundle, the slowest ones."""
    done = [item for item in facts.restored if item.status == "verified"]
    slowest = sorted(done, key=lambda item: item.seconds, reverse=True)[:POINTS]
    if not slowest:
        return None
    about = {"x_title": "bundle, MB", "y_title": "seconds", "show_minor_x_labels": True, "show_legend": False}
    chart = pygal.XY(**_settings(BLUES) | about, stroke=False, dots_size=3)
    chart.add("restore", [(round(item.size_bytes / MB, 3), item.seconds) for item in slowest])
    return chart


def _all_days(first: str, last: str) -> list[str]:
    start = date.fromisoformat(first)
    return [str(start + timedelta(days)) for days in range((date.fromisoformat(last) - start).days + 1)]


def _newest_of_days(runs: Sequence[Run]) -> dict[str, Run]:
    return {run.date: run for run in runs if run.outcome != "stopped"}


def _over_days(kind: Any, days: Sequence[str], colors: tuple[str, ...], **more: Any) -> Any:
    chart = kind(**_settings(colors), **more)
    chart.x_labels = days
    chart.x_labels_major = days[:: max(1, -(-len(days) // LABELS))]
    return chart


def _settings(colors: tuple[str, ...]) -> dict[str, Any]:
    style = Style(
        background="transparent",
        plot_background="transparent",
        foreground=GREY,
        foreground_strong=GREY,
        foreground_subtle="#d5dae0",
        guide_stroke_color="#d5dae0",
        major_guide_stroke_color="#d5dae0",
        opacity="1",
        opacity_hover="1",
        transition="0s",
        colors=colors,
        font_family="sans-serif",
        label_font_size=12,
        major_label_font_size=12,
        legend_font_size=12,
        title_font_size=12,
    )
    size = {"width": 620, "height": 270, "margin": 8, "margin_bottom": 26, "spacing": 8, "legend_box_size": 10}
    return {
        "style": style,
        "js": (),
        "show_minor_x_labels": False,
        "truncate_label": LONGEST_LABEL,
        "legend_at_bottom": True,
        "legend_at_bottom_columns": 4,
        "disable_xml_declaration": True,
        "include_x_axis": True,
        **size,
    }


def _drawn(name: str, chart: Any) -> str:
    chart.uuid = f"plot-{name}"  # not another one each time
    chart.add_xml_filter(_without_scripts)
    return str(chart.render())


def _without_scripts(svg: Element) -> Element:
    """Return the plot without scripts, and without the texts that only they show."""
    for parent in list(svg.iter()):
        for child in list(parent):
            tag = str(child.tag).rpartition("}")[2]
            if tag == "script" or (tag == "desc" and child.get("class") != "value"):
                parent.remove(child)
    return svg
