"""The command line of `github-s3-backup restore`."""

import argparse
import os
import re
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

from github_s3_backup.configuration import DEFAULT_PREFIX, MAX_WORKERS
from github_s3_backup.restore.selection import LATEST
from github_s3_backup.s3.catalogue import DATE

# MB. GitHub refuses a push of more than 2 GiB, and the size of a push is an estimate.
STEP_SIZE = 1000
# A restore is mostly git's work: four workers keep a CPU busy.
WORKERS_PER_CPU = 4
REPORT_URL = re.compile(r"s3://[^/]+/+[^/].*")
# What the id of a run begins with: 20261123T040000Z.
RUN_START = re.compile(r"([0-9]{4})([0-9]{2})([0-9]{2})T")
OWNER = re.compile(r"[A-Za-z0-9][\w-]*", re.ASCII)
# Other servers have nested groups.
OWNER_OR_GROUP = re.compile(r"\w[\w.-]*(/\w[\w.-]*)*", re.ASCII)
SCHEMES = ("https", "http", "ssh", "file")

PUSH_NOTES = """\
environment:
  RESTORE_TOKEN            a token that may write to the target; or a separate restore App:
  RESTORE_APP_ID, RESTORE_APP_KEY_FILE or RESTORE_APP_KEY_SECRET_ARN
                           permissions: Administration, Contents and Workflows write
  GITHUB_API_URL, GITHUB_SERVER_URL
                           GitHub Enterprise: https://HOST/api/v3 and https://HOST
"""
NOTES = """\
exit codes: 0 all done; 1 something failed, the rest is done; 2 wrong usage; 143 stopped
Results go to stdout, logs to stderr. `github-s3-backup restore COMMAND --help` explains a command.
"""


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Return the options; wrong usage is explained and exits with 2."""
    parser = argparse.ArgumentParser(
        prog="github-s3-backup restore",
        description="Restore GitHub repositories from the backups in a bucket, primary or replica.",
        epilog=NOTES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for add in (_add_list, _add_check, _add_diff, _add_fetch, _add_verify, _add_push):
        add(commands)
    options = parser.parse_args(arguments)
    options.date = options.date or _date_of(options.run)
    _check(parser, options)
    return options


def _date_of(run_id: str | None) -> str | None:
    """Return the day in a run's id, None if it has none."""
    start = RUN_START.match(run_id or "")
    return "-".join(start.groups()) if start else None


