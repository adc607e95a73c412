"""The command line of `github-s3-backup restore`, and its help."""

import argparse
import os
from pathlib import Path
from typing import TypeAlias

from github_s3_backup.configuration import DEFAULT_PREFIX, MAX_WORKERS
from github_s3_backup.restore.selection.latest import LATEST, moment_of
from github_s3_backup.s3.catalogue import DATE

PROGRAM = "github-s3-backup restore"
# MB. GitHub refuses a push of more than 2 GiB, and the size of a push is an estimate.
STEP_SIZE = 1000
# A restore is mostly git's work: four workers keep a CPU busy.
WORKERS_PER_CPU = 4

NOTES = """\
example:
  export S3_BUCKET=acme-github-backups AWS_REGION=eu-central-1
  github-s3-backup restore list
  github-s3-backup restore fetch acme/api --into restored

exit codes: 0 all done; 1 something failed, the rest is done; 2 wrong usage; 143 stopped
Results go to stdout, logs to stderr. `github-s3-backup restore COMMAND --help` explains a command.
"""
PUSH_ENVIRONMENT = """
environment:
  RESTORE_TOKEN        a token that can write to the target, or instead of it a GitHub App for restores:
  RESTORE_APP_ID       its ID. It needs the permissions Administration, Contents, Workflows, and for
                       issues also Issues and Pull requests: write
  RESTORE_APP_KEY_FILE or RESTORE_APP_KEY_SECRET_ARN
                       its private key: a PEM file, or a Secrets Manager secret
  RESTORE_WRITE_LIMITS github: one change a second and 500 an hour, as GitHub asks (the default). none: for a GitHub
                       Enterprise Server without rate limits
  GITHUB_API_URL       for GitHub Enterprise Server: https://HOST/api/v3
  GITHUB_SERVER_URL    for GitHub Enterprise Server: https://HOST
"""

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def new_parser() -> argparse.ArgumentParser:
    """Return the parser of all restore commands."""
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description="Restore GitHub repositories from the backups in a bucket, primary or replica.",
        epilog=NOTES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for add in (_add_list, _add_check, _add_diff, _add_fetch, _add_verify, _add_push):
        add(commands)
    return parser


