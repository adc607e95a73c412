"""Least privilege: every call of a real run is allowed, what goes beyond is not, no statement is for nothing."""

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from urllib.parse import parse_qs, urlsplit

import pytest

from embedded.s3_proxy import S3Fault, S3Proxy
from github_s3_backup.configuration import DEFAULT_PREFIX as PREFIX
from github_s3_backup.s3.keys import content_key, lfs_root, releases_root
from support import content
from support.world import World
from terraform.module import ACCOUNT, REGION, REPLICA_REGION, Applied, Module
from terraform.policy import Call, applies, decide

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
    return module.apply(
        kms_key_arns=KEYS,
        image_uri=IMAGE,
        existing={"replica_bucket": replica},
        restore_drill={},
        schedule_expression="rate(30 days)",
        signing_key_number=2,
    )


# -- what a real run calls -----------------------------------------------------------------------


@pytest.fixture
def recorded(world: World, s3_proxy: S3Proxy) -> Iterator[list[Call]]:
    """The calls of three real runs that store content too.

    One has an upload in parts that had to be aborted, one carries over.
    """
    with S3Proxy(world.stack.aws.url) as control:
        world.variables["AWS_ENDPOINT_URL"] = control.url
        secret = world.stack.aws.new_secret(world.service, world.github.pem())
        key: dict[str, str | None] = {"GITHUB_APP_KEY_FILE": None, "GITHUB_APP_KEY_SECRET_ARN": secret}
        key["MANIFEST_SIGNING_KEY_ARN"] = world.stack.aws.new_signing_key()
        world.add("in-parts")
        content.add_with_everything(world)
        assert world.run(**key).code == 0
        world.yesterday()
        assert {entry["status"] for entry in world.run(**key).repos.values()} == {"unchanged"}
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
        method, url = request.removesuffix(" copy").split(" ", 1)
        path, query = urlsplit(url).path, parse_qs(urlsplit(url).query, keep_blank_values=True)
        if not f"{path}/".startswith(f"/{bucket}/"):
            continue
        key = re.sub(rf"^/{bucket}/?", "", path)
        action = S3_ACTIONS[method]
        if method == "HEAD" and not key:
            yield Call("s3:ListBucket", arn_of(bucket))
        elif method == "GET" and not key:
            listed = {"s3:prefix": query["prefix"][0]}
            yield Call("s3:ListBucketVersions" if "versions" in query else "s3:ListBucket", arn_of(bucket), listed)
        else:
            versioned = "Version" if "versionId" in query else ""
            yield Call(f"s3:{action}{versioned}", arn_of(bucket, key))


def arn_of(bucket: str, key: str = "") -> str:
    return f"arn:aws:s3:::{bucket}/{key}" if key else f"arn:aws:s3:::{bucket}"


def control_calls(operations: list[tuple[str, bytes]]) -> Iterator[Call]:
    for operation, body in operations:
        name, given = operation.split(".")[1], json.loads(body)
        if name == "PutMetricData":
            yield Call("cloudwatch:PutMetricData", "*", {"cloudwatch:namespace": given["Namespace"]})
        elif operation.startswith("TrentService."):
            yield Call(f"kms:{name}", given["KeyId"])
        else:
            yield Call(f"secretsmanager:{name}", given["SecretId"])


def as_deployed(calls: list[Call], applied: Applied) -> list[Call]:
    """Return the calls with the deployed bucket, secret and key in place of the test's."""
    names = {
        r"^arn:aws:s3:::[^/]+": "s3_bucket_arn",
        r"^.*:secret:.*": "github_app_key_secret_arn",
        r"^arn:aws:kms:.*": "manifest_signing_key_arn",
    }
    for pattern, name in names.items():
        calls = [replace(call, resource=re.sub(pattern, applied.outputs[name], call.resource)) for call in calls]
    return calls