def _check(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    problems = []
    if not options.bucket:
        problems.append("name the bucket with --bucket or the variable S3_BUCKET")
    elif "/" in options.bucket and not options.bucket.startswith("arn:"):
        problems.append(f"--bucket must be the bare name of a bucket, not {options.bucket}")
    if options.command in ("fetch", "verify", "push"):
        sampled = options.command == "verify" and options.within_days
        if bool(options.patterns) + options.all + bool(sampled) != 1:
            problems.append("name repositories (owner/name, 'owner/glob*', owner), or use --all")
    if options.run and options.date in (None, LATEST):
        problems.append("--run needs the --date of the run")
    if options.command == "push":
        problems.extend(_target_problems(options))
    if options.command == "verify":
        report = str(options.report or "")
        if report.startswith("s3://") and not REPORT_URL.fullmatch(report):
            problems.append(f"--report in S3 must look like s3://BUCKET/PREFIX/, not {report}")
        if bool(options.within_days) != bool(options.every_hours):
            problems.append("--within-days and --every-hours belong together")
        if options.within_days and not report.startswith("s3://"):
            problems.append("--within-days needs --report s3://BUCKET/PREFIX/, which records what was verified when")
    if problems:
        parser.error("; ".join(problems))


def _target_problems(options: argparse.Namespace) -> list[str]:
    owner = OWNER_OR_GROUP if options.url else OWNER
    problems = [] if options.to is None or owner.fullmatch(options.to) else [f"--to must be an owner: {options.to!r}"]
    if options.url is None:
        return problems
    try:
        parts = urlsplit(options.url)
        login, _, server = parts.netloc.rpartition("@")
    except ValueError:
        return [*problems, "--url is not a URL"]
    if parts.scheme not in SCHEMES or (parts.scheme != "file" and not parts.hostname):
        problems.append(f"--url must start with one of {', '.join(f'{scheme}://' for scheme in SCHEMES)} and a server")
    if ":" in login or (login and parts.scheme != "ssh"):
        problems.append("--url must not contain a user name or a password: set RESTORE_TOKEN")
    if re.search("[{}]", server + parts.path.replace("{owner}", "").replace("{name}", "") + parts.query):
        problems.append("--url may contain {owner} and {name} in its path, and no other braces")
    return problems


def _common(date: bool = True) -> argparse.ArgumentParser:
    parent = argparse.ArgumentParser(add_help=False)
    group = parent.add_argument_group("the backups")
    group.add_argument("--bucket", default=os.environ.get("S3_BUCKET", "").strip(), help="default: $S3_BUCKET")
    prefix = os.environ.get("S3_PREFIX", "").strip().strip("/") or DEFAULT_PREFIX
    group.add_argument("--prefix", default=prefix, type=lambda text: text.strip("/"), help="default: %(default)s")
    group.add_argument("--region", help="the bucket's region; default: $AWS_REGION")
    if date:
        group.add_argument("--date", type=_date, metavar="DATE", help="a day, or latest (the default)")
        group.add_argument("--run", metavar="ID", help="a single run; see list --runs")
    cpus = os.cpu_count() or 1
    workers = min(MAX_WORKERS, WORKERS_PER_CPU * cpus)
    parent.add_argument("--concurrency", type=_number, default=workers, metavar="N", help="default: %(default)s")
    return parent


def _repositories(parser: argparse.ArgumentParser, everything: bool = True) -> None:
    parser.add_argument("patterns", nargs="*", metavar="REPOSITORY", help="owner/name, 'owner/glob*', or owner")
    parser.set_defaults(git_only=False)
    if everything:
        parser.add_argument("--all", action="store_true", help="every repository in the backup")
        parser.add_argument("--git-only", action="store_true", help="no wikis, Git LFS objects or releases")


def _add_list(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser("list", parents=[_common()], help="show the backups, and what is in them")
    _repositories(parser, everything=False)
    parser.add_argument("--runs", action="store_true", help="show every run of --date")
    parser.add_argument(
        "--limit", type=_number, default=30, metavar="N", help="show the newest N dates (default: %(default)s)"
    )
    parser.add_argument("--json", action="store_true", help="JSON instead of a table")


def _add_check(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser("check", parents=[_common(date=False)], help="check the age of the newest backup")
    _max_age(parser)
    parser.add_argument("--publish", action="store_true", help="publish the age to CloudWatch")
    parser.add_argument("--json", action="store_true", help="JSON instead of a table")
    parser.set_defaults(run=None, date=None, patterns=[])


def _max_age(parser: argparse.ArgumentParser) -> None:
    help_text = "fail if the newest complete backup is older than N hours"
    parser.add_argument("--max-age-hours", type=_number, metavar="N", help=help_text)


def _add_diff(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser("diff", parents=[_common(date=False)], help="show what changed between two backups")
    parser.add_argument("old", type=_date, metavar="DATE")
    parser.add_argument("new", type=_date, metavar="DATE")
    _repositories(parser, everything=False)
    parser.add_argument(
        "--quick", action="store_true", help="don't download bundles: a rewritten branch shows as moved"
    )
    parser.add_argument("--json", action="store_true", help="JSON instead of a table")
    parser.set_defaults(run=None, date=None)


def _add_fetch(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser("fetch", parents=[_common()], help="fetch repositories into a folder")
    _repositories(parser)
    parser.add_argument("--into", type=Path, required=True, metavar="FOLDER")
    forms = ("bundles", "mirrors", "clones")
    parser.add_argument("--as", dest="form", choices=forms, default="bundles", help="default: %(default)s")


def _add_verify(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser(
        "verify", parents=[_common()], help="verify that repositories can be restored, and write a JSON report"
    )
    _repositories(parser)
    parser.add_argument("--report", metavar="FILE", help="a file or s3://BUCKET/PREFIX/; default: stdout")
    parser.add_argument("--publish", action="store_true", help="publish metrics to CloudWatch")
    _max_age(parser)
    drill = parser.add_argument_group("a drill: a rotating sample and the largest repository")
    drill.add_argument("--within-days", type=_number, metavar="N", help="verify each repository once in N days")
    drill.add_argument("--every-hours", type=_number, metavar="N", help="the interval between drills")


def _add_push(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser(
        "push",
        parents=[_common()],
        help="push repositories to GitHub or another git server",
        epilog=PUSH_NOTES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _repositories(parser)
    parser.add_argument("--to", metavar="OWNER", help="push to this owner instead of the one in the backup")
    parser.add_argument("--url", metavar="URL", help="any git server: 'https://git.example.com/{owner}/{name}.git'")
    parser.add_argument("--dry-run", action="store_true", help="print what would be done")
    parser.add_argument("--overwrite", action="store_true", help="replace refs that differ on the target")
    parser.add_argument(
        "--step-size", type=_number, default=STEP_SIZE, metavar="MB", help="the largest push (default: %(default)s)"
    )


def _date(text: str) -> str:
    if text != LATEST and not DATE.fullmatch(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a date such as 2026-11-23, nor {LATEST}")
    return text


def _number(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return int(text)
