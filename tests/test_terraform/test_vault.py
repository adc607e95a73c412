"""The vault: replication from the one role of the backup's account, a drill that reads, and nothing else."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from embedded.stack import PROJECT
from github_s3_backup.configuration import DEFAULT_PREFIX
from terraform.module import ACCOUNT, REGION, REPLICA_REGION, Applied, Module, copy_module
from terraform.policy import Call, decide

VAULT_ACCOUNT = "210987654321"
BUCKET = "arn:aws:s3:::acme-github-backup-vault"
KEY = f"{BUCKET}/github-backup/2026-11-23/acme/api.bundle"
CONTENT_KEYS = [f"{BUCKET}/github-backup-{kind}/acme/0a/0a{'1' * 62}" for kind in ("lfs", "releases")]
POLICY = "module.vault.module.bucket.aws_s3_bucket_policy.backup"
REPLICATION = f"arn:aws:iam::{ACCOUNT}:role/github-backup-replication-{REGION}"
DRILL = f"arn:aws:iam::{ACCOUNT}:role/github-backup-drill-{REGION}"
VAULT_ADMIN = f"arn:aws:iam::{VAULT_ACCOUNT}:role/admin"
VAULT_ROOT = f"arn:aws:iam::{VAULT_ACCOUNT}:root"


def example(folder: Path, standin: dict[str, str], *changes: tuple[str, str]) -> Module:
    """Return the example with some of its text replaced."""
    target = copy_module(folder) / "examples" / "vault"
    target.mkdir(parents=True)
    text = (PROJECT / "examples" / "vault" / "main.tf").read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    (target / "main.tf").write_text(text)
    return Module(target, standin).init()


@pytest.fixture(scope="module")
def vault(standin: dict[str, str], memory: Path, tmp_path_factory: pytest.TempPathFactory) -> Applied:
    return replace(example(tmp_path_factory.mktemp("vault"), standin), memory=memory).apply_example()


@pytest.fixture(scope="module")
def policy(vault: Applied) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(vault[POLICY]["policy"])
    return document


def call(action: str, principal: str, resource: str = KEY, **context: str) -> Call:
    """Return a call to S3 over TLS; `principal` is the role whose session makes it."""
    account = principal.split(":")[4]
    known = {"aws:PrincipalArn": principal, "aws:SecureTransport": "true", "s3:TlsVersion": "1.3"}
    return Call(f"s3:{action}", resource, known | context, f"arn:aws:iam::{account}:root")


REPLICATES = ("ReplicateObject", "ReplicateTags", "ObjectOwnerOverrideToBucketOwner")
DELETES = (
    "DeleteObject",
    "DeleteObjectVersion",
    "DeleteObjectTagging",
    "DeleteObjectVersionTagging",
    "ReplicateDelete",
)
WRITES = ("PutObject", "PutObjectAcl", "PutObjectRetention", "PutObjectLegalHold", "PutObjectTagging", *REPLICATES)
READS = ("GetObject", "GetObjectVersion")


def test_the_vaults_role_is_the_backups(vault: Applied) -> None:
    assert vault['module.github_backup.aws_iam_role.role["replication"]']["arn"] == REPLICATION
    assert vault['module.github_backup.aws_iam_role.role["drill"]']["arn"] == DRILL


@pytest.mark.parametrize("action", REPLICATES)
def test_only_the_replication_role_replicates(policy: dict[str, Any], action: str) -> None:
    assert decide(policy, call(action, REPLICATION)) == "allow"
    others = (
        DRILL,
        VAULT_ADMIN,
        VAULT_ROOT,
        REPLICATION.replace("role/", "user/"),
        f"{REPLICATION}x",
        REPLICATION.replace(ACCOUNT, "999999999999"),
        f"arn:aws:iam::{ACCOUNT}:role/admin",
        f"arn:aws:iam::{ACCOUNT}:root",
    )
    for other in others:
        assert decide(policy, call(action, other)) == "deny", other


@pytest.mark.parametrize("action", [*DELETES, "BypassGovernanceRetention"])
@pytest.mark.parametrize("principal", [REPLICATION, DRILL, VAULT_ADMIN, VAULT_ROOT, f"arn:aws:iam::{ACCOUNT}:root"])
def test_nobody_deletes_or_bypasses_the_lock(policy: dict[str, Any], action: str, principal: str) -> None:
    assert decide(policy, call(action, principal)) == "deny"


@pytest.mark.parametrize("action", WRITES)
@pytest.mark.parametrize("principal", [DRILL, VAULT_ADMIN, VAULT_ROOT])
def test_nobody_else_writes_tags_or_locks(policy: dict[str, Any], action: str, principal: str) -> None:
    assert decide(policy, call(action, principal)) == "deny"


def test_the_replication_role_may_do_nothing_else(policy: dict[str, Any]) -> None:
    for action in ("PutObject", "PutObjectRetention", *READS):
        assert decide(policy, call(action, REPLICATION)) == "nothing", action
    for action in ("PutBucketPolicy", "PutBucketVersioning", "PutLifecycleConfiguration", "DeleteBucket", "ListBucket"):
        assert decide(policy, call(action, REPLICATION, BUCKET)) == "nothing", action


def test_the_drill_reads_and_the_rest_of_the_account_does_not(policy: dict[str, Any]) -> None:
    for action in READS:
        assert decide(policy, call(action, DRILL)) == "allow"
        assert decide(policy, call(action, f"arn:aws:iam::{ACCOUNT}:role/admin")) == "nothing"
        assert decide(policy, replace(call(action, DRILL), context={"aws:PrincipalArn": DRILL})) == "allow"
    for action in ("ListBucket", "ListBucketVersions"):
        assert decide(policy, call(action, DRILL, BUCKET)) == "allow"


@pytest.mark.parametrize("key", CONTENT_KEYS)
def test_content_is_guarded_as_bundles_are(policy: dict[str, Any], key: str) -> None:
    admin, root = f"arn:aws:iam::{ACCOUNT}:role/admin", f"arn:aws:iam::{ACCOUNT}:root"
    for action in (*WRITES, *DELETES, *READS, "BypassGovernanceRetention"):
        for principal in (REPLICATION, DRILL, VAULT_ADMIN, VAULT_ROOT, admin, root):
            of_bundle = decide(policy, call(action, principal))
            assert decide(policy, call(action, principal, key)) == of_bundle, (action, principal)


def test_what_the_vaults_own_administrators_read_is_up_to_iam(policy: dict[str, Any]) -> None:
    assert decide(policy, call("GetObjectVersion", VAULT_ADMIN)) == "nothing"
    assert decide(policy, call("GetObject", VAULT_ADMIN, **{"aws:SecureTransport": "false"})) == "deny"


def test_the_copies_belong_to_the_vault_and_are_locked(vault: Applied) -> None:
    (rule,) = vault["module.github_backup.aws_s3_bucket_replication_configuration.backup"]["rule"]
    (destination,) = rule["destination"]
    assert destination["bucket"] == BUCKET
    assert destination["account"] == VAULT_ACCOUNT
    assert destination["access_control_translation"] == [{"owner": "Destination"}]
    lock = vault["module.vault.module.bucket.aws_s3_bucket_object_lock_configuration.backup[0]"]
    assert lock["rule"][0]["default_retention"][0]["mode"] == "COMPLIANCE"
    bucket = vault["module.vault.module.bucket.aws_s3_bucket.backup"]
    assert (bucket["region"], bucket["force_destroy"]) == (REPLICA_REGION, False)
    assert vault["module.vault.module.bucket.aws_s3_bucket_versioning.backup"]["versioning_configuration"]


def test_the_vault_expires_objects_when_the_primary_does(vault: Applied) -> None:
    lifecycles = [
        vault[f"{bucket}.aws_s3_bucket_lifecycle_configuration.backup"]["rule"]
        for bucket in ("module.vault.module.bucket", "module.github_backup.module.primary[0]")
    ]
    assert lifecycles[0] == lifecycles[1]


def test_the_vault_and_the_backup_have_the_same_prefix() -> None:
    """Alone in its account, the vault has nothing to compare its own with."""
    prefixes = [
        re.findall(r'^  prefix += "([^"]+)"$', (PROJECT / file).read_text(), re.MULTILINE)
        for file in ("names.tf", "modules/vault/main.tf")
    ]
    assert prefixes == [[DEFAULT_PREFIX], [DEFAULT_PREFIX]]


@pytest.mark.exhaustive
def test_replication_begins_when_the_vault_is_ready(standin: dict[str, str], tmp_path: Path) -> None:
    """Terraform makes first what the replication depends on: no copy fails on its first day."""
    replication = "module.github_backup.aws_s3_bucket_replication_configuration.backup"
    made = example(tmp_path, standin)
    made.terraform("apply", "-no-color", "-input=false", "-auto-approve", f"-target={replication}")
    needed = set(made.terraform("state", "list").split()) - {replication}
    assert {
        POLICY,
        "module.vault.module.bucket.aws_s3_bucket_versioning.backup",
        "module.vault.module.bucket.aws_s3_bucket_object_lock_configuration.backup[0]",
        'module.github_backup.aws_iam_role_policy.role["replication"]',
    } <= needed


# -- with a key of the vault's own -----------------------------------------------------------------


@pytest.fixture(scope="module")
def encrypted(standin: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Applied:
    """The example with a key in the vault's account and one for the primary bucket."""
    primary = f"arn:aws:kms:{REGION}:{ACCOUNT}:key/primary"
    made = example(
        tmp_path_factory.mktemp("encrypted"),
        standin,
        ("  name        =", "  create_kms_key = true\n  name        ="),
        (
            "  existing = {",
            f'  kms_key_arns = {{ primary = "{primary}", replica = module.vault.kms_key_arn }}\n  existing = {{',
        ),
    )
    return made.apply_example()