def test_every_call_of_a_real_run_is_allowed_and_no_statement_is_for_nothing(
    recorded: list[Call], applied: Applied
) -> None:
    policy, calls = applied.policy("task"), as_deployed(recorded, applied)
    assert {call.action for call in calls} == {
        *("s3:ListBucket", "s3:GetObject", "s3:GetObjectVersion", "s3:PutObject", "s3:AbortMultipartUpload"),
        *("s3:ListBucketVersions", "secretsmanager:GetSecretValue", "cloudwatch:PutMetricData"),
        *("kms:GetPublicKey", "kms:Sign"),
    }
    for call in calls:
        assert decide(policy, call) == "allow", call
    for statement in policy["Statement"]:
        assert any(applies(statement, call) for call in calls), statement["Sid"]
    for root in (lfs_root(PREFIX), releases_root(PREFIX)):
        assert {call.action for call in calls if f"/{root}/" in call.resource} >= {"s3:GetObject", "s3:PutObject"}


def delete_manifests(world: World) -> None:
    """Delete the current version of every manifest, as somebody may who has the bucket's account."""
    client = world.stack.s3.client()
    for found in client.list_objects_v2(Bucket=world.bucket)["Contents"]:
        if found["Key"].endswith(".json"):
            client.delete_object(Bucket=world.bucket, Key=found["Key"])


@pytest.fixture
def recorded_drill(world: World, s3_proxy: S3Proxy, whole: Applied) -> Iterator[list[Call]]:
    """The calls of two real drills, as deployed; before the second somebody deletes the manifests."""
    reports = world.stack.s3.new_bucket(f"{world.bucket}-primary")
    with S3Proxy(world.stack.aws.url) as control:
        world.variables["AWS_ENDPOINT_URL"] = control.url
        content.add_with_everything(world)
        assert world.run().code == 0
        s3_proxy.requests.clear()
        control.operations.clear()
        key = world.stack.aws.new_signing_key()
        drill = ("verify", "--within-days", "28", "--every-hours", "24", "--publish", "--page-key", key)
        assert world.restore(*drill, "--report", f"s3://{reports}/github-backup-drills/").code == 0
        delete_manifests(world)
        assert world.restore(*drill, "--report", f"s3://{reports}/github-backup-drills/").code == 0
        there = {reports: whole.outputs["s3_bucket_arn"], world.bucket: whole.outputs["replica_bucket_arn"]}
        yield [
            replace(call, resource=re.sub(r"^arn:aws:s3:::[^/]+", there[bucket], call.resource))
            for bucket in there
            for call in s3_calls(s3_proxy.requests, bucket)
        ] + as_deployed(list(control_calls(control.operations)), whole)


def test_every_call_of_a_real_drill_is_allowed_and_no_statement_is_for_nothing(
    recorded_drill: list[Call], whole: Applied
) -> None:
    policy = whole.policy("drill[0]")
    for call in recorded_drill:
        assert decide(policy, call) == "allow", call
    read = {call.resource for call in recorded_drill if call.action.startswith("s3:GetObject")}
    for root in (lfs_root(PREFIX), releases_root(PREFIX)):
        assert any(f"/{root}/" in resource for resource in read)
    for statement in policy["Statement"]:
        used = any(applies(statement, call) for call in recorded_drill)
        assert used or statement["Sid"] in ("DecryptReplica", "EncryptPrimary"), statement["Sid"]


@pytest.fixture
def recorded_check(world: World, s3_proxy: S3Proxy, whole: Applied) -> Iterator[list[Call]]:
    """The calls of two real checks, as deployed; before the second somebody deletes the manifests."""
    with S3Proxy(world.stack.aws.url) as control:
        world.variables["AWS_ENDPOINT_URL"] = control.url
        content.add_with_everything(world)
        assert world.run().code == 0
        s3_proxy.requests.clear()
        control.operations.clear()
        command = whole.container("check")["command"]
        assert command[0] == "restore"
        assert world.restore(*command[1:]).code == 0
        delete_manifests(world)
        assert world.restore(*command[1:]).code == 0
        yield [
            replace(call, resource=re.sub(r"^arn:aws:s3:::[^/]+", whole.outputs["s3_bucket_arn"], call.resource))
            for call in s3_calls(s3_proxy.requests, world.bucket)
        ] + list(control_calls(control.operations))


