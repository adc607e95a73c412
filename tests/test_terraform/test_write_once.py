"""What the primary bucket's policy refuses: to replace, to copy, to delete, and to write for anybody but the task."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedded.s3_proxy import S3Proxy
from github_s3_backup.s3 import content_store
from github_s3_backup.s3.keys import bundle_key, content_key, day_manifest_key, lfs_root, releases_root, run_key
from support import content
from support.world import World
from terraform.module import ACCOUNT, Applied, Module
from terraform.policy import Call, decide
from test_terraform.test_lifecycle_calendar import MAX_FULL_BACKUP_DAYS, lifecycle_local, module_rule

PREFIX, DAY = "github-backup", "2026-11-23"
CONTENT_ROOTS = (lfs_root(PREFIX), releases_root(PREFIX))
CONTENT_KEYS = tuple(content_key(root, "acme", f"0a{'1' * 62}") for root in CONTENT_ROOTS)
BUCKET_POLICY = "module.primary[0].aws_s3_bucket_policy.backup"
ADMIN, ROOT = f"arn:aws:iam::{ACCOUNT}:role/admin", f"arn:aws:iam::{ACCOUNT}:root"


@dataclass(frozen=True)
class Primary:
    """The primary bucket with its policy, and the task's role with its own."""

    applied: Applied

    @property
    def bucket_policy(self) -> dict[str, Any]:
        policy: dict[str, Any] = json.loads(self.applied[BUCKET_POLICY]["policy"])
        return policy

    @property
    def task(self) -> str:
        role: str = self.applied.outputs["task_role_arn"]
        return role

    def arn(self, key: str) -> str:
        return f"{self.applied.outputs['s3_bucket_arn']}/{key}"

    def call(self, action: str, key: str, **context: str) -> Call:
        """Return a call to S3 by the task, over TLS."""
        usual = {"aws:PrincipalArn": self.task, "aws:SecureTransport": "true", "s3:TlsVersion": "1.3"}
        return Call(f"s3:{action}", self.arn(key), usual | context)

    def put(self, key: str, **context: str) -> Call:
        """Return a PutObject, or the request that completes an upload in parts."""
        return self.call("PutObject", key, **{"s3:ObjectCreationOperation": "true"}, **context)

    def decided(self, call: Call) -> str:
        """Return what both policies make of a call of the task: a denial in one of them is the last word."""
        both = {decide(self.applied.policy("task"), call), decide(self.bucket_policy, call)}
        return "deny" if "deny" in both else "allow" if "allow" in both else "nothing"


@pytest.fixture(scope="module")
def primary(module: Module) -> Primary:
    return Primary(module.apply())


# -- what a real run sends -----------------------------------------------------------------------


@dataclass(frozen=True)
class Sent:
    """A request that writes, as S3 got it."""

    key: str
    creates: bool  # an object, as PutObject does and the end of an upload in parts
    in_parts: bool
    is_conditional: bool


def writes(proxy: S3Proxy, bucket: str) -> Iterator[Sent]:
    for request, condition in proxy.conditions:
        assert not request.endswith(" copy")
        method, url = request.split(" ", 1)
        path, query = urlsplit(url).path, parse_qs(urlsplit(url).query, keep_blank_values=True)
        if method in ("PUT", "POST") and path.startswith(f"/{bucket}/"):
            creates = not {"partNumber", "uploads"} & query.keys()
            in_parts = bool({"partNumber", "uploads", "uploadId"} & query.keys())
            yield Sent(path.removeprefix(f"/{bucket}/"), creates, in_parts, condition == "*")


def as_call(primary: Primary, write: Sent, **context: str) -> Call:
    condition = {"s3:if-none-match": "*"} if write.is_conditional else {}
    creation = {"s3:ObjectCreationOperation": str(write.creates).lower()}
    return primary.call("PutObject", write.key, **condition, **creation, **context)


def is_for_people(key: str) -> bool:
    return re.fullmatch(rf"{PREFIX}/[0-9-]+/manifest\.json", key) is not None