@pytest.mark.exhaustive
def test_the_vaults_key_lets_replication_encrypt_and_the_drill_decrypt(encrypted: Applied) -> None:
    key = encrypted["module.vault.aws_kms_key.vault[0]"]
    assert key["arn"].startswith(f"arn:aws:kms:{REPLICA_REGION}:{VAULT_ACCOUNT}:key/")
    policy = json.loads(key["policy"])

    def decided(action: str, principal: str, via: str = f"s3.{REPLICA_REGION}.amazonaws.com") -> str:
        account = f"arn:aws:iam::{principal.split(':')[4]}:root"
        context = {"aws:PrincipalArn": principal, "kms:ViaService": via}
        return decide(policy, Call(f"kms:{action}", key["arn"], context, account))

    for action in ("Encrypt", "GenerateDataKey"):
        assert decided(action, REPLICATION) == "allow"
        assert decided(action, REPLICATION, via="ec2.amazonaws.com") == "nothing"
        assert decided(action, DRILL) == decided(action, f"{REPLICATION}x") == "nothing"
    assert decided("Decrypt", DRILL) == "allow"
    assert decided("Decrypt", REPLICATION) == "nothing"
    assert decided("ScheduleKeyDeletion", f"arn:aws:iam::{ACCOUNT}:root") == "nothing"
    assert decided("ScheduleKeyDeletion", VAULT_ROOT) == "allow"


