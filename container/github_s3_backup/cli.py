"""The command `github-s3-backup`: `backup` runs a backup, `restore COMMAND` restores from one."""

import sys
from collections.abc import Sequence
from typing import NoReturn

from github_s3_backup.program import exit_now
from github_s3_backup.version import TOOL_VERSION

PROGRAM = "github-s3-backup"
USAGE = f"""\
usage: {PROGRAM} backup [list | shard | merge]
       {PROGRAM} restore COMMAND [OPTION ...]
       {PROGRAM} --version

backup    back up every repository that the GitHub App can see; configured by environment variables
          list, shard, merge: one task of a run in several tasks, started by the module's state machine
restore   list, check, diff, fetch, verify or push backups; `{PROGRAM} restore --help` explains
"""
WRONG_USAGE = 2


def main() -> NoReturn:
    """Run the command line of the installed command, and exit."""
    exit_now(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run one subcommand and return the exit code. Each imports only what it needs."""
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
        case ["--version"]:
            print(TOOL_VERSION)
            return 0
        case ["--help" | "-h"]:
            print(USAGE, end="")
            return 0
    print(USAGE, end="", file=sys.stderr)
    return WRONG_USAGE