def test_every_call_of_a_real_check_is_allowed(recorded_check: list[Call], whole: Applied) -> None:
    assert {"s3:ListBucket", "s3:GetObject", "cloudwatch:PutMetricData"} <= {call.action for call in recorded_check}
    for call in recorded_check:
        assert decide(whole.policy("check[0]"), call) == "allow", call


BACKUP_KEY, REPORT_KEY = "github-backup/2026-11-23/acme/api.bundle", "github-backup-drills/2026-11-23/report.json"
CONTENT_KEYS = tuple(content_key(root, "acme", f"0a{'1' * 62}") for root in (lfs_root(PREFIX), releases_root(PREFIX)))


# -- the roles -----------------------------------------------------------------------------------


def role_calls(whole: Applied) -> dict[str, dict[str, list[Call]]]:
    """Return, for each role and statement, the calls that need it.

    Those of the task and of the drill are recorded above too.
    Calls under customer keys and calls that AWS's services make can't be recorded without an account, so they are
    written down from AWS's documentation.
    """
    bucket, replica = whole.outputs["s3_bucket_arn"], whole.outputs["replica_bucket_arn"]
    stored, copies = ([f"{there}/{key}" for key in (BACKUP_KEY, *CONTENT_KEYS)] for there in (bucket, replica))
    manifest = f"{replica}/github-backup/2026-11-23/manifest.json"
    manifests = [f"{bucket}/github-backup/2026-11-23/{name}.json" for name in ("manifest", "runs/0123")]
    versions = Call("s3:ListBucketVersions", bucket, {"s3:prefix": "github-backup/2026-11-23/manifest.json"})
    of_content = [replace(versions, context={"s3:prefix": key}) for key in CONTENT_KEYS]
    streams = [
        f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:/ecs/github-backup:log-stream:{name}/{name}/0123" for name in TASKS
    ]
    tasks = [whole[f'aws_ecs_task_definition.task["{name}"]']["arn"] for name in TASKS]
    started = f"arn:aws:ecs:{REGION}:{ACCOUNT}:task/github-backup/0123456789abcdef"
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
            "PutBackups": [Call("s3:PutObject", key) for key in stored],
            "ReadBackups": [Call(action, key) for action in ("s3:GetObject", "s3:GetObjectVersion") for key in stored],
            "ListVersionsOfManifests": [versions],
            "AbortUploads": [Call("s3:AbortMultipartUpload", key) for key in stored],
            "SignManifests": [
                Call(f"kms:{name}", whole.outputs["manifest_signing_key_arn"]) for name in ("GetPublicKey", "Sign")
            ],
            "SeeWhetherTheBucketIsThere": [Call("s3:ListBucket", bucket)],
            "PublishMetrics": [Call("cloudwatch:PutMetricData", "*", {"cloudwatch:namespace": "GitHubBackup"})],
            "EncryptPrimary": [
                Call(f"kms:{name}", KEYS["primary"], s3_here) for name in ("GenerateDataKey", "Decrypt")
            ],
            "DecryptSecret": [Call("kms:Decrypt", KEYS["secret"], secret)],
        },
        "execution": {
            "WriteLogs": [
                Call(f"logs:{name}", stream) for name in ("CreateLogStream", "PutLogEvents") for stream in streams
            ],
            "SignInToTheRegistry": [Call("ecr:GetAuthorizationToken", "*")],
            "PullTheImage": [Call(f"ecr:{name}", repository) for name in ("BatchGetImage", "GetDownloadUrlForLayer")],
        },
        'start_tasks["schedule"]': {
            "StartTasks": [Call("ecs:RunTask", task, cluster) for task in tasks],
            "HandOverTheRoles": [
                Call("iam:PassRole", whole[f'aws_iam_role.role["{role}"]']["arn"], to_tasks)
                for role in ("task", "execution", "drill", "check")
            ],
            "TagTasks": [Call("ecs:TagResource", started, {"ecs:CreateAction": "RunTask"})],
        },
        "drill[0]": {
            # With a prefix: which dates there are. Without: whether the object that GetObject did not find is gone.
            "ListReplicas": [Call("s3:ListBucket", replica)],
            "ListVersionsOfReplicas": [replace(call, resource=replica) for call in (versions, *of_content)],
            "ReadReplicas": [
                *(Call("s3:GetObject", key) for key in (manifest, *copies)),
                *(Call("s3:GetObjectVersion", key) for key in (manifest, *copies)),
            ],
            "FindReports": [Call("s3:ListBucket", bucket, {"s3:prefix": "github-backup-drills/"})],
            "ReadAndPutReports": [
                Call(action, f"{bucket}/github-backup-drills/2026-11-23/report.{form}")
                for action in ("s3:GetObject", "s3:PutObject")
                for form in ("json", "html")
            ],
            "CheckSignatures": [Call("kms:GetPublicKey", whole.outputs["manifest_signing_key_arn"])],
            "PublishMetrics": [Call("cloudwatch:PutMetricData", "*", {"cloudwatch:namespace": "GitHubBackup"})],
            "DecryptReplica": [Call("kms:Decrypt", KEYS["replica"], s3_there)],
            "EncryptPrimary": [
                Call(f"kms:{name}", KEYS["primary"], s3_here) for name in ("GenerateDataKey", "Decrypt")
            ],
        },
        "check[0]": {
            "ListBackups": [Call("s3:ListBucket", bucket)],
            "ReadManifests": [
                Call(action, key) for action in ("s3:GetObject", "s3:GetObjectVersion") for key in manifests
            ],
            "ListVersionsOfManifests": [versions],
            "PublishMetrics": [Call("cloudwatch:PutMetricData", "*", {"cloudwatch:namespace": "GitHubBackup"})],
            "DecryptPrimary": [Call("kms:Decrypt", KEYS["primary"], s3_here)],
        },
        "replication": {
            "SeeWhatToReplicate": [Call("s3:GetReplicationConfiguration", bucket), Call("s3:ListBucket", bucket)],
            "ReadVersions": [Call(f"s3:GetObject{what}", key) for what in reads for key in stored],
            "WriteReplicas": [Call(action, key) for action in writes for key in copies],
            "DecryptPrimary": [Call("kms:Decrypt", KEYS["primary"], s3_here)],
            "EncryptReplica": [
                Call(f"kms:{name}", KEYS["replica"], s3_there) for name in ("Encrypt", "GenerateDataKey")
            ],
        },
    }


