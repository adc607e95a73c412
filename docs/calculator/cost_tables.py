"""The tables of docs/costs.md."""

from calculator import durations, one_task
from calculator.one_task import estimate
from calculator.sizes import EXAMPLES, LONGEST_FIRST_RUN, TASK_SIZES
from calculator.text import dollars, duration, task_size

# Of the table of recovery points: the time between two runs, and the runs of a day.
SCHEDULES = (("24 h", 1), ("6 h", 4), ("1 h", 24), ("15 min", 96))


def summary() -> str:
    """Return what a user pays, in two sentences."""
    small, large = (
        f"{repositories:,} repositories with {gigabytes:,.0f} GB in all cost about "
        f"**{dollars(estimate(repositories=repositories, gigabytes=gigabytes).total)} per month**"
        for repositories, gigabytes in EXAMPLES[1:]
    )
    included = "That includes everything but a NAT gateway: two copies in two regions, kept for a year."
    return f"{small}, and {large}.\n{included}"


def table() -> str:
    """Return the examples as a table."""
    rows = [
        "| What is backed up | Written per day | Held per bucket | Storage | Other | Per month | Twice the changes "
        "| Full bundles only | NAT gateway |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for repositories, gigabytes in EXAMPLES:
        size = {"repositories": repositories, "gigabytes": gigabytes}
        found, full = estimate(**size), estimate(**size, changes=1)
        busy = estimate(**size, changed_repositories=0.1, changed_gigabytes=0.2)
        storage = found.storage + found.manifests
        rows.append(
            f"| {repositories:,} repositories, {gigabytes:,.0f} GB | {found.written_gb:,.1f} GB "
            f"| {found.held_gb:,.0f} GB | {dollars(storage)} | {dollars(found.total - storage)} "
            f"| **{dollars(found.total)}** | {dollars(busy.total)} | {dollars(full.total)} | + {dollars(found.nat)} |"
        )
    return "\n".join(rows)


def year_table() -> str:
    """Return what the first year leaves in each bucket, beside a full copy on each day."""
    rows = ["| What is backed up | A full copy every day | Written once |", "|---|---:|---:|"]
    for repositories, gigabytes in EXAMPLES:
        written = one_task.first_year_gb(repositories, gigabytes)
        rows.append(
            f"| {repositories:,} repositories, {gigabytes:,.0f} GB | {365 * gigabytes:,.0f} GB | {written:,.0f} GB |"
        )
    return "\n".join(rows)


def content_table() -> str:
    """Return what LFS objects and release files add per month."""
    rows = ["| LFS objects and release files | 30 days kept | 365 days kept |", "|---|---:|---:|"]
    for gigabytes in (10, 100, 1000):
        added = [
            estimate(content_gigabytes=gigabytes, retention=days).total - estimate(retention=days).total
            for days in (30, 365)
        ]
        rows.append(f"| {gigabytes:,} GB | {dollars(added[0])} | **{dollars(added[1])}** |")
    return "\n".join(rows)


def recovery_table() -> str:
    """Return what a shorter recovery point costs."""
    rows = [
        "| What is backed up | Recovery point | A run | Fargate per day | Bundles per day | Manifests held "
        "| Requests | Fargate | Manifests | Bundles | Per month |",
        "|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for repositories, gigabytes in EXAMPLES[1:]:
        for point, runs in SCHEDULES:
            found = estimate(repositories=repositories, gigabytes=gigabytes, runs_a_day=runs)
            minutes = runs * found.run_hours * 60
            rows.append(
                f"| {repositories:,} repositories, {gigabytes:,.0f} GB | {point} | {duration(found.run_hours * 3600)} "
                f"| {minutes:,.0f} min | {found.written_gb:,.1f} GB | {found.manifests_gb:,.1f} GB "
                f"| {dollars(found.requests)} | {dollars(found.task)} | {dollars(found.manifests)} "
                f"| {dollars(found.storage + found.transfer)} | **{dollars(found.total)}** |"
            )
    return "\n".join(rows)


def sizing_table() -> str:
    """Return the task that each size needs, how long its runs take, and what they cost per month."""
    rows = [
        "| What is backed up | Largest | Task | First run | Daily run | Task per month "
        "| All, 365 days kept | All, 30 days kept |",
        "|---|---:|---|---:|---:|---:|---:|---:|",
    ]
    for repositories, gigabytes, largest in TASK_SIZES:
        task = durations.task_for(repositories, gigabytes, largest, LONGEST_FIRST_RUN)
        first = durations.seconds(durations.first_run(repositories, gigabytes, largest), task.vcpu)
        size = {"repositories": repositories, "gigabytes": gigabytes, "largest": largest}
        size |= {"vcpu": task.vcpu, "memory": task.memory_gb, "disk": task.disk_gb}
        found, short = estimate(**size), estimate(**size, retention=30)
        daily = durations.seconds(one_task.bad_day(repositories, gigabytes, largest), task.vcpu)
        rows.append(
            f"| {repositories:,} repositories, {gigabytes:,} GB | {largest:g} GB "
            f"| {task_size(task)} "
            f"| {duration(first)} | {duration(daily)} "
            f"| {dollars(found.task)} | {dollars(found.total)} | {dollars(short.total)} |"
        )
    return "\n".join(rows)
