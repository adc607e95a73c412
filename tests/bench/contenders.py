"""The three that are measured: this product, the sequential loop, and github-backup from PyPI."""

import sys
from pathlib import Path

from bench.organisation import Organisation
from embedded.organisation import OWNER
from embedded.real_git import ENVIRONMENT
from embedded.stack import BACKUP, WRITTEN_BY_PEOPLE, Stack

PRODUCT = BACKUP
LOOP = (sys.executable, str(Path(__file__).with_name("sequential_loop.py")))
GITHUB_BACKUP = str(Path(sys.executable).with_name("github-backup"))
# Days: the share that is cloned afresh although nothing changed is another matter than what a change costs.
FULL_BACKUP_DAYS = "365"
# With HTTPS, as in AWS, boto3 does not hash each body once more to sign it; with HTTP it would.
AWS_CONFIG = """[default]
s3 =
  payload_signing_enabled = false
"""


def environment(
    stack: Stack, organisation: Organisation, bucket: str, scratch: Path, differential: bool = False
) -> dict[str, str]:
    """Return what the product and the loop are given. The alternatives store each change in full, and no issues."""
    key = scratch.with_suffix(".pem")
    key.write_text(organisation.github.pem())
    config = scratch.with_suffix(".aws")
    config.write_text(AWS_CONFIG)
    given = {"GITHUB_APP_KEY_FILE": str(key), "AWS_CONFIG_FILE": str(config), "FULL_BACKUP_DAYS": FULL_BACKUP_DAYS}
    given |= {"DIFFERENTIAL": str(differential).lower()} | dict.fromkeys(WRITTEN_BY_PEOPLE, "false")
    return stack.environment(organisation.github, bucket, scratch) | given


def github_backup(organisation: Organisation, scratch: Path) -> tuple[tuple[str, ...], dict[str, str]]:
    """Return the command and the environment of github-backup's clone step.

    It speaks HTTPS only. The API is asked that way; git is told to use HTTP for the same URLs, so that all three
    fetch the same packs in the same way.
    """
    recorded, token = organisation.recorded, organisation.github.issued[-1]
    file = scratch.with_suffix(".token")
    file.write_text(token)
    command = (
        *(GITHUB_BACKUP, OWNER, "--organization", "--as-app", "--token", f"file://{file}"),
        *("--github-host", recorded.https_host, "--repositories", "--bare", "--private", "--fork"),
        *("--quiet", "--output-directory", str(scratch)),
    )
    login = f"x-access-token:{token}@"
    settings = {
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"url.http://{login}{recorded.host}/.insteadOf",
        "GIT_CONFIG_VALUE_0": f"https://{login}{recorded.https_host}/",
    }
    return command, ENVIRONMENT | {"SSL_CERT_FILE": str(recorded.certificate)} | settings
