"""One test runs what the module would run: the program, with the environment that the task definition gives it."""

from support.world import World
from terraform.module import Module


def test_the_rendered_environment_runs_a_backup_end_to_end(world: World, module: Module) -> None:
    world.add("api")
    world.add("empty")
    secret = world.stack.aws.new_secret(world.service, world.github.pem())
    applied = module.apply(
        existing={"secret": {"arn": secret}, "bucket": {"name": world.bucket}},
        kms_key_arns={"signing": world.stack.aws.new_signing_key()},
        service_name=world.service,
        alarm_emails=["a@example.com"],
    )
    rendered = applied.environment()
    assert rendered["GITHUB_APP_KEY_SECRET_ARN"] == secret
    assert rendered["S3_BUCKET"] == world.bucket
    # What is another way on this machine than on Fargate: where GitHub and AWS are, and the scratch volume.
    here = ("PATH", "TMPDIR", "GITHUB_API_URL", "GITHUB_SERVER_URL", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3")
    credentials = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    local = world.environment()
    environment: dict[str, str | None] = dict.fromkeys(local)  # nothing else
    run = world.run(**environment | rendered | {name: local[name] for name in (*here, *credentials)})
    assert run.code == 0, run.output
    assert run.repos.keys() == {"acme/api", "acme/empty"}
    assert (run.manifest or {})["signing_key"], "it is signed, as by default"
    assert world.metrics()["BackupSuccess"] == [2]
