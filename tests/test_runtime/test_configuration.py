"""Every variable of the environment: its default, what it takes, what it refuses."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from github_s3_backup.configuration import Configuration, GitHubSettings, Signing, read_configuration
from github_s3_backup.program import aws_session
from github_s3_backup.repository_filter import RepositoryFilter
from github_s3_backup.runtime.environment import ConfigurationError


@pytest.fixture
def sound(tmp_path: Path) -> dict[str, str]:
    key = tmp_path / "key.pem"
    key.write_text("a key")
    return {"GITHUB_APP_ID": "123456", "GITHUB_APP_KEY_FILE": str(key), "S3_BUCKET": "my-backups"}


def problems(environment: dict[str, str], region: str | None = "eu-central-1") -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        read_configuration(environment, region)
    return caught.value.problems


def test_the_defaults_are_those_of_the_contract(sound: dict[str, str]) -> None:
    assert read_configuration(sound, "eu-central-1") == Configuration(
        github=GitHubSettings(
            app_id="123456",
            installation_id=None,
            key_secret_arn=None,
            key_file=Path(sound["GITHUB_APP_KEY_FILE"]),
            api_url="https://api.github.com",
            server_url="https://github.com",
        ),
        bucket="my-backups",
        prefix="github-backup",
        service_name="github-backup",
        concurrency=min(64, 8 * (os.cpu_count() or 1)),
        full_backup_days=28,
        differential=True,
        deadline_hours=None,
        anomaly_percent=5.0,
        repository_filter=RepositoryFilter(),
        content=frozenset({"lfs", "releases", "wiki", "issues", "pull_requests", "discussions"}),
        signing=Signing(None, None),
        orchestration=None,
        variables={},
    )


def test_an_empty_variable_is_one_that_is_not_set(sound: dict[str, str]) -> None:
    names = (
        "GITHUB_APP_INSTALLATION_ID",
        "GITHUB_APP_KEY_SECRET_ARN",
        "S3_PREFIX",
        "SERVICE_NAME",
        "BACKUP_CONCURRENCY",
        "FULL_BACKUP_DAYS",
    )
    assert read_configuration(sound | dict.fromkeys(names, " "), "x") == read_configuration(sound, "x")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("GITHUB_APP_ID", "Iv1.8a61f9b3a7aba766"),
        ("GITHUB_APP_ID", "Iv23liAbCdEfGhIjKlMn"),
        ("GITHUB_APP_INSTALLATION_ID", "12345678"),
        ("S3_BUCKET", "my.backups-2026"),
        ("S3_PREFIX", "a/b_c.d"),
        ("GITHUB_API_URL", "https://github.example.com/api/v3/"),
        ("GITHUB_SERVER_URL", "http://127.0.0.1:8080"),
        ("SERVICE_NAME", "Backup of acme"),
        ("BACKUP_CONCURRENCY", "1"),
        ("BACKUP_CONCURRENCY", "256"),
        ("FULL_BACKUP_DAYS", "1"),
        ("FULL_BACKUP_DAYS", "365"),
        ("RUN_DEADLINE_HOURS", "0.3333333333333333"),
    ],
)
def test_a_sound_value_is_taken(sound: dict[str, str], name: str, value: str) -> None:
    read_configuration(sound | {name: value}, "x")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("GITHUB_APP_ID", ""),
        ("GITHUB_APP_ID", "my app"),
        ("GITHUB_APP_INSTALLATION_ID", "acme"),
        ("GITHUB_APP_INSTALLATION_ID", "0"),
        ("GITHUB_APP_KEY_FILE", "/nowhere"),
        ("GITHUB_APP_KEY_FILE", "/"),
        ("S3_BUCKET", ""),
        ("S3_BUCKET", "s3://my-backups"),
        ("S3_BUCKET", "My_Backups"),
        ("S3_BUCKET", "ab"),
        ("S3_PREFIX", "a//b"),
        ("S3_PREFIX", "a/../b"),
        ("S3_PREFIX", "a b"),
        ("GITHUB_API_URL", "api.github.com"),
        ("GITHUB_API_URL", "ftp://api.github.com"),
        ("GITHUB_API_URL", "https://"),
        ("GITHUB_API_URL", "https://h:port"),
        ("GITHUB_API_URL", "https://h/?a=b"),
        ("GITHUB_SERVER_URL", "https://user:secret@github.com"),
        ("SERVICE_NAME", ":backup"),
        ("SERVICE_NAME", "größe"),
        ("BACKUP_CONCURRENCY", "0"),
        ("BACKUP_CONCURRENCY", "-1"),
        ("BACKUP_CONCURRENCY", "257"),
        ("BACKUP_CONCURRENCY", "four"),
        ("FULL_BACKUP_DAYS", "0"),
        ("FULL_BACKUP_DAYS", "366"),
        ("FULL_BACKUP_DAYS", "weekly"),
        ("SSL_CERT_FILE", "/nowhere"),
        ("TMPDIR", "/nowhere"),
    ],
)
def test_a_wrong_value_is_one_problem_that_begins_with_its_name(sound: dict[str, str], name: str, value: str) -> None:
    (problem,) = problems(sound | {name: value})
    assert problem.startswith(name)
    assert "secret" not in problem


def test_a_region_is_a_name(sound: dict[str, str]) -> None:
    (problem,) = problems(sound, "eu central 1")
    assert problem.startswith("AWS_REGION must be the name of a region")


@pytest.mark.parametrize("both", [True, False])
def test_exactly_one_place_for_the_key(sound: dict[str, str], both: bool) -> None:
    arn = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:app-key-AbCdEf"
    changed = sound | {"GITHUB_APP_KEY_SECRET_ARN": arn} if both else sound | {"GITHUB_APP_KEY_FILE": ""}
    (problem,) = problems(changed)
    assert "GITHUB_APP_KEY_SECRET_ARN" in problem
    assert "GITHUB_APP_KEY_FILE" in problem


def test_a_malformed_arn_is_refused(sound: dict[str, str]) -> None:
    (problem,) = problems(sound | {"GITHUB_APP_KEY_FILE": "", "GITHUB_APP_KEY_SECRET_ARN": "arn:aws:s3:::bucket"})
    assert problem.startswith("GITHUB_APP_KEY_SECRET_ARN")


def test_everything_missing_is_said_at_once() -> None:
    assert [problem.split()[0] for problem in problems({}, None)] == ["GITHUB_APP_ID", "set", "S3_BUCKET", "AWS_REGION"]


# -- what boto3 reads by itself --------------------------------------------------------------------

BOTO3 = ("AWS_PROFILE", "AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE", "AWS_REGION", "AWS_DEFAULT_REGION")


@pytest.fixture
def boto3_reads(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Set these of the variables that boto3 reads, and no other of them."""

    def set_only(**variables: str) -> None:
        for name in BOTO3:
            monkeypatch.delenv(name, raising=False)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)

    return set_only


@pytest.mark.parametrize("name", ["AWS_REGION", "AWS_DEFAULT_REGION"])
def test_the_region_is_taken_from_either_variable(boto3_reads: Callable[..., None], name: str) -> None:
    boto3_reads(**{name: "eu-central-1"})
    session, wrong = aws_session()
    assert (session.region_name, wrong) == ("eu-central-1", [])


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("AWS_PROFILE", "nope", "AWS_PROFILE can't be used"),
        ("AWS_CONFIG_FILE", __file__, "the AWS configuration can't be used: Unable to parse config file"),
        ("AWS_SHARED_CREDENTIALS_FILE", __file__, "the AWS configuration can't be used: Unable to parse config file"),
    ],
)
def test_a_wrong_value_that_boto3_reads_is_a_problem_too(
    boto3_reads: Callable[..., None], name: str, value: str, words: str
) -> None:
    boto3_reads(**{name: value, "AWS_REGION": "eu-central-1"})
    session, (problem,) = aws_session()
    assert words in problem
    assert session.region_name == "eu-central-1"  # the alarm can be raised all the same
