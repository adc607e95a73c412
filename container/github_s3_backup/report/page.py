"""The report as one HTML file: no scripts, nothing from the network, readable in print."""

from importlib.resources import files

import jinja2

from github_s3_backup.report.charts import charts_of
from github_s3_backup.report.facts import Facts
from github_s3_backup.runtime.units import format_bytes
from github_s3_backup.version import TOOL_VERSION

Rows = list[tuple[str, ...]]

# Rows of a table. A reader of a printed page looks at no more.
LIMIT = 400


def page_of(facts: Facts) -> str:
    """Return the page."""
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    template = environment.from_string((files(__package__) / "page.html.jinja").read_text())
    charts = dict.fromkeys(("runs", "bytes", "repositories", "changes", "ages", "restores"), "") | charts_of(facts)
    return template.render(facts=facts, charts=charts, tables=_tables(facts), limit=LIMIT, version=TOOL_VERSION)


def _tables(facts: Facts) -> dict[str, Rows]:
    vanished: Rows = [
        (
            item.full_name,
            item.since,
            item.s3_key or "nothing: it was empty",
            item.until or "",
            format_bytes(item.size_bytes),
        )
        for item in facts.vanished
    ]
    return {
        "findings": [(finding,) for finding in facts.findings],
        "failures": _failures(facts),
        "vanished": vanished
        + [(name, facts.period.until, "its last bundle, if there was one", "", "") for name in facts.gone],
        "unproven": [(name,) for name in facts.unproven],
        "not_read": [tuple(row) for row in facts.not_read],
        "changes": [(change.run_id, change.what, change.before, change.after) for change in facts.changes],
        "ages": [
            (
                age.full_name,
                f"{age.confirmed:%Y-%m-%d %H:%M}" if age.confirmed else "none in this period",
                age.run_id or "",
            )
            for age in facts.ages[:20]
        ],
        "runs": _runs(facts),
    }


def _failures(facts: Facts) -> Rows:
    return [
        (
            span.full_name,
            span.stage,
            span.first_run,
            span.last_run,
            str(span.runs),
            f"{span.days:.1f}",
            "open" if span.is_open else "stored since",
            span.error,
        )
        for span in facts.failures
    ]


def _runs(facts: Facts) -> Rows:
    rows = [
        (
            run.run_id,
            run.outcome,
            f"{run.started:%Y-%m-%d %H:%M}",
            f"{(run.finished - run.started).total_seconds() / 60:.1f}",
            f"{run.repositories:,}",
            f"{len(run.failures):,}",
            f"{run.changed:,}",
            run.signature + (f" ({run.signing_key[:8]})" if run.signing_key else ""),
            run.sha256,
        )
        for run in facts.runs
    ]
    rows += [(run.run_id, "unreadable", run.date, "", "", "", "", "", run.sha256) for run in facts.unreadable]
    return sorted(rows, reverse=True)