TASKS = ("backup", "drill", "check")
SCHEDULE = 'start_tasks["schedule"]'
ROLES = ("task", "execution", SCHEDULE, "drill[0]", "check[0]", "replication")


@pytest.mark.parametrize("role", ROLES)
def test_each_statement_is_needed_and_allows_its_calls(whole: Applied, role: str) -> None:
    policy, needed = whole.policy(role), role_calls(whole)[role]
    statements = {statement["Sid"]: statement for statement in policy["Statement"]}
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
    if role in ("task", "drill[0]", "check[0]") and call.resource.startswith("arn:aws:s3"):
        for other in ("other", "github-backup-other"):
            yield replace(call, resource=re.sub(r"/github-backup(-\w+)?/", f"/{other}/", call.resource) + "x")
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
    *("s3:PutObjectTagging", "s3:PutObjectAcl", "s3:DeleteObjectTagging", "s3:ReplicateObject"),
    *("s3:PutObjectRetention", "s3:BypassGovernanceRetention", "s3:DeleteBucket", "s3:PutBucketVersioning"),
    *("secretsmanager:PutSecretValue", "secretsmanager:DeleteSecret", "kms:ScheduleKeyDeletion", "iam:PassRole"),
]


@pytest.mark.parametrize("action", FORBIDDEN)
def test_a_stolen_task_role_destroys_nothing(whole: Applied, action: str) -> None:
    outputs = whole.outputs
    for resource in (
        "*",
        *(f"{outputs['s3_bucket_arn']}/{key}" for key in (BACKUP_KEY, *CONTENT_KEYS)),
        outputs["s3_bucket_arn"],
        outputs["github_app_key_secret_arn"],
        outputs["replica_bucket_arn"],
    ):
        assert decide(whole.policy("task"), Call(action, resource)) == "nothing"


