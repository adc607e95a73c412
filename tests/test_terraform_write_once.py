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
from github_s3_backup.s3.keys import bundle_key, day_manifest_key, run_key
from terraform.module import ACCOUNT, Applied, Module
from terraform.policy import Call, decide
from test_lifecycle_calendar import MAX_FULL_BACKUP_DAYS, module_rule
from world import World

PREFIX, DAY = "github-backup", "2026-11-23"
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


@pytest.fixture
def sent(world: World, s3_proxy: S3Proxy) -> list[Sent]:
    """What two real runs on one day write: the second clones everything again."""
    world.add("in-parts")
    world.add("api")
    assert world.run().code == 0
    assert world.run(FULL_BACKUP_DAYS="1").code == 0
    return list(writes(s3_proxy, world.bucket))


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


def test_all_that_a_real_run_writes_passes(sent: list[Sent], primary: Primary) -> None:
    for write in sent:
        assert primary.decided(as_call(primary, write)) == "allow", write
    kinds = {(write.creates, write.in_parts) for write in sent}
    assert kinds == {(True, False), (True, True), (False, True)}
    assert len({write.key for write in sent if write.creates}) == 2 * 2 + 2 + 1  # bundles, runs, manifest.json


def test_without_the_header_nothing_but_the_days_manifest_passes(sent: list[Sent], primary: Primary) -> None:
    for write in sent:
        call = as_call(primary, replace(write, is_conditional=False))
        expected = "allow" if is_for_people(write.key) or not write.creates else "deny"
        assert primary.decided(call) == expected, write


def test_no_object_of_a_real_run_can_be_copied_over_or_written_by_another(sent: list[Sent], primary: Primary) -> None:
    for write in sent:
        assert primary.decided(as_call(primary, write, **{"s3:x-amz-copy-source": "b/k"})) == "deny", write
        for other in (ADMIN, ROOT, f"{primary.task}x"):
            assert primary.decided(as_call(primary, write, **{"aws:PrincipalArn": other})) == "deny", write


# -- whatever the keys ---------------------------------------------------------------------------

NAMES = st.from_regex(r"[A-Za-z0-9._-]{1,40}", fullmatch=True)


@given(owner=NAMES, name=NAMES, time=st.none() | st.just("031500Z"))
def test_every_bundle_is_written_once(primary: Primary, owner: str, name: str, time: str | None) -> None:
    key = bundle_key(PREFIX, DAY, f"{owner}/{name}", time)
    assert primary.decided(primary.put(key, **{"s3:if-none-match": "*"})) == "allow"
    assert primary.decided(primary.put(key)) == "deny"


def test_a_run_is_written_once_and_the_days_manifest_again_and_again(primary: Primary) -> None:
    assert primary.decided(primary.put(run_key(PREFIX, DAY, "20261123T031500Z-1a2b3c"))) == "deny"
    assert primary.decided(primary.put(day_manifest_key(PREFIX, DAY))) == "allow"


def test_parts_can_be_uploaded_and_not_copied(primary: Primary) -> None:
    part = primary.call("PutObject", bundle_key(PREFIX, DAY, "acme/api"), **{"s3:ObjectCreationOperation": "false"})
    assert primary.decided(part) == "allow"
    copied = replace(part, context={**part.context, "s3:x-amz-copy-source": "bucket/key"})
    assert primary.decided(copied) == "deny"


def test_a_copy_is_refused_with_the_header_too(primary: Primary) -> None:
    for key in (bundle_key(PREFIX, DAY, "acme/api"), day_manifest_key(PREFIX, DAY)):
        copy = primary.put(key, **{"s3:if-none-match": "*", "s3:x-amz-copy-source": "bucket/key"})
        assert primary.decided(copy) == "deny"


@pytest.mark.parametrize("action", ["DeleteObject", "DeleteObjectVersion", "ReplicateDelete", "ReplicateObject"])
def test_nobody_deletes_or_replicates_into_the_bucket(primary: Primary, action: str) -> None:
    for key in (bundle_key(PREFIX, DAY, "acme/api"), day_manifest_key(PREFIX, DAY)):
        for principal in (primary.task, ADMIN, ROOT):
            call = primary.call(action, key, **{"aws:PrincipalArn": principal})
            assert decide(primary.bucket_policy, call) == "deny"


def test_reports_of_drills_are_not_backups(primary: Primary) -> None:
    report = replace(primary.put("github-backup-drills/2026-11-23/report.json"), principal=ADMIN)
    assert decide(primary.bucket_policy, report) == "nothing"


def test_reading_and_thawing_are_left_to_iam(primary: Primary) -> None:
    for action in ("GetObject", "GetObjectVersion", "RestoreObject", "AbortMultipartUpload", "PutObjectRetention"):
        call = primary.call(action, bundle_key(PREFIX, DAY, "acme/api"), **{"aws:PrincipalArn": ADMIN})
        assert decide(primary.bucket_policy, call) == "nothing"


# -- with other options --------------------------------------------------------------------------


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


def expiration(applied: Applied) -> set[int | None]:
    """Return the days after which objects expire, in both buckets."""
    found = set()
    for bucket in ("module.primary[0]", "module.replica[0].module.bucket"):
        rules = applied[f"{bucket}.aws_s3_bucket_lifecycle_configuration.backup"]["rule"]
        days = [rule["expiration"][0]["days"] for rule in rules if rule["id"] == "retention"]
        found.add(days[0] if days else None)
    return found


@pytest.mark.parametrize("retention", [30, 365])
def test_objects_expire_by_the_rule_under_which_years_of_random_days_strand_no_manifest(
    module: Module, retention: int
) -> None:
    days = module_rule(retention, MAX_FULL_BACKUP_DAYS)
    assert expiration(module.apply(backup_retention_days=retention)) == {days}
    assert days > retention + MAX_FULL_BACKUP_DAYS


def test_nothing_expires_without_a_retention(module: Module) -> None:
    assert expiration(module.apply(backup_retention_days=0)) == {None}


def test_the_module_refuses_more_days_than_its_lifecycle_allows_for(module: Module) -> None:
    """Outside of the module the program takes more: whoever makes the bucket decides on its lifecycle."""
    assert "Plan: " in module.plan(full_backup_days=MAX_FULL_BACKUP_DAYS)
    refused = " ".join(module.plan(full_backup_days=MAX_FULL_BACKUP_DAYS + 1).split())
    assert f"from 1 to {MAX_FULL_BACKUP_DAYS}" in refused


def test_a_transition_after_the_end_says_when_that_is(module: Module) -> None:
    late = [{"days": 121, "storage_class": "GLACIER_IR"}]
    output = " ".join(module.plan(backup_retention_days=30, storage_transitions=late).split())
    assert "storage_transitions must come before day 121, when objects expire" in output
