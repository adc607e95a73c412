"""A run that can't start or list: every reason at once, in plain words, exit code 2, an alarm, no manifest.

What is wrong with single variables, keys, buckets and listings is in the tests of those: here it is a whole run.
"""

import pytest

from support.world import Run, World


def assert_not_started(world: World, run: Run, service: str | None = None) -> None:
    assert run.code == 2, run.output
    assert run.events[-1]["exit_code"] == 2
    assert run.manifest is None
    assert world.stored_keys() == set()
    assert world.github.requests("git-upload-pack") == []
    if service is None:
        # Nothing else is known of a run that did not look: a 0 would end the alarm for an anomaly.
        metrics = world.metrics()
        assert metrics.pop("BackupFailure") == [1]
        assert metrics.keys() == {"RunDuration"}
    else:
        assert world.stack.aws.metrics(service)["BackupFailure"][0] >= 1


def first_words(run: Run) -> list[str]:
    return [problem.split()[0] for problem in run.problems]


def test_every_problem_in_the_environment_is_named_at_once_before_any_network_call(world: World) -> None:
    run = world.run(
        GITHUB_APP_ID=None,
        GITHUB_APP_INSTALLATION_ID="acme",
        GITHUB_APP_KEY_FILE="/nowhere/key.pem",
        S3_BUCKET="s3://Bucket",
        GITHUB_API_URL="api.github.com",
        BACKUP_CONCURRENCY="many",
        SERVICE_NAME=":wrong",
        SSL_CERT_FILE="/nowhere",
        TMPDIR="/nowhere",
        AWS_PROFILE="nope",
    )
    assert_not_started(world, run, "github-backup")  # a name that can't be a dimension still raises the alarm
    assert sorted(first_words(run)) == sorted(
        [
            *("GITHUB_APP_ID", "GITHUB_APP_INSTALLATION_ID", "GITHUB_APP_KEY_FILE", "S3_BUCKET", "GITHUB_API_URL"),
            *("BACKUP_CONCURRENCY", "SERVICE_NAME", "SSL_CERT_FILE", "TMPDIR", "AWS_PROFILE"),
        ]
    )
    assert world.github.exchanges == []


def test_without_a_region_nothing_is_called_and_a_key_in_the_wrong_variable_is_not_shown(world: World) -> None:
    body = "".join(world.github.pem().splitlines()[1:-1])
    run = world.run(AWS_REGION=None, S3_BUCKET=None, GITHUB_APP_KEY_FILE=body, GITHUB_APP_ID=f"{body}!")
    assert run.code == 2
    assert sorted(first_words(run)) == ["AWS_REGION", "GITHUB_APP_ID", "GITHUB_APP_KEY_FILE", "S3_BUCKET"]
    assert world.github.exchanges == []
    assert body[:40] not in run.output


def test_key_region_and_server_are_taken_from_wherever_they_may_be(world: World) -> None:
    world.add("api")
    run = world.run(
        GITHUB_APP_KEY_FILE=None,
        GITHUB_APP_KEY_SECRET_ARN=world.stack.aws.new_secret(world.service, world.github.pem().replace("\n", "\\n")),
        AWS_REGION=None,
        AWS_DEFAULT_REGION="eu-central-1",
        GITHUB_SERVER_URL=world.github.server_url.replace("http", "HTTP"),
    )
    assert run.code == 0


def test_a_bucket_a_github_and_a_git_that_do_not_work_are_all_said(world: World) -> None:
    (world.folder / "git").write_text("#!/bin/sh\necho broken >&2\nexit 3\n")
    (world.folder / "git").chmod(0o755)
    run = world.run(
        S3_BUCKET="no-such-bucket",
        GITHUB_API_URL="http://127.0.0.1:9/api/v3",
        PATH=f"{world.folder}:/usr/bin:/bin",
    )
    assert_not_started(world, run)
    git, github, s3 = sorted(run.problems)
    assert "http://127.0.0.1:9/api/v3 can't be reached" in github
    assert "Connection refused" in github
    assert "git version ended with 3: broken" in git
    assert "the bucket no-such-bucket can't be used" in s3


def test_a_secret_that_holds_no_key_and_credentials_that_are_missing_are_both_said(world: World) -> None:
    file = world.folder / "key.txt"
    file.write_text("MIIEowIBAAKCAQEA-not-a-pem")
    credentials = dict.fromkeys(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"))
    run = world.run(GITHUB_APP_KEY_FILE=str(file), AWS_EC2_METADATA_DISABLED="true", **credentials)
    assert run.code == 2
    key, s3 = sorted(run.problems, key=lambda problem: "Unable to locate credentials" in problem)
    assert f"the file {file} does not hold a PEM private key" in key
    assert "Unable to locate credentials" in s3
    assert "MIIE" not in run.output


def test_every_installation_suspended_and_an_s3_that_is_no_url_are_all_said(world: World) -> None:
    for name in ("api", "experiments"):
        world.add(name)
    for installation in world.github.installations.values():
        installation.suspended = True
    run = world.run(AWS_ENDPOINT_URL_S3="garbage")
    assert_not_started(world, run)
    assert sum("This installation has been suspended" in problem for problem in run.problems) == 2
    assert sum("S3 can't be used" in problem for problem in run.problems) == 1


def test_an_installation_that_is_named_and_does_not_exist(world: World) -> None:
    world.add("api")
    run = world.run(GITHUB_APP_INSTALLATION_ID="4711")
    assert_not_started(world, run)
    assert "GITHUB_APP_INSTALLATION_ID" in run.problems[0]


@pytest.mark.parametrize("installed", [True, False])
def test_zero_repositories_are_a_failure_and_never_an_empty_manifest(world: World, installed: bool) -> None:
    if installed:
        world.github.install("acme")
    run = world.run()
    assert_not_started(world, run)
    assert "GitHub lists no repository" in run.problems[0]