READS = ("s3:GetObject", "s3:GetObjectVersion", "s3:ListBucket", "s3:ListBucketVersions")
WRITES = ("s3:PutObject", "s3:AbortMultipartUpload", "s3:PutObjectRetention")
DELETIONS = ("s3:DeleteObject", "s3:DeleteObjectVersion", "s3:DeleteBucket")


@pytest.mark.parametrize("action", [*READS, *WRITES, *DELETIONS])
def test_a_drill_does_nothing_to_the_backups_in_the_primary_bucket(whole: Applied, action: str) -> None:
    primary = whole.outputs["s3_bucket_arn"]
    for key in (BACKUP_KEY, *CONTENT_KEYS, "github-backup/2026-11-23/manifest.json"):
        for resource in (primary, f"{primary}/{key}"):
            call = Call(action, resource, {"s3:prefix": key})
            assert decide(whole.policy("drill[0]"), call) == "nothing"


@pytest.mark.parametrize("action", [*WRITES, *DELETIONS])
def test_a_drill_changes_nothing_in_the_replica_bucket(whole: Applied, action: str) -> None:
    replica = whole.outputs["replica_bucket_arn"]
    for resource in (replica, *(f"{replica}/{key}" for key in (BACKUP_KEY, *CONTENT_KEYS, REPORT_KEY))):
        assert decide(whole.policy("drill[0]"), Call(action, resource)) == "nothing"


def test_a_drill_reads_content_in_the_replica_and_no_reports_there(whole: Applied) -> None:
    policy, replica = whole.policy("drill[0]"), whole.outputs["replica_bucket_arn"]
    for key in (*CONTENT_KEYS, REPORT_KEY):
        expected = "nothing" if key == REPORT_KEY else "allow"
        for action in ("s3:GetObject", "s3:GetObjectVersion"):
            assert decide(policy, Call(action, f"{replica}/{key}")) == expected, key
        assert decide(policy, Call("s3:ListBucketVersions", replica, {"s3:prefix": key})) == expected, key


def test_a_drill_reads_no_secret(whole: Applied) -> None:
    policy, secret = whole.policy("drill[0]"), whole.outputs["github_app_key_secret_arn"]
    from_secrets = {"kms:ViaService": f"secretsmanager.{REGION}.amazonaws.com"}
    assert decide(policy, Call("secretsmanager:GetSecretValue", secret)) == "nothing"
    assert decide(policy, Call("kms:Decrypt", KEYS["secret"], from_secrets)) == "nothing"
    reader = Call(
        "secretsmanager:GetSecretValue", secret, {"aws:PrincipalArn": whole.outputs["restore_drill_role_arn"]}
    )
    assert decide(whole.policy("app_key"), reader) == "deny"


def test_a_backup_writes_no_report_of_a_drill(whole: Applied) -> None:
    report = f"{whole.outputs['s3_bucket_arn']}/{REPORT_KEY}"
    for action in (*READS, *WRITES, *DELETIONS):
        assert decide(whole.policy("task"), Call(action, report)) == "nothing"