def test_all_that_a_real_run_writes_passes_once_and_for_the_task_alone(
    world: World, s3_proxy: S3Proxy, primary: Primary
) -> None:
    """Two runs on one day: the second clones everything again."""
    world.add("in-parts")
    content.add_with_everything(world)
    assert world.run().code == 0
    assert world.run(FULL_BACKUP_DAYS="1").code == 0
    sent = list(writes(s3_proxy, world.bucket))
    for write in sent:
        assert primary.decided(as_call(primary, write)) == "allow", write
        unconditional = as_call(primary, replace(write, is_conditional=False))
        expected = "allow" if is_for_people(write.key) or not write.creates else "deny"
        assert primary.decided(unconditional) == expected, write
        assert primary.decided(as_call(primary, write, **{"s3:x-amz-copy-source": "b/k"})) == "deny", write
        for other in (ADMIN, ROOT, f"{primary.task}x"):
            assert primary.decided(as_call(primary, write, **{"aws:PrincipalArn": other})) == "deny", write
    kinds = {(write.creates, write.in_parts) for write in sent}
    assert kinds == {(True, False), (True, True), (False, True)}
    created = {write.key for write in sent if write.creates}
    of_content = {key for key in created if key.startswith(tuple(f"{root}/" for root in CONTENT_ROOTS))}
    assert len(of_content) == 4 + 1  # LFS objects, and the file of a release
    assert len(created - of_content) == 2 * 3 + 3 + 2 * 2 + 2 + 1  # bundles, their lists, others, runs, manifest.json


# -- whatever the keys ---------------------------------------------------------------------------

NAMES = st.from_regex(r"[A-Za-z0-9._-]{1,40}", fullmatch=True)


@given(owner=NAMES, name=NAMES, time=st.none() | st.just("031500Z"))
def test_every_bundle_is_written_once(primary: Primary, owner: str, name: str, time: str | None) -> None:
    key = bundle_key(PREFIX, DAY, f"{owner}/{name}", time)
    assert primary.decided(primary.put(key, **{"s3:if-none-match": "*"})) == "allow"
    assert primary.decided(primary.put(key)) == "deny"


LISTS = ("lfs.json", "releases.json", "objects", "changes.bundle")
ENDS = (".wiki.bundle", ".wiki@031500Z.bundle", *(f"{time}.{end}" for time in ("", "@031500Z") for end in LISTS))


@given(owner=NAMES, name=NAMES, end=st.sampled_from(ENDS))
def test_every_wiki_and_list_is_written_once(primary: Primary, owner: str, name: str, end: str) -> None:
    key = f"{PREFIX}/{DAY}/{owner}/{name}{end}"
    assert primary.decided(primary.put(key, **{"s3:if-none-match": "*"})) == "allow"
    assert primary.decided(primary.put(key)) == "deny"


SHA256 = st.from_regex(r"[0-9a-f]{64}", fullmatch=True)


@given(root=st.sampled_from(CONTENT_ROOTS), owner=NAMES, oid=SHA256, date=st.none() | st.just(DAY))
def test_all_content_is_written_once(primary: Primary, root: str, owner: str, oid: str, date: str | None) -> None:
    key = content_key(root, owner, oid, date)
    assert primary.decided(primary.put(key, **{"s3:if-none-match": "*"})) == "allow"
    assert primary.decided(primary.put(key)) == "deny"


def test_content_is_written_by_the_task_only(primary: Primary) -> None:
    for key in CONTENT_KEYS:
        for other in (ADMIN, ROOT, f"{primary.task}x"):
            call = primary.put(key, **{"s3:if-none-match": "*", "aws:PrincipalArn": other})
            assert decide(primary.bucket_policy, call) == "deny", (key, other)


def test_content_has_no_key_that_is_written_again_and_again(primary: Primary) -> None:
    for root in CONTENT_ROOTS:
        for key in ("manifest.json", f"{DAY}/manifest.json"):
            assert primary.decided(primary.put(f"{root}/{key}")) == "deny"


def test_a_run_is_written_once_and_the_days_manifest_again_and_again(primary: Primary) -> None:
    assert primary.decided(primary.put(run_key(PREFIX, DAY, "20261123T031500Z-1a2b3c"))) == "deny"
    assert primary.decided(primary.put(day_manifest_key(PREFIX, DAY))) == "allow"


@pytest.mark.parametrize("key", [bundle_key(PREFIX, DAY, "acme/api"), *CONTENT_KEYS])
def test_parts_can_be_uploaded_and_not_copied(primary: Primary, key: str) -> None:
    part = primary.call("PutObject", key, **{"s3:ObjectCreationOperation": "false"})
    assert primary.decided(part) == "allow"
    copied = replace(part, context={**part.context, "s3:x-amz-copy-source": "bucket/key"})
    assert primary.decided(copied) == "deny"


