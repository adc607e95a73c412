"""The help of `github-s3-backup` and of `github-s3-backup backup`, whose options are environment variables."""

import argparse
from collections.abc import Sequence
from typing import NoReturn

from github_s3_backup.version import TOOL_VERSION

PROGRAM = "github-s3-backup"
EXAMPLES = f"""\
examples:
  {PROGRAM} backup
  {PROGRAM} restore list
  {PROGRAM} restore fetch acme/api --into restored
  {PROGRAM} report --days 365

`{PROGRAM} COMMAND --help` explains a command.
"""
BACKUP = """\
Back up every repository that the GitHub App can see to S3. Environment variables configure the run.
"""
ENVIRONMENT = """\
environment, required:
  GITHUB_APP_ID               the App's ID or client ID
  GITHUB_APP_KEY_FILE         path of the App's private key (PEM), or instead of it:
  GITHUB_APP_KEY_SECRET_ARN   Secrets Manager secret that holds the key
  S3_BUCKET                   the bucket for the backups
  AWS_REGION                  the bucket's region

environment, optional:
  GITHUB_APP_INSTALLATION_ID  back up this installation only (default: every installation of the App)
  S3_PREFIX                   first part of every key (default: github-backup)
  GITHUB_API_URL              for GitHub Enterprise Server: https://HOST/api/v3
  GITHUB_SERVER_URL           for GitHub Enterprise Server: https://HOST
  GITHUB_CA_PEM               certificates of a private CA (PEM)
  BACKUP_INCLUDE              patterns of repositories to back up, separated by commas (default: all)
  BACKUP_EXCLUDE              patterns of repositories to leave out
  BACKUP_SKIP_FORKS           true: leave out forks
  BACKUP_SKIP_ARCHIVED        true: leave out archived repositories
  BACKUP_LFS                  false: leave out Git LFS objects
  BACKUP_ISSUES               false: leave out issues
  BACKUP_PULL_REQUESTS        false: leave out pull requests with their reviews
  BACKUP_DISCUSSIONS          false: leave out discussions
  BACKUP_RELEASES             false: leave out releases and their files
  BACKUP_WIKIS                false: leave out wikis
  BACKUP_CONCURRENCY          repositories cloned at once (default: 8 per CPU, at most 64)
  FULL_BACKUP_DAYS            clone each repository at least once in so many days (default: 28)
  DIFFERENTIAL                false: store full bundles only, never what changed since the last one
  RUN_DEADLINE_HOURS          end the run after so many hours (default: no deadline)
  BACKUP_RETENTION_DAYS       how long the bucket keeps backups, for the manifest: it changes nothing else
  ANOMALY_PERCENT             fail if more repositories than this vanish in one run (default: 5)
  MANIFEST_SIGNING_KEY_ARN    sign the manifest with this key in AWS KMS (ECC_NIST_P256), or instead
  MANIFEST_SIGNING_KEY_FILE   with an Ed25519 key from this PEM file (default: the manifest is not signed)
  SERVICE_NAME                the metrics' Service dimension (default: github-backup)
"""
CODES = """\
exit codes: 0 all stored; 1 something failed, the rest is stored; 2 could not start; 143 stopped
The log goes to stdout. Its last line is the summary of the run.
"""
# Name, what it does, and what it reads besides the variables of a backup.
TASKS = (
    (
        "list",
        "List the repositories, and divide them into shards: the first task of a run in several tasks.",
        """\
  RUN_SHARDS                  into how many shards at most (default: 1)
  SHARD_DISK_GIB              temporary disk of a shard's task without a volume (default: 21)
  INSTALLATION_REQUESTS       repositories of one installation in flight, in all shards (default: 96)
""",
    ),
    (
        "shard",
        "Back up the repositories of one shard.",
        "  RUN_SHARD                   the number of the shard, such as 07\n",
    ),
    ("merge", "Merge the reports of all shards into the manifest: the last task of a run in several tasks.", ""),
)
TASK_ENVIRONMENT = """\
environment, besides that of `github-s3-backup backup`:
  RUN_NAME                    name of the run, the same in all its tasks
  RUN_STARTED_AT              when the run started, such as 2026-11-23T03:00:00Z, the same in all its tasks
"""


def explain(arguments: Sequence[str]) -> NoReturn:
    """Print the help, the version, or what is wrong with the arguments, and exit."""
    parser = new_parser()
    parser.parse_args(arguments)
    parser.error("the command comes first")


def new_parser() -> argparse.ArgumentParser:
    """Return the parser of all but the commands of restore and report, which have their own."""
    parser = _described(argparse.ArgumentParser(prog=PROGRAM), "Back up GitHub repositories to S3, and restore them.")
    parser.epilog = EXAMPLES
    parser.add_argument("--version", action="version", version=TOOL_VERSION, help="show the version and exit")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    backup = _described(commands.add_parser("backup", help="back up every repository that the App can see"), BACKUP)
    backup.epilog = f"example:\n  {PROGRAM} backup\n\n{ENVIRONMENT}\n{CODES}"
    commands.add_parser("restore", help="list, check, compare, fetch, verify or push backups", add_help=False)
    commands.add_parser("report", help="write a report for auditors from all runs and drills", add_help=False)
    backup.usage = f"{PROGRAM} backup [-h] [list | shard | merge]"
    title = "one task of a run in several tasks"
    tasks = backup.add_subparsers(dest="task", metavar="TASK", title=title, prog=f"{PROGRAM} backup")
    for name, description, environment in TASKS:
        task = _described(tasks.add_parser(name, help=description.partition(":")[0].lower().rstrip(".")), description)
        task.epilog = f"example:\n  {PROGRAM} backup {name}\n\n{TASK_ENVIRONMENT}{environment}"
    return parser


def _described(parser: argparse.ArgumentParser, description: str) -> argparse.ArgumentParser:
    parser.description = description
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    return parser
