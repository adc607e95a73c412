"""One bad repository never stops the others, and a fault that passes is not a failure."""

import shutil
import time
from datetime import timedelta
from pathlib import Path

import pytest

from embedded.github import Fault
from embedded.organisation import RECIPES
from embedded.real_git import git
from embedded.s3_proxy import S3Fault, S3Proxy
from world import World

CLONE = r"GET /acme/fork\.git/info/refs"
PACK = r"POST /acme/fork\.git/git-upload-pack"


def broken_copy(world: World, name: str) -> Path:
    """Return a copy of the repository with its pack cut short."""
    path = world.folder / f"{name}.git"
    shutil.copytree(world.repositories.path(RECIPES[name]), path)
    pack = next(path.glob("objects/pack/*.pack"))
    pack.chmod(0o644)
    pack.write_bytes(pack.read_bytes()[:-200])
    return path


def test_one_unreadable_repository_does_not_stop_the_others(world: World) -> None:
    for name in ("api", "public"):
        world.add(name)
    world.github.add("acme", "broken", broken_copy(world, "fork"))
    run = world.run()
    assert run.code == 1
    assert run.repos.keys() == {"acme/api", "acme/public"}
    assert run.failures["acme/broken"]["stage"] == "clone"
    assert "git clone ended with 128: " in run.failures["acme/broken"]["error"]
    assert "remote" in run.failures["acme/broken"]["error"]
    assert world.metrics()["BackupFailure"] == [1]
    assert world.metrics()["BackupSuccess"] == [2]


@pytest.mark.parametrize(
    "fault",
    [
        Fault(CLONE, status=500),
        Fault(CLONE, status=502, times=2),
        Fault(PACK, status=503),
        Fault(PACK, status=0, cut_after=700),
        Fault(r"GET .*/installation/repositories", status=502, times=2),
        Fault(r"POST .*/access_tokens", status=500),
    ],
    ids=lambda fault: f"{fault.status}-{fault.match[:12]}-x{fault.times}",
)
def test_a_fault_that_passes_is_tried_again(world: World, fault: Fault) -> None:
    world.add("fork")
    world.github.faults = [fault]
    run = world.run()
    assert run.code == 0, run.output
    assert fault.times == 0
    assert len(run.named("retrying") + run.named("retrying")) >= 1


def test_a_fault_that_stays_fails_its_repository_after_a_bounded_number_of_tries(world: World) -> None:
    for name in ("api", "fork"):
        world.add(name)
    world.github.faults = [Fault(CLONE, status=500, times=1000)]
    run = world.run()
    assert run.code == 1
    assert run.repos.keys() == {"acme/api"}
    assert "500" in run.failures["acme/fork"]["error"]
    assert len(world.github.requests(CLONE)) == 4
    assert [one["attempt"] for one in run.named("retrying")] == [1, 2, 3]


@pytest.mark.parametrize("status", [403, 429, 503])
def test_retry_after_is_honoured_and_said(world: World, status: int) -> None:
    world.add("fork")
    world.github.faults = [Fault("GET .*/installation/repositories", status=status, headers={"Retry-After": "2"})]
    run = world.run()
    assert run.code == 0
    (waiting,) = run.named("retrying")
    assert waiting["wait_source"] == "Retry-After"
    assert waiting["seconds"] == 2
    first, second = world.github.requests("GET .*/installation/repositories")
    assert second.at - first.at >= 2


@pytest.mark.parametrize("status", [403, 429])
def test_the_reset_of_a_primary_rate_limit_is_honoured_and_said(world: World, status: int) -> None:
    world.add("fork")
    headers = {"x-ratelimit-remaining": "0", "x-ratelimit-reset": str(int(time.time()) + 3)}
    message = "API rate limit exceeded for installation ID 7001."
    world.github.faults = [Fault("POST .*/access_tokens", status=status, headers=headers, message=message)]
    run = world.run()
    assert run.code == 0
    (waiting,) = run.named("retrying")
    assert waiting["wait_source"] == "x-ratelimit-reset"
    assert message in waiting["error"]


def test_a_wait_longer_than_an_hour_is_refused_with_the_reason(world: World) -> None:
    world.add("fork")
    world.github.faults = [
        Fault("GET .*/installation/repositories", status=429, headers={"Retry-After": "7200"}, times=9)
    ]
    run = world.run()
    assert run.code == 2
    assert "Retry-After asks to wait 7200 s" in run.problems[0]
    assert len(world.github.requests("GET .*/installation/repositories")) == 1


