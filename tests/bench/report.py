"""The figures as text: the same rows for the terminal and for the page."""

from bench.bounds import BUNDLE_LABEL, WORKERS
from bench.changes import MEASURES
from bench.compare import CHANGED, FULL, GITHUB_BACKUP, LOOP
from bench.results import Results, bars
from github_s3_backup.runtime.units import format_bytes

Rows = list[list[str]]

NAMES = {
    FULL: "this product, every repository new",
    CHANGED: "this product, 3 % changed overnight",
    LOOP: "the sequential loop",
    GITHUB_BACKUP: "github-backup, clone step",
}


def report(results: Results) -> str:
    """Return everything as text for a terminal."""
    parts = {
        f"medians of {results.plan.rounds} rounds, {len(results.comparison.runs)} in turn": runs(results),
        "against a full run of this product, medians of the rounds' ratios": ratios(results),
        "lower bounds": lower_bounds(results),
        "growth": growth(results),
        "a change, stored in full and as changes": changes(results),
        "lfs content": content(results),
        "bars": held(results),
    }
    about = ", ".join(f"{name} {value}" for name, value in results.machine.items())
    texts = [f"{heading}\n{aligned(rows)}" for heading, rows in parts.items()]
    checked = (
        f"{results.bundles_restored} bundles and mirrors restored, {results.refs_compared} refs compared, all equal"
    )
    return "\n\n".join([f"\n{results.date}: {about}", *texts, checked])


def runs(results: Results) -> Rows:
    """Return what each took."""
    head = ["", "wall s", "CPU s", "memory", "disk", "requests", "received", "S3's CPU s", "GitHub's CPU s"]
    rows = [head]
    for who, name in NAMES.items():
        seconds = [f"{results.median(who, measure):.1f}" for measure in ("wall", "cpu")]
        sizes = [format_bytes(results.median(who, measure)) for measure in ("memory", "disk")]
        traffic = [f"{results.median(who, 'requests'):.0f}", format_bytes(results.median(who, "received"))]
        servers = [f"{results.median(who, measure):.1f}" for measure in ("s3_cpu", "github_cpu")]
        rows.append([name, *seconds, *sizes, *traffic, *servers])
    return rows


def ratios(results: Results) -> Rows:
    """Return how many times as much each took as a full run of this product."""
    rows = [["", "wall", "CPU", "memory", "disk"]]
    for who in (LOOP, GITHUB_BACKUP, CHANGED):
        rows.append(
            [NAMES[who], *(f"{results.ratio(who, measure):.2f}" for measure in ("wall", "cpu", "memory", "disk"))]
        )
    return rows


def lower_bounds(results: Results) -> Rows:
    """Return the parts of a full run alone, and what is compared with `cp`."""
    bounds, full = results.bounds, results.median(FULL, "wall")
    alone = {
        "git index-pack of all packs, on every core": bounds.index_pack,
        f"all bytes on the wire, {WORKERS} repositories at once": bounds.wire,
        "cp of all packs": bounds.copy,
    }
    rows = [["", "seconds", "of a full run"]]
    rows += [[name, f"{seconds:.2f}", f"{seconds / full:.0%}"] for name, seconds in alone.items()]
    rows.append([f"{BUNDLE_LABEL} of the largest repository", f"{bounds.bundle:.2f}", ""])
    rows.append([f"{BUNDLE_LABEL}, with the hashes that prove it", f"{bounds.hashed:.2f}", ""])
    rows.append(["cp of its pack", f"{bounds.bundle_cp:.2f}", ""])
    rows.append(["git ls-remote, for each repository", f"{results.listed.plain:.4f}", ""])
    rows.append(["git ls-remote, protocol 0, token sent at once", f"{results.listed.bare:.4f}", ""])
    return rows


def growth(results: Results) -> Rows:
    """Return what a day costs."""
    about = ["wall s", "CPU s", "S3's CPU s", "memory", "GitHub requests", "S3 requests"]
    rows = [["repositories", "", *about, "objects written", "uploaded", "unchanged"]]
    for row in results.growth:
        usage = row.usage
        seconds = [f"{value:.1f}" for value in (usage.wall, usage.cpu, usage.s3_cpu)]
        counts = [f"{count:,}" for count in (usage.requests, usage.s3_requests, usage.s3_objects)]
        rest = [format_bytes(usage.memory), *counts, format_bytes(row.uploaded), f"{row.unchanged:,}"]
        rows.append([f"{row.repositories:,}", f"{row.name} ({row.changed:,})", *seconds, *rest])
    return rows


def changes(results: Results) -> Rows:
    """Return what a change costs when it is stored in full, and as a bundle of changes."""
    rows = [["", "stored as", "wall s", "CPU s", "received", "disk", "stored"]]
    for compared in results.changes.compared:
        for name, days in (("full bundles", compared.full), ("changes", compared.changes)):
            seconds = [f"{compared.median(days, measure):.1f}" for measure in ("wall", "cpu")]
            sizes = [format_bytes(compared.median(days, measure)) for measure in ("received", "disk", "stored")]
            rows.append([compared.what, name, *seconds, *sizes])
        rows.append([compared.what, "ratio", *(f"{compared.ratio(measure):.3f}" for measure in MEASURES)])
    return rows


def content(results: Results) -> Rows:
    """Return what LFS objects cost."""
    found = results.lfs_content
    amount = f"{found.objects:,} LFS objects, {format_bytes(found.size)}"

    def compared(ratio: float | None) -> str:
        return "not measured" if ratio is None else f"{ratio:.2f}x"

    client = "not measured" if found.client is None else f"{found.client:.1f} s"
    requests = f"{found.first_day_requests:,} requests to GitHub"
    unchanged = f"{found.unchanged_requests:,} requests to GitHub, {found.unchanged_objects} objects written"
    return [
        ["", "took", "against git-lfs"],
        [f"`git lfs fetch --all` of {amount}", client, "1.00x" if found.client else ""],
        [f"a first backup of them ({requests})", f"{found.backup:.1f} s", compared(found.ratio)],
        ["`restore fetch --as mirrors`", f"{found.restore:.1f} s", compared(found.restore_ratio)],
        ["the next day, nothing changed", unchanged, ""],
        [f"a backup of one object of {format_bytes(found.large)}", f"{format_bytes(found.large_memory)} of memory", ""],
    ]


def held(results: Results) -> Rows:
    """Return each bar, what was measured, and the verdict."""
    rows = [["", "bar", "measured", ""]]
    for bar in bars(results):
        unit = "x" if bar.unit == "x" else f" {bar.unit}"
        limit = f"{'>=' if bar.at_least else '<='} {bar.limit:g}{unit}"
        rows.append([bar.what, limit, "" if bar.value is None else f"{bar.value:.2f}{unit}", bar.verdict])
    return rows


def aligned(rows: Rows) -> str:
    """Return rows in columns of equal width, the first to the left and the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]

    def line(row: list[str]) -> str:
        rest = (cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))
        return "  ".join(["  " + row[0].ljust(widths[0]), *rest]).rstrip()

    return "\n".join(map(line, rows))
