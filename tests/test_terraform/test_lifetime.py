"""Years of applies: what would end a backup is refused at plan, and what a bucket holds survives a rename."""

from typing import Any

import pytest

from embedded.stack import PROJECT
from terraform.module import ACCOUNT, REGION, Applied, Module, copy_module

GUARD = "terraform_data.to_delete_backups_set_force_destroy_and_state_rm_this[0]"
SIGNING_GUARD = "terraform_data.to_delete_signing_keys_set_force_destroy_and_state_rm_this"
BUCKETS = ("module.primary[0]", "module.replica[0].module.bucket")
NAME = f"github-backup-{ACCOUNT}-{REGION}"
STATE = ("-no-color", "-input=false", "-state=state.json", "-var-file=given.tfvars.json")
UPGRADING = (PROJECT / "docs" / "upgrading.md").read_text()


@pytest.fixture(scope="module")
def deployed(module: Module, tmp_path_factory: pytest.TempPathFactory) -> Module:
    """A module of its own with a state that holds what the required inputs alone make."""
    own = Module(copy_module(tmp_path_factory.mktemp("deployed")), module.environment).init()
    own.apply_now()
    return own


def plan(deployed: Module, **variables: Any) -> str:
    """Return what a plan against the state says, on one line."""
    given = deployed._variables(variables)
    options = ("-no-color", "-input=false", "-state=state.json", "-refresh=false")
    return " ".join(deployed.terraform("plan", *options, *given, check=False).split())


REPLACING: dict[str, tuple[dict[str, Any], int]] = {
    "replica_region": ({"replica_region": "us-east-1"}, 1),
    "service_name": ({"service_name": "another"}, 2),
    "s3_bucket_name": ({"s3_bucket_name": "another"}, 2),
    "existing.bucket": ({"existing": {"bucket": {"name": "another"}}}, 2),
    "existing.replica_bucket": ({"existing": {"replica_bucket": {"name": "x", "account_id": ACCOUNT}}}, 1),
}


@pytest.mark.parametrize("name", REPLACING)
def test_a_change_that_would_end_a_bucket_is_refused_at_plan(deployed: Module, name: str) -> None:
    inputs, buckets = REPLACING[name]
    said = plan(deployed, **inputs)
    assert said.count("Error: Instance cannot be destroyed") == buckets
    assert f"{BUCKETS[1]}.{GUARD}" in said
    assert f"`{name}`" in UPGRADING


@pytest.mark.parametrize(
    "inputs", [{"manifest_signing": False}, {"kms_key_arns": {"signing": f"arn:aws:kms:{REGION}:{ACCOUNT}:key/x"}}]
)
def test_a_key_that_signed_manifests_is_not_deleted(deployed: Module, inputs: dict[str, Any]) -> None:
    said = plan(deployed, **inputs)
    assert said.count("Error: Instance cannot be destroyed") == 1
    assert f"{SIGNING_GUARD}[0]" in said
    assert SIGNING_GUARD in UPGRADING


@pytest.mark.exhaustive
def test_a_new_key_leaves_the_old_one(deployed: Module) -> None:
    changes = deployed.changes(signing_key_number=2)
    actions = {address: change["actions"] for address, change in changes.items() if "aws_kms_key.signing" in address}
    assert actions == {'aws_kms_key.signing["1"]': ["update"], 'aws_kms_key.signing["2"]': ["create"]}


@pytest.mark.exhaustive
def test_the_guard_names_what_allows_it(deployed: Module) -> None:
    refused = " ".join(deployed.terraform("destroy", "-auto-approve", *STATE, check=False).split())
    assert "Error: Instance cannot be destroyed" in refused
    assert "to_delete_backups_set_force_destroy_and_state_rm_this" in refused
    kept = deployed.terraform("state", "list", "-state=state.json").splitlines()
    assert len([address for address in kept if address.endswith("aws_s3_bucket_versioning.backup")]) == len(BUCKETS)


@pytest.mark.exhaustive
def test_a_rename_keeps_the_buckets_when_their_name_is_given(deployed: Module) -> None:
    changes = deployed.changes(service_name="another", s3_bucket_name=NAME)
    buckets = {address: change["actions"] for address, change in changes.items() if ".aws_s3_bucket." in address}
    assert len(buckets) == len(BUCKETS)
    assert all("delete" not in actions for actions in buckets.values())


@pytest.mark.exhaustive
def test_object_lock_can_be_switched_on_later_without_new_buckets(deployed: Module) -> None:
    assert "2 to add, 0 to change, 0 to destroy" in plan(deployed, object_lock={"mode": "GOVERNANCE", "days": 28})


@pytest.mark.exhaustive
def test_everything_goes_once_force_destroy_is_applied(module: Module) -> None:
    made = module.apply_now(force_destroy=True, restore_drill={})
    assert not any("set_force_destroy" in address for address in made.resources)
    assert "Destroy complete!" in module.terraform("destroy", "-auto-approve", *STATE)


@pytest.mark.exhaustive
def test_force_destroy_can_be_switched_on_later(module: Module) -> None:
    module.apply_now()
    for address in module.terraform("state", "list", "-state=state.json").splitlines():
        if "set_force_destroy" in address:
            module.terraform("state", "rm", "-state=state.json", address)
    given = ("-auto-approve", *STATE, "-var=force_destroy=true")
    applied = module.terraform("apply", *given)
    assert "Apply complete! Resources: 0 added, 2 changed, 0 destroyed." in applied
    assert "Destroy complete!" in module.terraform("destroy", *given)


@pytest.mark.exhaustive
def test_the_rest_goes_and_the_buckets_stay_when_the_state_forgets_them(module: Module) -> None:
    module.apply_now()
    for address in ("module.primary[0]", "module.replica[0]", "aws_kms_key.signing", SIGNING_GUARD):
        assert f"state rm 'module.github_backup.{address}'" in UPGRADING
        module.terraform("state", "rm", "-state=state.json", address)
    assert "Destroy complete!" in module.terraform("destroy", "-auto-approve", *STATE)


def test_no_bucket_takes_objects_with_a_key_that_the_client_brings(applied: Applied) -> None:
    for bucket in BUCKETS:
        (rule,) = applied[f"{bucket}.aws_s3_bucket_server_side_encryption_configuration.backup"]["rule"]
        assert rule["blocked_encryption_types"] == ["SSE-C"]


def test_the_replication_of_a_brought_bucket_is_about_the_modules_objects_only(
    module: Module, applied: Applied
) -> None:
    brought = module.apply(existing={"bucket": {"name": "our-backups"}})
    for made, prefix in ((brought, "github-backup"), (applied, None)):
        (rule,) = made["aws_s3_bucket_replication_configuration.backup"]["rule"]
        assert (rule["filter"][0]["prefix"] or None) == prefix


def test_no_log_line_is_dropped(drilled: Applied) -> None:
    for task in ("backup", "drill"):
        assert drilled.container(task)["logConfiguration"]["options"]["mode"] == "blocking"