@pytest.mark.parametrize("status", [403, 429, 503])
def test_a_rate_limited_clone_waits_as_long_as_the_git_server_says(world: World, status: int) -> None:
    world.add("fork")
    world.github.faults = [Fault(CLONE, status=status, headers={"Retry-After": "2"})]
    run = world.run()
    assert run.code == 0
    (waiting,) = run.named("retrying")
    assert (waiting["wait_source"], waiting["seconds"]) == ("Retry-After", 2)
    first, second = world.github.requests(CLONE)[:2]
    assert second.at - first.at >= 2


def test_a_repository_deleted_since_the_listing_is_gone_and_no_failure(world: World) -> None:
    world.add("api")
    gone = world.add("fork")
    world.github.after_listing = lambda: setattr(gone, "gone", True)
    run = world.run()
    assert run.code == 0
    assert run.repos["acme/fork"]["status"] == "gone"
    assert run.repos["acme/fork"]["s3_key"] is None
    assert run.manifest is not None
    assert run.manifest["gone_count"] == 1
    assert world.metrics()["BackupFailure"] == [0]
    assert world.metrics()["BackupSuccess"] == [1]


def test_an_app_that_is_uninstalled_meanwhile_leaves_no_repository_for_gone(world: World) -> None:
    """The second look is refused with a 404 too: it is of the token, and says nothing of the repository."""
    world.add("fork")

    def uninstall() -> None:
        world.github.revoke_tokens()
        for installation in world.github.installations.values():
            installation.removed = True

    world.github.after_listing = uninstall
    world.github.faults = [Fault(CLONE, status=500)]
    run = world.run()
    assert run.code == 1
    assert "was the App uninstalled?" in run.failures["acme/fork"]["error"]
    assert world.metrics()["BackupFailure"] == [1]


@pytest.mark.parametrize(("status", "reason"), [(451, "dmca"), (403, "tos")])
def test_a_blocked_repository_is_a_failure_in_githubs_own_words(world: World, status: int, reason: str) -> None:
    world.add("api")
    world.add("fork", blocked=status)
    run = world.run()
    assert run.code == 1
    assert run.repos.keys() == {"acme/api"}
    assert f"Repository access blocked ({reason} https://github.com/{reason})" in run.failures["acme/fork"]["error"]


def test_a_renamed_repository_is_stored_under_its_new_name(world: World) -> None:
    world.add("api")
    moved = world.add("fork")

    def rename() -> None:
        moved.old_name, moved.name = "fork", "knife"

    world.github.after_listing = rename
    run = world.run()
    assert run.code == 0
    assert run.repos.keys() == {"acme/api", "acme/knife"}
    assert run.repos["acme/knife"]["s3_key"] == world.key("acme/knife.bundle")


def test_a_token_rejected_in_a_clone_is_replaced_once(world: World) -> None:
    world.add("fork")
    world.github.after_listing = world.github.revoke_tokens
    run = world.run()
    assert run.code == 0
    assert len(world.github.requests("POST .*/access_tokens")) == 2


def test_a_clone_that_stays_unauthorized_is_tried_once_more_and_no_further(world: World) -> None:
    world.add("fork")
    refused = {"WWW-Authenticate": "Basic"}
    world.github.faults = [Fault(CLONE, status=401, headers=refused, message="no", times=1000)]
    run = world.run()
    assert run.code == 1
    assert "Authentication failed" in run.failures["acme/fork"]["error"]
    assert len(world.github.requests("POST .*/access_tokens")) == 2


def test_a_token_rejected_by_the_api_is_replaced_once(world: World) -> None:
    world.add("fork")
    world.github.faults = [Fault("GET .*/installation/repositories", status=401, message="Bad credentials")]
    assert world.run().code == 0
    assert len(world.github.requests("POST .*/access_tokens")) == 2


def test_tokens_are_refreshed_ahead_of_their_expiry_and_one_token_serves_all(world: World) -> None:
    for number in range(4):
        world.add("fork", name=f"copy-{number}")
    assert world.run().code == 0
    assert len(world.github.issued) == 1
    world.github.token_life = timedelta(minutes=4)  # below what a token must still be good for
    assert world.run(BACKUP_CONCURRENCY="1").code == 0
    assert len(world.github.issued) == 1 + 1 + 4


def test_a_token_is_asked_for_with_read_only_permissions(world: World) -> None:
    world.add("fork")
    world.run()
    (asked,) = world.github.requests("POST .*/access_tokens")
    assert asked.body == {"permissions": {"contents": "read", "metadata": "read"}}


def test_a_shallow_repository_is_a_failure_and_never_a_cut_off_backup(world: World) -> None:
    world.add("api")
    source, shallow = world.repositories.path(RECIPES["fork"]), world.folder / "shallow.git"
    git("clone", "--quiet", "--bare", "--depth=1", f"file://{source}", shallow)
    world.github.add("acme", "shallow", shallow)
    run = world.run()
    assert run.code == 1
    assert run.failures["acme/shallow"]["stage"] == "bundle"
    assert "shallow" in run.failures["acme/shallow"]["error"]


