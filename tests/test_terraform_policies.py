"""Least privilege: every call of a real run is allowed, what goes beyond is not, no statement is for nothing."""

import json
import re
from collections.abc import Iterator
from dataclasses import replace

import parliament
import pytest

from embedded.s3_proxy import S3Fault, S3Proxy
from terraform.module import ACCOUNT, REGION, REPLICA_REGION, Applied, Module
from terraform.policy import Call, applies, decide
from world import World

KEYS = {
    "primary": f"arn:aws:kms:{REGION}:{ACCOUNT}:key/primary",
    "replica": f"arn:aws:kms:{REPLICA_REGION}:{ACCOUNT}:key/replica",
    "secret": f"arn:aws:kms:{REGION}:{ACCOUNT}:key/secret",
}
IMAGE = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/team/backup@sha256:{'0' * 64}"


@pytest.fixture(scope="module")
def whole(module: Module) -> Applied:
    """What the module makes when every optional statement is in its policies."""
    replica = {"name": "vault", "account_id": "210987654321"}
    return module.apply(kms_key_arns=KEYS, image_uri=IMAGE, existing={"replica_bucket": replica})


# -- what a real run calls -----------------------------------------------------------------------


@pytest.fixture
def recorded(world: World, s3_proxy: S3Proxy) -> Iterator[list[Call]]:
    """The calls of three real runs: one with an upload in parts that had to be aborted, one that carries over."""
    with S3Proxy(world.stack.aws.url) as control:
        world.variables["AWS_ENDPOINT_URL"] = control.url
        secret = world.stack.aws.new_secret(world.service, world.github.pem())
        key: dict[str, str | None] = {"GITHUB_APP_KEY_FILE": None, "GITHUB_APP_KEY_SECRET_ARN": secret}
        world.add("in-parts")
        world.add("api")
        assert world.run(**key).code == 0
        world.yesterday()
        assert {one["status"] for one in world.run(**key).repos.values()} == {"unchanged"}
        s3_proxy.faults = [S3Fault("PUT .*partNumber=2", "deny")]
        assert world.run(FULL_BACKUP_DAYS="1", **key).code == 1
        copied = [f"GET /{source}" for source in s3_proxy.copy_sources]
        yield [*s3_calls([*s3_proxy.requests, *copied], world.bucket), *control_calls(control.operations)]


S3_ACTIONS = {
    "HEAD": "GetObject",
    "GET": "GetObject",
    "PUT": "PutObject",
    "POST": "PutObject",
    "DELETE": "AbortMultipartUpload",
}


def s3_calls(requests: list[str], bucket: str) -> Iterator[Call]:
    """Return the calls behind S3's requests: which action each needs is S3's documentation's word."""
    for request in requests:
        method, path = request.split(" ", 1)
        key = re.sub(rf"^/{bucket}/?|\?.*$| copy$", "", path)
        action = S3_ACTIONS[method] if key else "ListBucket"
        if action == "GetObject" and "versionId=" in path:
            action = "GetObjectVersion"
        yield Call(f"s3:{action}", f"arn:aws:s3:::{bucket}/{key}" if key else f"arn:aws:s3:::{bucket}")


def control_calls(operations: list[tuple[str, bytes]]) -> Iterator[Call]:
    for operation, body in operations:
        name, given = operation.split(".")[1], json.loads(body)
        if name == "PutMetricData":
            yield Call("cloudwatch:PutMetricData", "*", {"cloudwatch:namespace": given["Namespace"]})
        else:
            yield Call(f"secretsmanager:{name}", given["SecretId"])


def as_deployed(calls: list[Call], applied: Applied) -> set[tuple[str, str, str]]:
    """Return the calls with the deployed bucket and secret in place of the test's."""
    bucket, secret = applied.outputs["s3_bucket_arn"], applied.outputs["github_app_key_secret_arn"]
    moved = set()
    for call in calls:
        resource = re.sub(r"^arn:aws:s3:::[^/]+", bucket, call.resource)
        resource = secret if ":secret:" in resource else resource
        moved.add((call.action, resource, call.context.get("cloudwatch:namespace", "")))
    return moved


def test_every_call_of_a_real_run_is_allowed_and_no_statement_is_for_nothing(
    recorded: list[Call], applied: Applied
) -> None:
    policy = applied.policy("task")
    calls = [
        Call(action, resource, {"cloudwatch:namespace": namespace} if namespace else {})
        for action, resource, namespace in as_deployed(recorded, applied)
    ]
    assert {call.action for call in calls} == {
        *("s3:ListBucket", "s3:GetObject", "s3:GetObjectVersion", "s3:PutObject", "s3:AbortMultipartUpload"),
        *("secretsmanager:GetSecretValue", "cloudwatch:PutMetricData"),
    }
    for call in calls:
        assert decide(policy, call) == "allow", call
    for statement in policy["Statement"]:
        assert any(applies(statement, call) for call in calls), statement["Sid"]


# -- the roles -----------------------------------------------------------------------------------