@pytest.mark.parametrize("action", [*WRITES, *DELETIONS, "secretsmanager:GetSecretValue"])
def test_a_check_only_reads_manifests(whole: Applied, action: str) -> None:
    primary, replica = whole.outputs["s3_bucket_arn"], whole.outputs["replica_bucket_arn"]
    policy, secret = whole.policy("check[0]"), whole.outputs["github_app_key_secret_arn"]
    manifest = f"{primary}/github-backup/2026-11-23/manifest.json"
    for resource in (primary, manifest, f"{primary}/{BACKUP_KEY}", f"{primary}/{REPORT_KEY}", replica, secret):
        assert decide(policy, Call(action, resource)) == "nothing"
    lists = (f"github-backup/2026-11-23/acme/api.{end}.json" for end in ("lfs", "031500Z.lfs", "releases"))
    others = [f"{primary}/{key}" for key in (BACKUP_KEY, REPORT_KEY, *lists, *CONTENT_KEYS)]
    for resource in (*others, f"{replica}/github-backup/x/manifest.json"):
        for read in ("s3:GetObject", "s3:GetObjectVersion"):
            assert decide(policy, Call(read, resource)) == "nothing"
    for key in (REPORT_KEY, *CONTENT_KEYS):
        assert decide(policy, Call("s3:ListBucketVersions", primary, {"s3:prefix": key})) == "nothing"


def test_a_backup_may_ask_what_is_replicated(whole: Applied) -> None:
    """HeadObject, whose answer has the replication status, needs what GetObject needs, with a version and without."""
    for key in (BACKUP_KEY, *CONTENT_KEYS):
        for action in ("s3:GetObject", "s3:GetObjectVersion"):
            assert decide(whole.policy("task"), Call(action, f"{whole.outputs['s3_bucket_arn']}/{key}")) == "allow"


def test_the_schedule_tags_tasks_only_while_it_starts_them(whole: Applied) -> None:
    policy, task = whole.policy(SCHEDULE), f"arn:aws:ecs:{REGION}:{ACCOUNT}:task/github-backup/0123"
    assert decide(policy, Call("ecs:TagResource", task, {"ecs:CreateAction": "RunTask"})) == "allow"
    assert decide(policy, Call("ecs:TagResource", task)) == "nothing"
    assert decide(policy, Call("ecs:TagResource", task, {"ecs:CreateAction": "CreateService"})) == "nothing"
    elsewhere = task.replace("task/github-backup", "task/another")
    assert decide(policy, Call("ecs:TagResource", elsewhere, {"ecs:CreateAction": "RunTask"})) == "nothing"


def test_no_role_may_do_anything_for_a_task_that_is_not_there(applied: Applied, whole: Applied) -> None:
    for role in ("execution", SCHEDULE):
        for call in (call for calls in role_calls(whole)[role].values() for call in calls):
            if "drill" in call.resource or "check" in call.resource:
                assert decide(whole.policy(role), call) == "allow"
                assert decide(applied.policy(role), call) == "nothing"


def test_starts_that_failed_reach_the_queue_from_every_rule(applied: Applied, whole: Applied) -> None:
    queue = whole["aws_sqs_queue.dead_letters"]["arn"]
    for name in ("task_failed", *(f'task["{task}"]' for task in TASKS)):
        rule = whole[f"aws_cloudwatch_event_rule.{name}"]["arn"]
        call = Call("sqs:SendMessage", queue, {"aws:SourceArn": rule}, principal="events.amazonaws.com")
        assert decide(whole.policy("dead_letters"), call) == "allow"
        there = f"aws_cloudwatch_event_rule.{name}" in applied.resources
        assert decide(applied.policy("dead_letters"), call) == ("allow" if there else "nothing")


@pytest.mark.parametrize("role", ["tasks", "rules"])
def test_a_role_is_assumed_by_its_service_for_this_account_only(whole: Applied, role: str) -> None:
    trust = whole.policy(f'trust["{role}"]')
    (statement,) = trust["Statement"]
    service, sources = statement["Principal"]["Service"], statement["Condition"]["ArnLike"]["aws:SourceArn"]
    for source in sources if isinstance(sources, list) else [sources]:
        context = {"aws:SourceAccount": ACCOUNT, "aws:SourceArn": source.replace("*", "task/x")}
        assert decide(trust, Call("sts:AssumeRole", "*", context, principal=service)) == "allow"
    good = Call("sts:AssumeRole", "*", context, principal=service)
    assert decide(trust, replace(good, principal="lambda.amazonaws.com")) == "nothing"
    assert decide(trust, replace(good, context={})) == "nothing"
    elsewhere = {**good.context, "aws:SourceAccount": "999999999999"}
    assert decide(trust, replace(good, context=elsewhere)) == "nothing"


