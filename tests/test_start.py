"""A run that can't start or list: every reason at once, in plain words, exit code 2, an alarm, no manifest."""

import pytest

from embedded.s3 import READER
from world import Run, World


def assert_not_started(world: World, run: Run) -> None:
    assert run.code == 2, run.output
    assert run.events[-1]["exit_code"] == 2
    assert run.manifest is None
    assert world.stored_keys() == set()
    assert world.metrics()["BackupFailure"] == [1]


def test_every_problem_in_the_environment_is_named_at_once_before_any_network_call(world: World) -> None:
    run = world.run(
        GITHUB_APP_ID=None,
        GITHUB_APP_INSTALLATION_ID="acme",
        GITHUB_APP_KEY_FILE="/nowhere/key.pem",
        S3_BUCKET="s3://Bucket",
        GITHUB_API_URL="api.github.com",
        BACKUP_CONCURRENCY="many",
    )
    assert_not_started(world, run)
    named = [problem.split()[0] for problem in run.problems]
    assert sorted(named) == sorted(
        [
            *("GITHUB_APP_ID", "GITHUB_APP_INSTALLATION_ID", "GITHUB_APP_KEY_FILE"),
            *("S3_BUCKET", "GITHUB_API_URL", "BACKUP_CONCURRENCY"),
        ]
    )
    assert world.github.exchanges == []


def test_a_missing_region_is_a_problem_like_the_others(world: World) -> None:
    run = world.run(AWS_REGION=None, S3_BUCKET=None)
    assert run.code == 2
    assert [problem.split()[0] for problem in run.problems] == ["S3_BUCKET", "AWS_REGION"]
    assert world.github.exchanges == []


def test_the_region_is_taken_from_either_variable(world: World) -> None:
    world.add("api")
    assert world.run(AWS_REGION=None, AWS_DEFAULT_REGION="eu-central-1").code == 0


def test_a_secret_that_does_not_exist(world: World) -> None:
    arn = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:nothing-AbCdEf"
    run = world.run(GITHUB_APP_KEY_FILE=None, GITHUB_APP_KEY_SECRET_ARN=arn)
    assert_not_started(world, run)
    assert f"the secret {arn} does not exist" in run.problems[0]


def test_a_secret_without_a_value_says_how_to_give_it_one(world: World) -> None:
    arn = world.stack.aws.new_secret(world.service, None)
    run = world.run(GITHUB_APP_KEY_FILE=None, GITHUB_APP_KEY_SECRET_ARN=arn)
    assert_not_started(world, run)
    assert "aws secretsmanager put-secret-value" in run.problems[0]


def test_the_key_is_read_from_secrets_manager(world: World) -> None:
    world.add("api")
    arn = world.stack.aws.new_secret(world.service, world.github.pem().replace("\n", "\\n"))
    assert world.run(GITHUB_APP_KEY_FILE=None, GITHUB_APP_KEY_SECRET_ARN=arn).code == 0


def test_a_key_that_is_no_pem_is_named_and_not_shown(world: World) -> None:
    file = world.folder / "key.txt"
    file.write_text("MIIEowIBAAKCAQEA-not-a-pem")
    run = world.run(GITHUB_APP_KEY_FILE=str(file))
    assert_not_started(world, run)
    assert f"the file {file} does not hold a PEM private key" in run.problems[0]
    assert "MIIE" not in run.output


def test_a_wrong_app_id(world: World) -> None:
    world.add("api")
    run = world.run(GITHUB_APP_ID="999")
    assert_not_started(world, run)
    assert "Integration not found" in run.problems[0]
    assert "GITHUB_APP_ID" in run.problems[0]


def test_a_suspended_installation(world: World) -> None:
    world.add("api")
    installation = next(iter(world.github.installations.values()))
    installation.suspended = True
    run = world.run(GITHUB_APP_INSTALLATION_ID=str(installation.id))
    assert_not_started(world, run)
    assert "This installation has been suspended" in run.problems[0]


def test_an_installation_that_does_not_exist(world: World) -> None:
    world.add("api")
    run = world.run(GITHUB_APP_INSTALLATION_ID="4711")
    assert_not_started(world, run)
    assert "GITHUB_APP_INSTALLATION_ID" in run.problems[0]