def role_calls(whole: Applied) -> dict[str, dict[str, list[Call]]]:
    """Return, for each role and statement, the calls that need it.

    Those of the task are recorded above. Calls under customer keys and calls that AWS's services make can't be
    recorded without an account, so they are written down from AWS's documentation.
    """
    bucket, replica = whole.outputs["s3_bucket_arn"], whole.outputs["replica_bucket_arn"]
    one, copy = (
        f"{bucket}/github-backup/2026-11-23/acme/api.bundle",
        f"{replica}/github-backup/2026-11-23/acme/api.bundle",
    )
    log_stream = f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:/ecs/github-backup:log-stream:backup/backup/0123"
    repository = f"arn:aws:ecr:{REGION}:{ACCOUNT}:repository/team/backup"
    cluster = {"ecs:cluster": whole.outputs["ecs_cluster_arn"]}
    to_tasks = {"iam:PassedToService": "ecs-tasks.amazonaws.com"}
    s3_here, s3_there = ({"kms:ViaService": f"s3.{region}.amazonaws.com"} for region in (REGION, REPLICA_REGION))
    secret = {"kms:ViaService": f"secretsmanager.{REGION}.amazonaws.com"}
    reads = ("LegalHold", "Retention", "VersionAcl", "VersionForReplication", "VersionTagging")
    writes = ("s3:ReplicateObject", "s3:ReplicateTags", "s3:ObjectOwnerOverrideToBucketOwner")
    return {
        "task": {
            "ReadTheAppsKey": [Call("secretsmanager:GetSecretValue", whole.outputs["github_app_key_secret_arn"])],
            "PutBundlesAndManifest": [Call("s3:PutObject", one)],
            "ReadBackups": [Call("s3:GetObject", one), Call("s3:GetObjectVersion", one)],
            "AbortUploads": [Call("s3:AbortMultipartUpload", one)],
            "SeeWhetherTheBucketIsThere": [Call("s3:ListBucket", bucket)],
            "PublishMetrics": [Call("cloudwatch:PutMetricData", "*", {"cloudwatch:namespace": "GitHubBackup"})],
            "EncryptBundles": [
                Call(f"kms:{name}", KEYS["primary"], s3_here) for name in ("GenerateDataKey", "Decrypt")
            ],
            "DecryptTheAppsKey": [Call("kms:Decrypt", KEYS["secret"], secret)],
        },
        "execution": {
            "WriteLogs": [Call(f"logs:{name}", log_stream) for name in ("CreateLogStream", "PutLogEvents")],
            "SignInToTheRegistry": [Call("ecr:GetAuthorizationToken", "*")],
            "PullTheImage": [Call(f"ecr:{name}", repository) for name in ("BatchGetImage", "GetDownloadUrlForLayer")],
        },
        "schedule": {
            "StartTheTask": [Call("ecs:RunTask", whole.outputs["task_definition_arn"], cluster)],
            "HandOverTheRoles": [
                Call("iam:PassRole", whole[f"aws_iam_role.{role}"]["arn"], to_tasks) for role in ("task", "execution")
            ],
        },
        "replication": {
            "SeeWhatToReplicate": [Call("s3:GetReplicationConfiguration", bucket), Call("s3:ListBucket", bucket)],
            "ReadVersions": [Call(f"s3:GetObject{what}", one) for what in reads],
            "WriteReplicas": [Call(action, copy) for action in writes],
            "DecryptTheOriginal": [Call("kms:Decrypt", KEYS["primary"], s3_here)],
            "EncryptTheReplica": [
                Call(f"kms:{name}", KEYS["replica"], s3_there) for name in ("Encrypt", "GenerateDataKey")
            ],
        },
    }


ROLES = ("task", "execution", "schedule", "replication")


@pytest.mark.parametrize("role", ROLES)
def test_each_statement_is_needed_and_allows_its_calls(whole: Applied, role: str) -> None:
    policy, needed = whole.policy(role), role_calls(whole)[role]
    statements = {one["Sid"]: one for one in policy["Statement"]}
    assert statements.keys() == needed.keys()
    for sid, calls in needed.items():
        for call in calls:
            assert applies(statements[sid], call), (sid, call)
        actions = statements[sid]["Action"]
        assert {call.action for call in calls} == set(actions if isinstance(actions, list) else [actions]), sid


def beyond(call: Call, role: str) -> Iterator[Call]:
    """Return calls that go beyond an allowed one: another resource, account, prefix or context, a worse action."""
    service = call.action.split(":")[0]
    if call.resource != "*":
        another = re.sub(r"github-backup|vault|team|(?<=key/)\w+", "another", call.resource)
        yield replace(call, resource=another)
        yield replace(
            call, resource=call.resource.replace(ACCOUNT, "999999999999") if ACCOUNT in call.resource else another
        )
    if role == "task" and call.resource.startswith("arn:aws:s3"):
        yield replace(call, resource=call.resource.replace("/github-backup/", "/other/") + "x")
    for key in call.context:
        yield replace(call, context={**call.context, key: "something-else"})
        yield replace(call, context={})
    yield replace(call, action=f"{service}:DeleteEverything")


