"""The command line of `github-s3-backup report`, and its help."""

import argparse
import os
from pathlib import Path

from github_s3_backup.configuration import DEFAULT_PREFIX
from github_s3_backup.s3.client import bucket_problems

PROGRAM = "github-s3-backup report"
DEFAULT_DAYS, DEFAULT_FILE = 90, Path("report.html")
DESCRIPTION = """\
Write a report for auditors from the manifests of all runs and the reports of the restore drills: one HTML file,
readable in print.
"""
NOTES = f"""\
examples:
  {PROGRAM} --bucket acme-github-backups --region eu-central-1
  {PROGRAM} --bucket ./copy-of-the-bucket --days 365 --trusted-key signing-key.pub.pem

exit codes: 0 the report is written; 1 the backups can't be read, or the file not written; 2 wrong usage
"""


def new_parser() -> argparse.ArgumentParser:
    """Return the parser of the command."""
    parser = argparse.ArgumentParser(
        prog=PROGRAM, description=DESCRIPTION, epilog=NOTES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    bucket = os.environ.get("S3_BUCKET", "").strip()
    bucket_help = "the primary bucket, the replica, or a folder with a copy of one: ./folder (default: $S3_BUCKET)"
    parser.add_argument("--bucket", default=bucket, help=bucket_help)
    prefix = os.environ.get("S3_PREFIX", "").strip().strip("/") or DEFAULT_PREFIX
    prefix_help = f"first part of every key (default: $S3_PREFIX, or {DEFAULT_PREFIX})"
    parser.add_argument("--prefix", default=prefix, type=lambda text: text.strip("/"), help=prefix_help)
    parser.add_argument("--region", help="the bucket's region (default: $AWS_REGION)")
    days = "how many days, today included (default: %(default)s)"
    parser.add_argument("--days", type=_days, default=DEFAULT_DAYS, metavar="N", help=days)
    drills = "bucket with the drills' reports, below PREFIX-drills/ (default: the bucket itself)"
    parser.add_argument("--drills-bucket", metavar="BUCKET", help=drills)
    kept = "days for which backups are kept (input backup_retention_days), to say until when vanished ones are held"
    parser.add_argument("--retention-days", type=_days, metavar="N", help=kept)
    key = "public key that signs manifests: a PEM file, or the ARN of a KMS key; may be repeated"
    parser.add_argument("--trusted-key", action="append", default=[], metavar="FILE|ARN", help=key)
    parser.add_argument("--out", type=Path, metavar="FILE", help=f"where to write the page (default: {DEFAULT_FILE})")
    json_help = "print everything that the report is made of as JSON, and write the page only with --out"
    parser.add_argument("--json", action="store_true", help=json_help)
    return parser


def parse(arguments: list[str]) -> argparse.Namespace:
    """Return the options; exit 2 with what is wrong with them."""
    parser = new_parser()
    options = parser.parse_args(arguments)
    problems = [] if options.bucket else ["name the bucket with --bucket or the variable S3_BUCKET"]
    problems += [
        *bucket_problems("--bucket", options.bucket),
        *bucket_problems("--drills-bucket", options.drills_bucket),
    ]
    if problems:
        parser.error("; ".join(problems))
    return options


def _days(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 3660:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of days from 1 to 3660")
    return int(text)