@pytest.mark.exhaustive
def test_both_sides_use_the_vaults_key(encrypted: Applied) -> None:
    key = encrypted["module.vault.aws_kms_key.vault[0]"]["arn"]
    (rule,) = encrypted["module.github_backup.aws_s3_bucket_replication_configuration.backup"]["rule"]
    assert rule["destination"][0]["encryption_configuration"] == [{"replica_kms_key_id": key}]
    encryption = encrypted["module.vault.module.bucket.aws_s3_bucket_server_side_encryption_configuration.backup"]
    assert encryption["rule"][0]["apply_server_side_encryption_by_default"][0]["kms_master_key_id"] == key
    role = encrypted['module.github_backup.aws_iam_role_policy.role["replication"]']
    assert (
        decide(
            json.loads(role["policy"]),
            Call("kms:Encrypt", key, {"kms:ViaService": f"s3.{REPLICA_REGION}.amazonaws.com"}),
        )
        == "allow"
    )


# -- the module's own replica is made by the same code ----------------------------------------------


@pytest.mark.parametrize(
    ("inputs", "service", "path"),
    [({}, "github-backup", "/"), ({"iam": {"path": "/b/"}, "service_name": "ghes"}, "ghes", "/b/")],
)
def test_the_modules_own_replica_lets_its_replication_role_write_and_nobody_else(
    module: Module, inputs: dict[str, Any], service: str, path: str
) -> None:
    made = module.apply(**inputs)
    policy = json.loads(made["module.replica[0].module.bucket.aws_s3_bucket_policy.backup"]["policy"])
    key = f"{made.outputs['replica_bucket_arn']}/github-backup/2026-11-23/acme/api.bundle"
    role = made['aws_iam_role.role["replication"]']["arn"]
    assert role == f"arn:aws:iam::{ACCOUNT}:role{path}{service}-replication-{REGION}"
    for action in REPLICATES:
        assert decide(policy, call(action, role, key)) == "allow"
        assert decide(policy, call(action, made['aws_iam_role.role["task"]']["arn"], key)) == "deny"
    for action in DELETES:
        assert decide(policy, call(action, role, key)) == decide(policy, call(action, VAULT_ADMIN, key)) == "deny"
    assert not any("Drill" in statement["Sid"] for statement in policy["Statement"])


def test_the_drills_role_is_let_in_where_there_is_a_drill(drilled: Applied) -> None:
    policy = json.loads(drilled["module.replica[0].module.bucket.aws_s3_bucket_policy.backup"]["policy"])
    key = f"{drilled.outputs['replica_bucket_arn']}/github-backup/2026-11-23/acme/api.bundle"
    assert decide(policy, call("GetObjectVersion", drilled.outputs["restore_drill_role_arn"], key)) == "allow"


def test_each_statement_of_the_modules_has_a_sid_and_says_what_breaks_without_it() -> None:
    for file in (PROJECT / "s3.tf", *(PROJECT / "modules").glob("*/main.tf")):
        text = file.read_text()
        sids = re.findall(r"^\s+sid\s+=", text, re.MULTILINE)
        assert len(sids) == len(re.findall(r"^\s+actions\s+=", text, re.MULTILINE))
        assert len(sids) == len(re.findall(r"# Without it:", text)), file
