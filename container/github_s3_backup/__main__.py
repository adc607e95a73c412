"""`python -m github_s3_backup` is the command `github-s3-backup`."""

from github_s3_backup.cli import main

main()