def test_every_installation_suspended(world: World) -> None:
    for name in ("api", "experiments"):
        world.add(name)
    for installation in world.github.installations.values():
        installation.suspended = True
    run = world.run()
    assert_not_started(world, run)
    assert sum("This installation has been suspended" in problem for problem in run.problems) == 2


def test_a_github_that_cannot_be_reached(world: World) -> None:
    run = world.run(GITHUB_API_URL="http://127.0.0.1:9/api/v3")
    assert_not_started(world, run)
    assert "http://127.0.0.1:9/api/v3 can't be reached" in run.problems[0]
    assert "Connection refused" in run.problems[0]


@pytest.mark.parametrize("installed", [True, False])
def test_zero_repositories_are_a_failure_and_never_an_empty_manifest(world: World, installed: bool) -> None:
    if installed:
        world.github.install("acme")
    run = world.run()
    assert_not_started(world, run)
    assert "GitHub lists no repository" in run.problems[0]


def test_a_missing_bucket(world: World) -> None:
    world.add("api")
    run = world.run(S3_BUCKET="no-such-bucket")
    assert_not_started(world, run)
    assert "the bucket no-such-bucket can't be used" in run.problems[0]


def test_a_bucket_that_may_only_be_read(world: World) -> None:
    world.add("api")
    run = world.run(AWS_ACCESS_KEY_ID=READER[0], AWS_SECRET_ACCESS_KEY=READER[1])
    assert_not_started(world, run)
    assert "takes no objects" in run.problems[0]
    assert "AccessDenied" in run.problems[0]
    assert world.github.requests("git-upload-pack") == []


def test_missing_credentials(world: World) -> None:
    run = world.run(AWS_ACCESS_KEY_ID=None, AWS_SECRET_ACCESS_KEY=None, AWS_EC2_METADATA_DISABLED="true")
    assert run.code == 2
    assert "Unable to locate credentials" in run.problems[0]


def test_a_bucket_and_a_github_that_are_both_wrong_are_both_said(world: World) -> None:
    world.add("api")
    run = world.run(S3_BUCKET="no-such-bucket", GITHUB_APP_ID="999")
    assert_not_started(world, run)
    assert len(run.problems) == 2


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("AWS_PROFILE", "nope", "AWS_PROFILE can't be used"),
        ("AWS_CONFIG_FILE", __file__, "the AWS configuration can't be used: Unable to parse config file"),
        ("AWS_SHARED_CREDENTIALS_FILE", __file__, "the AWS configuration can't be used: Unable to parse config file"),
        ("AWS_REGION", "eu central 1", "AWS_REGION must be the name of a region"),
        ("AWS_ENDPOINT_URL_S3", "garbage", "S3 can't be used"),
        ("SSL_CERT_FILE", "/nowhere", "SSL_CERT_FILE names '/nowhere'"),
        ("TMPDIR", "/nowhere", "TMPDIR names '/nowhere'"),
    ],
)
def test_what_boto3_git_or_python_read_from_the_environment_is_checked_too(
    world: World, name: str, value: str, words: str
) -> None:
    run = world.run(**{name: value})
    assert run.code == 2
    assert words in run.problems[0]


def test_a_server_url_in_capitals_is_the_same_server(world: World) -> None:
    world.add("api")
    assert world.run(GITHUB_SERVER_URL=world.github.server_url.replace("http", "HTTP")).code == 0


def test_a_git_that_does_not_work_is_a_problem(world: World) -> None:
    (world.folder / "git").write_text("#!/bin/sh\necho broken >&2\nexit 3\n")
    (world.folder / "git").chmod(0o755)
    run = world.run(PATH=f"{world.folder}:/usr/bin:/bin")
    assert run.code == 2
    assert "git version ended with 3: broken" in run.problems[0]


def test_a_key_in_the_wrong_variable_is_not_shown(world: World) -> None:
    body = "".join(world.github.pem().splitlines()[1:-1])
    run = world.run(GITHUB_APP_KEY_FILE=body, GITHUB_APP_ID=f"{body}!")
    assert run.code == 2
    assert body[:40] not in run.output


def test_a_name_of_a_service_that_cannot_be_a_dimension_still_raises_the_alarm(world: World) -> None:
    run = world.run(SERVICE_NAME=":wrong")
    assert run.code == 2
    assert world.stack.aws.metrics("github-backup")["BackupFailure"][0] >= 1