def test_a_put_that_s3_refuses_is_a_failure_of_that_repository(world: World, s3_proxy: S3Proxy) -> None:
    for name in ("api", "fork"):
        world.add(name)
    s3_proxy.faults = [S3Fault(r"PUT .*/acme/fork\.bundle", "deny")]
    run = world.run()
    assert run.code == 1
    assert run.repos.keys() == {"acme/api"}
    assert run.failures["acme/fork"]["stage"] == "upload"
    assert "AccessDenied" in run.failures["acme/fork"]["error"]


def test_bytes_that_change_on_their_way_are_refused_by_s3(world: World, s3_proxy: S3Proxy) -> None:
    for name in ("api", "fork"):
        world.add(name)
    s3_proxy.faults = [S3Fault(r"PUT .*/acme/fork\.bundle", "spoil")]
    run = world.run()
    assert run.code == 1
    assert run.repos.keys() == {"acme/api"}
    assert run.failures["acme/fork"]["stage"] == "upload"
    assert world.key("acme/fork.bundle") not in world.stored_keys()


def test_a_manifest_that_cannot_be_written_is_a_failure(world: World, s3_proxy: S3Proxy) -> None:
    world.add("api")
    s3_proxy.faults = [S3Fault(r"PUT .*/manifest\.json", "deny")]
    run = world.run()
    assert run.code == 1
    assert run.events[-1]["manifest"] is None
    assert "AccessDenied" in run.named("manifest not written or not readable")[0]["error"]
    assert world.metrics()["BackupFailure"] == [1]


@pytest.mark.parametrize(
    "page", ["<html>", "<html><body>down for maintenance</body></html>", ""], ids=["tag", "page", "none"]
)
def test_a_page_instead_of_a_git_answer_does_not_make_a_repository_empty(world: World, page: str) -> None:
    """git itself ends with 0 and an empty clone: such a page has no line that looks like a ref."""
    world.add("api")
    world.add("fork")
    world.github.faults = [Fault(r"GET /acme/fork\.git", status=200, raw=page, times=99)]
    run = world.run()
    assert run.code == 1
    assert run.repos.keys() == {"acme/api"}
    assert "did not say that there are none" in run.failures["acme/fork"]["error"]


def test_a_page_that_passes_is_tried_again(world: World) -> None:
    world.add("fork")
    world.github.faults = [Fault(r"GET /acme/fork\.git", status=200, raw="<html>", times=2)]
    run = world.run()
    assert run.code == 0
    assert run.repos["acme/fork"]["status"] == "stored"


def test_api_faults_do_not_multiply_with_the_tries_of_a_clone(world: World) -> None:
    world.add("fork")
    world.github.faults = [
        Fault(CLONE, status=500, times=99),
        Fault(r"GET .*/repositories/\d+", status=500, times=99),
    ]
    run = world.run()
    assert run.code == 1
    assert "git clone ended with 128: " in run.failures["acme/fork"]["error"]
    assert len(world.github.requests(r"GET .*/repositories/\d+")) == 6


def test_a_token_that_cannot_be_had_is_not_asked_for_once_more_by_every_repository(world: World) -> None:
    for number in range(4):
        world.add("fork", name=f"copy-{number}")

    def break_down() -> None:
        world.github.revoke_tokens()
        world.github.faults = [Fault("POST .*/access_tokens", status=503, times=999)]

    world.github.after_listing = break_down
    run = world.run()
    assert run.code == 1
    assert len(run.failures) == 4
    assert len(world.github.requests("POST .*/access_tokens")) == 1 + 6


def test_nothing_stored_and_no_manifest_is_a_run_that_could_not_use_its_bucket(world: World, s3_proxy: S3Proxy) -> None:
    world.add("api")
    s3_proxy.faults = [S3Fault("PUT .*", "deny")]
    run = world.run()
    assert run.code == 2
    assert world.metrics()["BackupFailure"] == [1]


def test_an_upload_that_may_not_be_aborted_is_said(world: World, s3_proxy: S3Proxy) -> None:
    world.add("api")
    s3_proxy.faults = [S3Fault("DELETE .*uploadId", "deny")]
    run = world.run()
    assert run.code == 0
    assert "AccessDenied" in run.named("upload not aborted")[0]["error"]


def test_a_bucket_that_can_be_written_and_not_read_is_no_green_run(world: World, s3_proxy: S3Proxy) -> None:
    world.add("api")
    s3_proxy.faults = [S3Fault(r"GET .*/runs/\S+\.json", "deny")]
    run = world.run()
    assert run.code == 1
    assert "AccessDenied" in run.named("manifest not written or not readable")[0]["error"]