def test_a_copy_is_refused_with_the_header_too(primary: Primary) -> None:
    for key in (bundle_key(PREFIX, DAY, "acme/api"), day_manifest_key(PREFIX, DAY), *CONTENT_KEYS):
        copy = primary.put(key, **{"s3:if-none-match": "*", "s3:x-amz-copy-source": "bucket/key"})
        assert primary.decided(copy) == "deny"


@pytest.mark.parametrize("action", ["DeleteObject", "DeleteObjectVersion", "ReplicateDelete", "ReplicateObject"])
def test_nobody_deletes_or_replicates_into_the_bucket(primary: Primary, action: str) -> None:
    for key in (bundle_key(PREFIX, DAY, "acme/api"), day_manifest_key(PREFIX, DAY), *CONTENT_KEYS):
        for principal in (primary.task, ADMIN, ROOT):
            call = primary.call(action, key, **{"aws:PrincipalArn": principal})
            assert decide(primary.bucket_policy, call) == "deny"


def test_reports_of_drills_are_not_backups(primary: Primary) -> None:
    report = replace(primary.put("github-backup-drills/2026-11-23/report.json"), principal=ADMIN)
    assert decide(primary.bucket_policy, report) == "nothing"


def test_reading_and_thawing_are_left_to_iam(primary: Primary) -> None:
    for action in ("GetObject", "GetObjectVersion", "RestoreObject", "AbortMultipartUpload", "PutObjectRetention"):
        for key in (bundle_key(PREFIX, DAY, "acme/api"), *CONTENT_KEYS):
            call = primary.call(action, key, **{"aws:PrincipalArn": ADMIN})
            assert decide(primary.bucket_policy, call) == "nothing"


# -- with other options --------------------------------------------------------------------------


@pytest.mark.exhaustive
def test_a_lock_customer_keys_and_a_drill_change_nothing_in_it(module: Module, primary: Primary) -> None:
    keys = {"primary": "eu-central-1", "replica": "eu-west-1"}
    arns = {name: f"arn:aws:kms:{region}:{ACCOUNT}:key/{name}" for name, region in keys.items()}
    lock = {"mode": "COMPLIANCE", "days": 30}
    made = Primary(module.apply(object_lock=lock, kms_key_arns=arns, restore_drill={}))
    assert made.bucket_policy == primary.bucket_policy


def test_a_brought_bucket_gets_the_same_statements_to_take_in(module: Module, primary: Primary) -> None:
    made = module.apply(existing={"bucket": {"name": "our-backups"}})
    assert not any(address.startswith("module.primary") for address in made.resources)
    statements = json.loads(made.outputs["s3_bucket_policy"])["Statement"]
    own = [
        statement
        for statement in primary.bucket_policy["Statement"]
        if statement["Sid"] not in ("RefusePlainHTTP", "RefuseOldTLS")
    ]
    as_brought = json.dumps(own).replace(primary.applied.outputs["s3_bucket_arn"], "arn:aws:s3:::our-backups")
    assert statements == json.loads(as_brought)


# -- the lifecycle -------------------------------------------------------------------------------


MAX_CONTENT_DAYS = int(lifecycle_local("max_content_days"))
EXPIRING = {
    f"{PREFIX}/{DAY}/acme/api.bundle": MAX_FULL_BACKUP_DAYS,
    f"{PREFIX}/{DAY}/acme/api.objects": MAX_FULL_BACKUP_DAYS,
    f"{PREFIX}/{DAY}/acme/api@031500Z.changes.bundle": MAX_FULL_BACKUP_DAYS,
    f"{PREFIX}/{DAY}/acme/api.lfs.json": MAX_FULL_BACKUP_DAYS,
    f"{PREFIX}/{DAY}/runs/20261123T031500Z-1a2b3c.json": MAX_FULL_BACKUP_DAYS,
    f"{PREFIX}/{DAY}/manifest.json": MAX_FULL_BACKUP_DAYS,
    f"{PREFIX}-drills/{DAY}/report.json": MAX_FULL_BACKUP_DAYS,
} | dict.fromkeys(CONTENT_KEYS, MAX_CONTENT_DAYS)