def test_s3_assumes_the_replication_role_whatever_it_sends(whole: Applied) -> None:
    """AWS's own trust policy for replication has no condition, and no page says which keys S3 would send."""
    trust = json.loads(whole['aws_iam_role.role["replication"]']["assume_role_policy"])
    assume = Call("sts:AssumeRole", "*", principal="s3.amazonaws.com")
    assert decide(trust, assume) == "allow"
    assert decide(trust, replace(assume, context={"aws:SourceAccount": ACCOUNT})) == "allow"
    assert decide(trust, replace(assume, principal="lambda.amazonaws.com")) == "nothing"


def test_the_schedules_role_is_assumed_for_its_rules_and_no_other(whole: Applied, applied: Applied) -> None:
    def decided(made: Applied, rule: str) -> str:
        source = f"arn:aws:events:{REGION}:{ACCOUNT}:rule/{rule}"
        context = {"aws:SourceAccount": ACCOUNT, "aws:SourceArn": source}
        return decide(
            made.policy('trust["rules"]'), Call("sts:AssumeRole", "*", context, principal="events.amazonaws.com")
        )

    for rule in ("github-backup", "github-backup-drill", "github-backup-check"):
        assert decided(whole, rule) == "allow"
        assert decided(applied, rule) == ("allow" if rule == "github-backup" else "nothing")
    assert decided(whole, "github-backup-x") == "nothing"


def test_every_task_is_trusted_alike(whole: Applied) -> None:
    for role in ("task", "drill", "check"):
        trust = whole[f'aws_iam_role.role["{role}"]']["assume_role_policy"]
        assert json.loads(trust) == whole.policy('trust["tasks"]')


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


def test_only_the_task_signs_manifests_and_only_with_the_newest_key(whole: Applied) -> None:
    newest, task = whole.outputs["manifest_signing_key_arn"], whole.outputs["task_role_arn"]
    keys = {number: whole[f'aws_kms_key.signing["{number}"]']["arn"] for number in "12"}
    assert keys["2"] == newest
    others = (
        whole.outputs["restore_drill_role_arn"],
        f"arn:aws:iam::{ACCOUNT}:role/admin",
        f"arn:aws:iam::{ACCOUNT}:root",
    )
    for number, arn in keys.items():
        policy = whole.policy(f'signing_key["{number}"]')
        for principal in (task, *others):
            sign = Call("kms:Sign", arn, {"aws:PrincipalArn": principal}, principal)
            may = number == "2" and principal == task
            assert decide(policy, sign) == ("nothing" if may else "deny"), "allowed by the policy of its role alone"
            assert decide(policy, replace(sign, action="kms:GetPublicKey")) != "deny"
        for action in ("kms:Sign", "kms:GetPublicKey"):
            expected = "allow" if number == "2" else "nothing"
            assert decide(whole.policy("task"), Call(action, arn)) == expected
        assert decide(whole.policy("drill[0]"), Call("kms:Sign", arn)) == "nothing"
    for action in ("kms:PutKeyPolicy", "kms:ScheduleKeyDeletion", "kms:CreateGrant", "kms:DisableKey"):
        assert decide(whole.policy("task"), Call(action, newest)) == "nothing"
    assert whole.outputs["manifest_signing_public_keys"].count("BEGIN PUBLIC KEY") == 2


def test_buckets_refuse_plain_http_and_old_tls(applied: Applied) -> None:
    policy = json.loads(applied["module.primary[0].aws_s3_bucket_policy.backup"]["policy"])
    key = f"{applied.outputs['s3_bucket_arn']}/x"

    def decided(secure: str, version: str) -> str:
        return decide(policy, Call("s3:GetObject", key, {"aws:SecureTransport": secure, "s3:TlsVersion": version}))

    assert decided("true", "1.2") == "nothing"
    assert decided("true", "1.3") == "nothing"
    assert decided("true", "1.1") == "deny"
    assert decided("false", "1.3") == "deny"
