"""The options of `github-s3-backup restore`, checked."""

import argparse
import re
from collections.abc import Sequence
from urllib.parse import urlsplit

from github_s3_backup.restore.arguments import new_parser
from github_s3_backup.s3.catalogue import DATE
from github_s3_backup.s3.client import bucket_problems

REPORT_URL = re.compile(r"s3://[^/]+/+[^/].*")
# What the id of a run begins with: 20261123T040000Z.
RUN_START = re.compile(r"([0-9]{4})([0-9]{2})([0-9]{2})T")
OWNER = re.compile(r"[A-Za-z0-9][\w-]*", re.ASCII)
# Other servers have nested groups.
OWNER_OR_GROUP = re.compile(r"\w[\w.-]*(/\w[\w.-]*)*", re.ASCII)
SCHEMES = ("https", "http", "ssh", "file")


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Return the options; wrong usage is explained and exits with 2."""
    parser = new_parser()
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
    for option in ("bucket", "fallback_bucket"):
        problems += bucket_problems(f"--{option.replace('_', '-')}", getattr(options, option))
    if options.command in ("fetch", "verify", "push"):
        sampled = options.command == "verify" and options.within_days
        if bool(options.patterns) + options.all + bool(sampled) != 1:
            problems.append("name repositories (owner/name, 'owner/glob*', owner), or use --all")
    if options.run and not DATE.fullmatch(options.date or ""):
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