def expiration(applied: Applied, key: str) -> set[int | None]:
    """Return the days after which an object expires, in both buckets: where rules overlap, S3 takes the earlier one.

    https://docs.aws.amazon.com/AmazonS3/latest/userguide/lifecycle-conflicts.html
    """
    found = set()
    for bucket in ("module.primary[0]", "module.replica[0].module.bucket"):
        rules = applied[f"{bucket}.aws_s3_bucket_lifecycle_configuration.backup"]["rule"]
        matching = [rule for rule in rules if key.startswith(rule["filter"][0]["prefix"] or "")]
        days = [expires["days"] for rule in matching for expires in rule["expiration"] if expires["days"]]
        found.add(min(days, default=None))
    return found


@pytest.mark.parametrize("inputs", [{}, {"backup_retention_days": 30}])
def test_objects_expire_by_the_rule_under_which_years_of_random_days_strand_no_manifest(
    module: Module, inputs: dict[str, int]
) -> None:
    retention = inputs.get("backup_retention_days", 365)
    days = module_rule(retention, MAX_FULL_BACKUP_DAYS)
    assert days > retention + MAX_FULL_BACKUP_DAYS
    applied = module.apply(**inputs)
    for key, older in EXPIRING.items():
        assert expiration(applied, key) == {days - MAX_FULL_BACKUP_DAYS + older}, key


def test_the_program_counts_with_the_days_of_the_lifecycle() -> None:
    ages = (content_store.MAX_CONTENT_DAYS, content_store.MAX_LIST_DAYS)
    assert ages == (MAX_CONTENT_DAYS, MAX_FULL_BACKUP_DAYS)


@pytest.mark.exhaustive
def test_nothing_expires_without_a_retention(module: Module) -> None:
    applied = module.apply(backup_retention_days=0)
    for key in EXPIRING:
        assert expiration(applied, key) == {None}, key


def test_what_is_expired_or_replaced_is_deleted_whatever_its_key(applied: Applied) -> None:
    for bucket in ("module.primary[0]", "module.replica[0].module.bucket"):
        rules = applied[f"{bucket}.aws_s3_bucket_lifecycle_configuration.backup"]["rule"]
        for_all = [rule for rule in rules if not any(rule["filter"][0].values())]
        assert [rule["id"] for rule in for_all if rule["noncurrent_version_expiration"]] == ["hidden-versions"]
        assert [r["id"] for r in for_all if r["expiration"] and r["expiration"][0]["expired_object_delete_marker"]] == [
            "hidden-versions"
        ]


def test_all_that_the_tasks_write_expires_in_both_buckets(drilled: Applied) -> None:
    """A prefix that one of the policies has and a lifecycle lacks would be paid for for ever."""
    written = set()
    for role, sid in (("task", "PutBackups"), ("drill[0]", "ReadAndPutReports")):
        (statement,) = (item for item in drilled.policy(role)["Statement"] if item["Sid"] == sid)
        resources = statement["Resource"]
        written |= set(resources if isinstance(resources, list) else [resources])
    for bucket in ("module.primary[0]", "module.replica[0].module.bucket"):
        rules = drilled[f"{bucket}.aws_s3_bucket_lifecycle_configuration.backup"]["rule"]
        prefixes = [rule["filter"][0]["prefix"] for rule in rules if rule["id"].startswith("retention-")]
        assert {drilled.outputs["s3_bucket_arn"] + f"/{prefix}*" for prefix in prefixes} == written


@pytest.mark.exhaustive
def test_the_module_refuses_more_days_than_its_lifecycle_allows_for(module: Module) -> None:
    """Outside of the module the program takes more: whoever makes the bucket decides on its lifecycle."""
    assert "Plan: " in module.plan(full_backup_days=MAX_FULL_BACKUP_DAYS)
    refused = " ".join(module.plan(full_backup_days=MAX_FULL_BACKUP_DAYS + 1).split())
    assert f"from 1 to {MAX_FULL_BACKUP_DAYS}" in refused


@pytest.mark.exhaustive
def test_a_transition_after_the_end_says_when_that_is(module: Module) -> None:
    late = [{"days": 121, "storage_class": "GLACIER_IR"}]
    output = " ".join(module.plan(backup_retention_days=30, storage_transitions=late).split())
    assert "storage_transitions must come before day 121, when objects expire" in output
