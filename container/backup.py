#!/usr/bin/env python3
"""The image's entry point: runs a backup, or with the arguments `restore ...` the restore commands."""

import sys

from github_s3_backup.cli import run
from github_s3_backup.program import exit_now

if __name__ == "__main__":
    exit_now(run(sys.argv[1:] or ["backup"]))
