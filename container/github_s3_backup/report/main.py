"""`report`: what is backed up, how old it is, what failed, and what was proven by a restore, as one page.

Reads manifests and drill reports, and writes nothing to the bucket.
"""

import argparse
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import boto3
import msgspec
from botocore.exceptions import BotoCoreError, ClientError

from github_s3_backup.exit_codes import OK, SOME_FAILED
from github_s3_backup.program import aws_session, prepare_process
from github_s3_backup.records.signing import SigningError
from github_s3_backup.report.arguments import DEFAULT_FILE, parse
from github_s3_backup.report.facts import Facts
from github_s3_backup.report.manifests import READERS
from github_s3_backup.report.page import page_of
from github_s3_backup.report.sources import Sources, read_facts
from github_s3_backup.runtime.environment import ConfigurationError
from github_s3_backup.runtime.logs import new_logger
from github_s3_backup.runtime.redaction import Redactor
from github_s3_backup.s3.catalogue import Catalogue
from github_s3_backup.s3.client import reading_client
from github_s3_backup.s3.errors import S3Error
from github_s3_backup.s3.folder import is_folder
from github_s3_backup.s3.objects import Objects
from github_s3_backup.s3.trust import trusted_keys

# What keeps the report from being written.
ERRORS = (S3Error, SigningError, ConfigurationError, BotoCoreError, ClientError, OSError)


def main(arguments: Sequence[str]) -> int:
    """Write the report and return the exit code."""
    prepare_process()
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # there is nothing to clean up
    options = parse(list(arguments))
    log = new_logger(sys.stderr, Redactor())
    try:
        facts = _facts(options)
        if options.json:
            # Of the ids of the repositories that a run stored, their number.
            print(msgspec.json.format(msgspec.json.encode(facts, enc_hook=len), indent=2).decode())
        if options.out or not options.json:
            out: Path = options.out or DEFAULT_FILE
            out.write_text(page_of(facts), encoding="utf-8")
            log.info("report written", report=str(out), findings=len(facts.findings))
    except ERRORS as error:
        for problem in getattr(error, "problems", [str(error)]):
            log.error("problem", error=problem)
        return SOME_FAILED
    return OK


def _facts(options: argparse.Namespace) -> Facts:
    aws, problems = aws_session()
    if problems:
        raise ConfigurationError(problems)
    keys = trusted_keys(options.trusted_key, aws)
    objects, drills = _places(options, aws)
    name = f"{'Folder' if is_folder(objects.bucket) else 'Bucket'} {objects.bucket}, below {options.prefix}/"
    folder, catalogue = f"{options.prefix}-drills", Catalogue(objects, options.prefix)
    sources = Sources(name, catalogue, keys, drills, folder, options.retention_days)
    return read_facts(sources, options.days)


def _places(options: argparse.Namespace, aws: boto3.session.Session) -> tuple[Objects, Objects]:
    """Return where the manifests are, and where the drills' reports. Raises ConfigurationError without a region."""
    backups = Objects(reading_client(aws, options.bucket, options.region, READERS), options.bucket)
    if not options.drills_bucket:
        return backups, backups
    # In this machine's region: the backups may be in another one.
    return backups, Objects(reading_client(aws, options.drills_bucket, None, READERS), options.drills_bucket)
