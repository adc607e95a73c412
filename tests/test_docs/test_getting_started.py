"""The commands of the page about getting started that need no Docker and no account, and what they print."""

import json
import re
import shutil
from pathlib import Path

import boto3
import pytest

from embedded.aws import CREDENTIALS
from embedded.github import FakeGitHub
from embedded.s3 import REGION
from embedded.stack import PROJECT, Stack
from support import printed
from support.pages import PRIMARY, SERVICE, Place, two_days

PAGE = PROJECT / "docs" / "getting-started.md"
SECTIONS = dict(re.findall(r"^## (?:\d+\. )?(.*?)\n(.*?)(?=^## |\Z)", PAGE.read_text(), re.MULTILINE | re.DOTALL))
# Stands for Terraform in a folder in which the module was applied.
TERRAFORM = "#!/bin/sh\ncat <<'EOF'\n{outputs}\nEOF\n"


def account(stack: Stack) -> dict[str, str]:
    """Make the secret and the alarm as the module makes them, and return the outputs that the page uses."""
    secrets = boto3.client("secretsmanager", endpoint_url=stack.aws.url, **CREDENTIALS)
    secret = secrets.create_secret(Name=f"{SERVICE}-app-key")["ARN"]
    stack.aws.cloudwatch().put_metric_alarm(
        AlarmName=f"{SERVICE}-backup-failure",
        Namespace="GitHubBackup",
        MetricName="BackupFailure",
        Statistic="Sum",
        ComparisonOperator="GreaterThanThreshold",
        Threshold=0,
        Period=3600,
        EvaluationPeriods=1,
    )
    return {"github_app_key_secret_arn": secret, "s3_bucket_name": PRIMARY}


@pytest.mark.skipif(shutil.which("jq") is None, reason="jq is not installed: apt install jq")
def test_the_commands_print_what_the_page_shows(stack: Stack, github: FakeGitHub, tmp_path: Path) -> None:
    """All but those that start a run on Fargate or need Docker."""
    (tmp_path / "days").mkdir()
    place = Place(stack, github, tmp_path, two_days(stack, tmp_path / "days")).arrange()
    (tmp_path / "acme-backup.private-key.pem").write_text(github.pem())
    terraform = tmp_path / "terraform"
    terraform.write_text(TERRAFORM.format(outputs=json.dumps(account(stack))))
    terraform.chmod(0o755)
    place.variables |= {"PATH": f"{tmp_path}:{place.environment()['PATH']}", "AWS_DEFAULT_REGION": REGION}
    first = place.days[0]
    for heading, number in (
        ("Build the image", 0),
        ("Store the key", 0),
        ("Confirm the e-mails", 0),
        ("Start a first run", 1),
    ):
        commands, shown = printed.blocks(SECTIONS[heading])[number]
        (output,) = place.run_on_a_terminal([commands.replace("$(date -u +%F)", first.date)])
        printed.compare(PAGE, commands, shown, place.as_on_the_page(output))
    (log,) = re.findall(r"The lines themselves are:\n\n```text\n(.*?)```", SECTIONS["Start a first run"], re.DOTALL)
    assert printed.missing(log, first.log) == [], first.log
