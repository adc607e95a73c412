"""The command `github-s3-backup`: `backup` runs a backup, `restore COMMAND` restores, `report` sums all up."""

import sys
from collections.abc import Sequence
from typing import NoReturn

from github_s3_backup.program import exit_now


def main() -> NoReturn:
    """Run the command line of the installed command, and exit."""
    exit_now(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run one command and return the exit code. Each imports only what it needs."""
    match arguments:
        case ["backup"]:
            from github_s3_backup.backup import main as backup  # noqa: PLC0415

            return backup.main()
        case ["backup", "list" | "shard" | "merge" as command]:
            from github_s3_backup.backup import main as backup  # noqa: PLC0415

            return backup.main(command)
        case ["restore", *rest]:
            from github_s3_backup.restore import main as restore  # noqa: PLC0415

            return restore.main(rest)
        case ["report", *rest]:
            from github_s3_backup.report import main as report  # noqa: PLC0415

            return report.main(rest)
    from github_s3_backup.cli_help import explain  # noqa: PLC0415

    return explain(arguments)