def _new(
    commands: Commands, parents: list[argparse.ArgumentParser], summary: str, description: str, *examples: str
) -> argparse.ArgumentParser:
    """Add a command. The first word of its first example is its name."""
    name = examples[0].split()[0]
    lines = [f"  {PROGRAM} {example}" for example in examples]
    return commands.add_parser(
        name,
        parents=parents,
        help=summary,
        description=description,
        epilog="\n".join([f"example{'s' * (len(lines) > 1)}:", *lines]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def _common(date: bool = True) -> argparse.ArgumentParser:
    """Return what every command has; `date`: which backup, too."""
    parent = argparse.ArgumentParser(add_help=False)
    group = parent.add_argument_group("the backups")
    bucket = os.environ.get("S3_BUCKET", "").strip()
    bucket_help = "the primary bucket, the replica, or a folder with a copy of one: ./folder (default: $S3_BUCKET)"
    group.add_argument("--bucket", default=bucket, help=bucket_help)
    prefix = os.environ.get("S3_PREFIX", "").strip().strip("/") or DEFAULT_PREFIX
    prefix_help = f"first part of every key (default: $S3_PREFIX, or {DEFAULT_PREFIX})"
    group.add_argument("--prefix", default=prefix, type=lambda text: text.strip("/"), help=prefix_help)
    group.add_argument("--region", help="the bucket's region (default: $AWS_REGION)")
    trusted = "take only runs that this key signed: a public key (PEM), or the ARN of a KMS key; may be repeated"
    group.add_argument("--trusted-key", action="append", default=[], metavar="FILE|ARN", help=trusted)
    fallback = "a second bucket with the same backups: what is missing or damaged in the first comes from it"
    group.add_argument("--fallback-bucket", metavar="BUCKET", help=fallback)
    group.add_argument("--fallback-region", metavar="REGION", help="its region (default: the first bucket's)")
    if date:
        date_help = (
            "a day such as 2026-11-23: its newest complete run. latest: the newest backup of each repository. "
            "2026-11-23T06:00Z: the newest until then"
        )
        group.add_argument("--date", type=_date, metavar="DATE", help=f"{date_help} (the default)")
        group.add_argument("--run", metavar="ID", help="a single run of a day, by its ID from `list --runs`")
    workers = min(MAX_WORKERS, WORKERS_PER_CPU * (os.cpu_count() or 1))
    concurrency = f"work on N repositories at once (default: {WORKERS_PER_CPU} per CPU)"
    parent.add_argument("--concurrency", type=_number, default=workers, metavar="N", help=concurrency)
    return parent


def _repositories(parser: argparse.ArgumentParser, everything: bool = True) -> None:
    names = "a repository (acme/api), a pattern ('acme/api-*'), or an owner (acme)"
    parser.add_argument("patterns", nargs="*", metavar="REPOSITORY", help=names)
    parser.set_defaults(git_only=False, exclude=[], first=[])
    if everything:
        parser.add_argument("--all", action="store_true", help="every repository in the backup")
        parser.add_argument(
            "--git-only", action="store_true", help="leave out wikis, Git LFS objects, releases and issues"
        )
        for option, use in (("--exclude", "leave out"), ("--first", "begin with")):
            words = f"{use} what matches; may be repeated"
            parser.add_argument(option, action="append", default=[], metavar="PATTERN", help=words)


def _json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")


def _result(parser: argparse.ArgumentParser) -> None:
    help_text = "write what was done and what failed to this file, as JSON"
    parser.add_argument("--report", dest="result", type=Path, metavar="FILE", help=help_text)


def _max_age(parser: argparse.ArgumentParser) -> None:
    help_text = "fail if the newest complete backup is older than N hours"
    parser.add_argument("--max-age-hours", type=_number, metavar="N", help=help_text)


def _add_list(commands: Commands) -> None:
    parser = _new(
        commands,
        [_common()],
        "list days, the runs of a day, or the repositories of a backup",
        "List the days that have a backup. With --date, list the repositories of that day's backup. With --runs and "
        "--date,\nlist the runs of that day. With REPOSITORY, list only those.",
        "list",
        "list --date 2026-11-23 acme",
        "list --runs --date 2026-11-23",
    )
    _repositories(parser, everything=False)
    parser.add_argument("--runs", action="store_true", help="list every run of --date")
    limit = "list the newest N days (default: %(default)s)"
    parser.add_argument("--limit", type=_number, default=30, metavar="N", help=limit)
    _json(parser)


def _add_check(commands: Commands) -> None:
    parser = _new(
        commands,
        [_common(date=False)],
        "check the age of the newest backup",
        "Show the newest complete backup and its age.",
        "check --max-age-hours 26",
    )
    _max_age(parser)
    parser.add_argument("--publish", action="store_true", help="publish the age to CloudWatch, as NewestBackupAge")
    _json(parser)
    parser.set_defaults(run=None, date=None, patterns=[])


def _add_diff(commands: Commands) -> None:
    parser = _new(
        commands,
        [_common(date=False)],
        "show what changed between two backups",
        "Show what changed between the backups of two days: repositories that appeared, vanished, failed or shrank, "
        "deleted refs,\nand default branches that were rewritten.",
        "diff 2026-11-22 2026-11-23",
    )
    parser.add_argument("old", type=_date, metavar="DATE", help="the older day, or a moment: the newest run until then")
    parser.add_argument("new", type=_date, metavar="DATE", help="the newer day or moment, or latest")
    _repositories(parser, everything=False)
    quick = "download no bundle. A rewritten branch is then shown as moved"
    parser.add_argument("--quick", action="store_true", help=quick)
    _json(parser)
    parser.set_defaults(run=None, date=None)


def _add_fetch(commands: Commands) -> None:
    parser = _new(
        commands,
        [_common()],
        "fetch repositories into a folder",
        "Fetch repositories from the bucket into a folder, with their wikis, Git LFS objects, releases and issues.\n"
        "To continue, or to retry what failed, run the same command again: it keeps what is there.",
        "fetch acme/api --into restored --as clones",
        "fetch --all --into restored --as mirrors",
    )
    _repositories(parser)
    into = "the folder. A repository becomes FOLDER/OWNER/NAME"
    _result(parser)
    parser.add_argument("--into", type=Path, required=True, metavar="FOLDER", help=into)
    forms = {"bundles": "the files as stored", "mirrors": "bare repositories with all refs", "clones": "working trees"}
    form = f"{'; '.join(f'{name}: {what}' for name, what in forms.items())} (default: %(default)s)"
    parser.add_argument("--as", dest="form", choices=tuple(forms), default="bundles", help=form)


def _add_verify(commands: Commands) -> None:
    parser = _new(
        commands,
        [_common()],
        "verify that repositories can be restored",
        "Restore repositories into a temporary folder, check every object with git fsck, compare every ref with the "
        "manifest, and\nwrite a JSON report.",
        "verify --all > report.json",
        "verify acme/api --bucket acme-github-backups-replica --region eu-west-1",
    )
    _repositories(parser)
    report = "write the report to a file, or below s3://BUCKET/PREFIX/ (default: stdout)"
    parser.add_argument("--report", metavar="FILE", help=report)
    parser.add_argument("--publish", action="store_true", help="publish the metrics of a drill to CloudWatch")
    _max_age(parser)
    drill = parser.add_argument_group("a drill: a rotating sample, and the largest repository")
    drill.add_argument("--within-days", type=_number, metavar="N", help="verify each repository once in N days")
    drill.add_argument("--every-hours", type=_number, metavar="N", help="hours between two drills")
    page = "public key that signs manifests, for the page for auditors that a drill writes; may be repeated"
    kept = "days for which backups are kept, for the same page"
    drill.add_argument("--page-retention-days", type=_number, metavar="N", help=kept)
    drill.add_argument("--page-key", action="append", default=[], metavar="FILE|ARN", help=page)


def _add_push(commands: Commands) -> None:
    parser = _new(
        commands,
        [_common()],
        "push repositories to GitHub or another git server",
        "Push repositories from the bucket to GitHub or another git server. Creates what is missing, private and with "
        "Actions off,\nand replaces no ref without --overwrite. To continue, run the same command again.",
        "push acme --to acme-restored --dry-run",
        "push acme/api --url 'https://git.example.com/{owner}/{name}.git'",
    )
    parser.epilog = f"{parser.epilog}\n{PUSH_ENVIRONMENT}"
    _repositories(parser)
    _result(parser)
    parser.add_argument("--to", metavar="OWNER", help="push to this owner instead of the one in the backup")
    url = "push to another git server. {owner} and {name} stand for the repository's"
    parser.add_argument("--url", metavar="URL", help=url)
    fetched = "take what is in this folder from there, as `fetch` brought it, and only the rest from the bucket"
    parser.add_argument("--from", dest="from_folder", type=_folder, metavar="FOLDER", help=fetched)
    parser.add_argument("--dry-run", action="store_true", help="print what would be done, and change nothing")
    parser.add_argument("--overwrite", action="store_true", help="replace refs of the target that differ")
    more = "push it though more people can read the target than could read the original; may be repeated"
    parser.add_argument(
        "--allow-more-readers", dest="more_readers", action="append", default=[], metavar="REPOSITORY", help=more
    )
    hidden = "push refs that GitHub reserves, such as refs/pull/1/head, as branches PREFIX/pull/1/head"
    parser.add_argument("--hidden-refs-as", metavar="PREFIX", help=hidden)
    step = "push at most so much at once (default: %(default)s)"
    parser.add_argument("--step-size", type=_number, default=STEP_SIZE, metavar="MB", help=step)


def _date(text: str) -> str:
    if text != LATEST and not DATE.fullmatch(text) and not moment_of(text):
        ways = f"a date such as 2026-11-23, a moment with its time zone such as 2026-11-23T06:00Z, nor {LATEST}"
        raise argparse.ArgumentTypeError(f"{text!r} is not {ways}")
    return text


def _folder(text: str) -> Path:
    folder = Path(text).expanduser()
    if not folder.is_dir():
        raise argparse.ArgumentTypeError(f"there is no folder {text}")
    return folder.resolve()


def _number(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return int(text)