@pytest.mark.parametrize("role", ROLES)
def test_a_call_that_goes_beyond_a_statement_is_not_allowed(whole: Applied, role: str) -> None:
    policy = whole.policy(role)
    for calls in role_calls(whole)[role].values():
        for call in calls:
            assert decide(policy, call) == "allow", call
            for further in beyond(call, role):
                assert decide(policy, further) == "nothing", further


FORBIDDEN = [
    *(
        "s3:DeleteObject",
        "s3:DeleteObjectVersion",
        "s3:PutBucketPolicy",
        "s3:PutLifecycleConfiguration",
    ),
    *("s3:PutObjectRetention", "s3:BypassGovernanceRetention", "s3:DeleteBucket", "s3:PutBucketVersioning"),
    *("secretsmanager:PutSecretValue", "secretsmanager:DeleteSecret", "kms:ScheduleKeyDeletion", "iam:PassRole"),
]


@pytest.mark.parametrize("action", FORBIDDEN)
def test_a_stolen_task_role_destroys_nothing(whole: Applied, action: str) -> None:
    outputs = whole.outputs
    key = f"{outputs['s3_bucket_arn']}/github-backup/2026-11-23/acme/api.bundle"
    for resource in (
        "*",
        key,
        outputs["s3_bucket_arn"],
        outputs["github_app_key_secret_arn"],
        outputs["replica_bucket_arn"],
    ):
        assert decide(whole.policy("task"), Call(action, resource)) == "nothing"


@pytest.mark.parametrize("role", ROLES)
def test_a_role_is_assumed_by_its_service_for_this_account_only(whole: Applied, role: str) -> None:
    trust = whole.policy(f'trust["{role}"]')
    (statement,) = trust["Statement"]
    service = statement["Principal"]["Service"]
    source = statement["Condition"].get("ArnLike", {}).get("aws:SourceArn", "*").replace("*", "task/x")
    good = Call("sts:AssumeRole", "*", {"aws:SourceAccount": ACCOUNT, "aws:SourceArn": source}, principal=service)
    assert decide(trust, good) == "allow"
    assert decide(trust, replace(good, principal="lambda.amazonaws.com")) == "nothing"
    assert decide(trust, replace(good, context={})) == "nothing"
    elsewhere = {**good.context, "aws:SourceAccount": "999999999999"}
    assert decide(trust, replace(good, context=elsewhere)) == "nothing"


def test_only_the_task_reads_the_key_and_only_the_writers_store_it(applied: Applied) -> None:
    policy, secret = applied.policy("app_key"), applied.outputs["github_app_key_secret_arn"]

    def decided(action: str, principal: str) -> str:
        return decide(policy, Call(f"secretsmanager:{action}", secret, {"aws:PrincipalArn": principal}, principal))

    task, writer = applied.outputs["task_role_arn"], f"arn:aws:iam::{ACCOUNT}:role/admin"
    other = f"arn:aws:iam::{ACCOUNT}:role/other"
    assert decided("GetSecretValue", task) == "nothing"  # its own policy allows it
    assert decided("GetSecretValue", writer) == "deny"
    assert decided("GetSecretValue", other) == "deny"
    assert decided("PutSecretValue", writer) == "allow"
    assert decided("PutSecretValue", other) == "deny"
    assert decided("PutSecretValue", task) == "deny"
    assert decided("DescribeSecret", other) == "nothing"  # admins manage it through their own policies


def test_buckets_refuse_plain_http_and_old_tls(applied: Applied) -> None:
    policy = applied.policy('bucket["primary"]')
    key = f"{applied.outputs['s3_bucket_arn']}/x"

    def decided(secure: str, version: str) -> str:
        return decide(policy, Call("s3:GetObject", key, {"aws:SecureTransport": secure, "s3:TlsVersion": version}))

    assert decided("true", "1.2") == "nothing"
    assert decided("true", "1.3") == "nothing"
    assert decided("true", "1.1") == "deny"
    assert decided("false", "1.3") == "deny"


# What parliament says of policies that hang on a resource, and why it does not matter there.
NOT_FOR_RESOURCES = {
    ("alarms_key", "RESOURCE_STAR"),  # a key's policy speaks of its own key
    ("app_key", "RESOURCE_STAR"),  # a secret's policy speaks of its own secret
    ("bucket", "MISMATCHED_TYPE"),  # 1.2 is a number for IAM; parliament takes whole ones only
    ("bucket", "UNKNOWN_CONDITION_FOR_ACTION"),  # s3:* has actions without a TLS version
}


def test_parliament_finds_nothing_to_say_of_the_policies(whole: Applied, applied: Applied) -> None:
    documents = {**applied.resources, **whole.resources}
    names = [one for one in documents if one.startswith("data.aws_iam_policy_document.") and ".trust[" not in one]
    assert len(names) >= 9
    for name in names:
        short = name.removeprefix("data.aws_iam_policy_document.").split("[")[0]
        found = parliament.analyze_policy_string(documents[name]["json"], ignore_private_auditors=True).findings
        assert {(short, one.issue) for one in found} <= NOT_FOR_RESOURCES, name
