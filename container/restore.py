#!/usr/bin/env python3
"""Restores from a checkout: the same as `github-s3-backup restore`."""

import sys

from github_s3_backup.cli import run
from github_s3_backup.program import exit_now

if __name__ == "__main__":
    exit_now(run(["restore", *sys.argv[1:]]))
