"""The options of the calculator: every assumption is one."""

import argparse

from calculator.prices import PRICES

# The module's default of requests_per_installation.
INSTALLATION_REQUESTS = 96


def options() -> argparse.ArgumentParser:
    """Return the command line."""
    parser = argparse.ArgumentParser(
        description="Estimate the monthly costs, once the retention is reached.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--repositories", type=int, default=500, help="how many")
    add("--gigabytes", type=float, default=40.0, help="all repositories, as bundles")
    add("--largest", type=float, default=5.0, help="GB in the largest bundle")
    add("--changed-repositories", type=float, default=0.05, help="share of the repositories that change on a day")
    add("--changed-gigabytes", type=float, default=0.1, help="share of the GB that are in these repositories")
    add(
        "--changes",
        type=float,
        default=0.03,
        help="size of a bundle of changes, in repositories; 1: differential = false",
    )
    add("--pushes", type=float, default=6.0, help="pushes a day to a repository that changes, within 8 hours")
    add("--content-gigabytes", type=float, default=0.0, help="LFS objects and release files")
    add("--content-growth", type=float, default=0.02, help="share of them that is added in a month")
    add("--retention", type=int, default=365, help="backup_retention_days")
    add("--full-backup-days", type=int, default=28, help="full_backup_days")
    add("--cold-after", type=int, default=30, help="days until storage_transitions moves objects; 0: never")
    add("--replica", choices=("GLACIER_IR", "STANDARD"), default="STANDARD", help="replica_storage_class")
    add("--runs-a-day", type=float, default=1.0, help="from schedule_expression")
    add("--vcpu", type=float, default=1.0, help="task_cpu / 1024")
    add("--memory", type=float, default=4.0, help="task_memory in GB")
    add("--disk", type=float, default=50.0, help="task_ephemeral_storage_gb")
    add("--shards", type=int, default=0, help="orchestration.shards; --vcpu, --memory, --disk: of each. 0: one task")
    add("--requests", type=int, default=INSTALLATION_REQUESTS, help="orchestration.requests_per_installation")
    add("--installations", type=int, default=1, help="installations of the App, of about the same size")
    add("--network", type=float, default=1.0, help="GB per second that GitHub sends to all shards together")
    for name, price, meaning in PRICES:
        add(f"--price-{name}", type=float, default=price, metavar="DOLLARS", help=f"assumed price of {meaning}")
    return parser


def parsed(**given: object) -> argparse.Namespace:
    """Return these options, the defaults for all others."""
    return options().parse_args([f"--{name.replace('_', '-')}={value}" for name, value in given.items()])
