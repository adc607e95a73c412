"""docs/performance.md and its plots, from the results of one benchmark."""

from pathlib import Path
from string import Template

from bench.bounds import BUNDLE_LABEL, WORKERS
from bench.plan import MB
from bench.plots import PLOTS
from bench.report import Rows, changes, content, growth, held, lower_bounds, ratios, runs
from bench.results import Results

TEMPLATE = Path(__file__).with_name("performance.md.template")


def write_page(results: Results, docs: Path) -> Path:
    """Write the page and its plots into `docs` and return the page."""
    for name, plot in PLOTS.items():
        (docs / name).write_bytes(plot(results))
    path = docs / "performance.md"
    path.write_text(Template(TEMPLATE.read_text()).substitute(fields(results)))
    return path


def fields(results: Results) -> dict[str, str]:
    """Return what stands for the template's names."""
    plan = results.plan
    numbers = {
        "date": results.date,
        "machine": ", ".join(f"{name} {value}" for name, value in results.machine.items()),
        "small": plan.small,
        "medium": plan.medium,
        "large": f"{plan.large // MB} MB",
        "blobs": " + ".join(str(size // MB) for size in plan.blobs) + " MB",
        "tiny": plan.tiny,
        "restore_ratio": f"{results.changes.restore_ratio:.2f}",
        "rounds": plan.rounds,
        "latency": f"{plan.latency * 1000:.0f} ms",
        "workers": WORKERS,
        "bundle_label": BUNDLE_LABEL,
        "restored": f"{results.bundles_restored:,}",
        "refs": f"{results.refs_compared:,}",
    }
    makers = {"bars": held, "runs": runs, "ratios": ratios, "lower_bounds": lower_bounds, "growth": growth}
    makers |= {"content": content, "changes": changes}
    return {k: str(v) for k, v in numbers.items()} | {k: table(make(results)) for k, make in makers.items()}


def table(rows: Rows) -> str:
    """Return rows as a Markdown table, the first row as its head."""
    head, *rest = rows
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rest]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
