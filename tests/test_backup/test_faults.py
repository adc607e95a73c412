"""One bad repository never stops the others, and a fault that passes is not a failure."""

import re
import shutil
import time
from collections import Counter
from datetime import timedelta
from pathlib import Path

from embedded.github import Fault
from embedded.organisation import RECIPES
from embedded.real_git import git
from embedded.s3_proxy import S3Fault, S3Proxy
from support.world import World

LISTING = "GET .*/installation/repositories"
TOKENS = "POST .*/access_tokens"


def refs_of(name: str) -> str:
    """Return the pattern of what a clone of the repository asks first."""
    return rf"GET /acme/{name}\.git/info/refs"


def pack_of(name: str) -> str:
    return rf"POST /acme/{name}\.git/git-upload-pack"


def broken_copy(world: World, name: str) -> Path:
    """Return a copy of the repository with its pack cut short."""
    path = world.folder / f"{name}.git"
    shutil.copytree(world.repositories.path(RECIPES[name]), path)
    pack = next(path.glob("objects/pack/*.pack"))
    pack.chmod(0o644)
    pack.write_bytes(pack.read_bytes()[:-200])
    return path


NOT_A_GIT_SERVER = {
    "tag": "<html>",
    "page": "<html><body>down for maintenance</body></html>",
    "nothing": "",
}


def add_what_fails(world: World) -> dict[str, str]:
    """Add a repository for each way to fail; return the stage and the words of each."""
    world.github.add("acme", "broken", broken_copy(world, "fork"))
    source, shallow = world.repositories.path(RECIPES["fork"]), world.folder / "shallow.git"
    git("clone", "--quiet", "--bare", "--depth=1", f"file://{source}", shallow)
    world.github.add("acme", "shallow", shallow)
    world.add("fork", name="dmca", blocked=451)
    world.add("fork", name="tos", blocked=403)
    for name in ("down", *NOT_A_GIT_SERVER):
        world.add("fork", name=name)
    api_too = world.add("fork", name="api-down-too")
    world.github.faults = [
        Fault(refs_of("down"), status=500, times=1000),
        Fault(refs_of("api-down-too"), status=500, times=1000),
        Fault(rf"GET .*/repositories/{api_too.id}$", status=500, times=1000),
    ]
    world.github.faults += [
        Fault(refs_of(name), status=200, raw=raw, times=99) for name, raw in NOT_A_GIT_SERVER.items()
    ]
    return {
        "broken": "clone: git clone ended with 128: .*remote",
        "shallow": "bundle: .*shallow",  # and never a cut-off backup
        "dmca": r"clone: .*Repository access blocked \(dmca https://github.com/dmca\)",
        "tos": r"clone: .*Repository access blocked \(tos https://github.com/tos\)",
        "down": "clone: .*500",
        "api-down-too": "clone: git clone ended with 128: ",
        # git itself ends with 0 and an empty clone: such a page has no line that looks like a ref.
        **dict.fromkeys(NOT_A_GIT_SERVER, "clone: .*did not confirm that there are none"),
    }


def test_what_fails_costs_no_other_repository_and_is_tried_a_bounded_number_of_times(
    world: World, s3_proxy: S3Proxy
) -> None:
    for name in ("api", "public"):
        world.add(name)
    expected = add_what_fails(world) | {"denied": "upload: .*AccessDenied", "spoiled": "upload: "}
    for name in ("denied", "spoiled"):
        world.add("fork", name=name)
    s3_proxy.faults = [S3Fault(r"PUT .*/denied\.bundle", "deny"), S3Fault(r"PUT .*/spoiled\.bundle", "spoil")]
    run = world.run()
    assert run.code == 1
    assert run.repos.keys() == {"acme/api", "acme/public"}
    assert world.stored_keys() == world.keys_of(run)
    said = {
        name.removeprefix("acme/"): f"{failure['stage']}: {failure['error']}" for name, failure in run.failures.items()
    }
    assert said.keys() == expected.keys()
    assert [name for name, words in expected.items() if not re.match(words, said[name])] == [], said
    assert world.metrics()["BackupFailure"] == [len(expected)]
    assert world.metrics()["BackupSuccess"] == [2]
    assert len(world.github.requests(refs_of("down"))) == 4
    assert [line["attempt"] for line in run.named("retrying") if line["full_name"] == "acme/down"] == [1, 2, 3]
    # A server that is down is not asked 4 times 6 times.
    api_too = next(repository for repository in world.github.repositories.values() if repository.name == "api-down-too")
    assert len(world.github.requests(rf"GET .*/repositories/{api_too.id}$")) == 6


def test_a_fault_that_passes_is_tried_again(world: World) -> None:
    faults = {
        "once": Fault(refs_of("once"), status=500),
        "twice": Fault(refs_of("twice"), status=502, times=2),
        "pack": Fault(pack_of("pack"), status=503),
        "cut": Fault(pack_of("cut"), status=0, cut_after=700),
        "page": Fault(refs_of("page"), status=200, raw="<html>", times=2),
    }
    for name in faults:
        world.add("fork", name=name)
    world.github.faults = [*faults.values(), Fault(LISTING, status=502, times=2), Fault(TOKENS, status=500)]
    run = world.run()
    assert run.code == 0, run.output
    assert [fault for fault in world.github.faults if fault.times] == []
    assert {entry["status"] for entry in run.repos.values()} == {"stored"}
    tries = Counter(line.get("full_name", "the API") for line in run.named("retrying"))
    assert tries == {"the API": 3, "acme/twice": 2} | {f"acme/{name}": 1 for name in ("once", "pack", "cut", "page")}


def test_as_long_as_github_says_is_waited_and_said(world: World) -> None:
    statuses = (403, 429, 503)
    for status in statuses:
        world.add("fork", name=f"answers-{status}")
    words = "API rate limit exceeded for installation ID 7001."
    limited = {"x-ratelimit-remaining": "0", "x-ratelimit-reset": str(int(time.time()) + 2)}
    world.github.faults = [
        *(Fault(TOKENS, status=status, headers=limited, message=words) for status in (403, 429)),
        *(Fault(LISTING, status=status, headers={"Retry-After": "1"}) for status in statuses),
        *(Fault(refs_of(f"answers-{status}"), status=status, headers={"Retry-After": "1"}) for status in statuses),
    ]
    run = world.run()
    assert run.code == 0
    waits = [line for line in run.named("retrying") if "full_name" not in line]
    assert [line["wait_source"] for line in waits] == 2 * ["x-ratelimit-reset"] + 3 * ["Retry-After"]
    assert [words in line["error"] for line in waits] == 2 * [True] + 3 * [False]
    clones = {line["full_name"]: line for line in run.named("retrying") if line not in waits}
    assert all(1 <= line["seconds"] < 10 for line in (*waits[2:], *clones.values()))
    assert clones.keys() == {f"acme/answers-{status}" for status in statuses}
    assert {line["wait_source"] for line in clones.values()} == {"Retry-After"}
    for what in (LISTING, *(refs_of(f"answers-{status}") for status in statuses)):
        first, second = world.github.requests(what)[:2]
        assert second.at - first.at >= 1
    tokens = world.github.requests(TOKENS)
    assert tokens[-1].at >= int(limited["x-ratelimit-reset"]) - time.time() + time.monotonic()


def test_a_repository_deleted_or_renamed_since_the_listing_is_no_failure(world: World) -> None:
    world.add("api")
    gone, moved = world.add("fork"), world.add("public")

    def change() -> None:
        gone.gone = True
        moved.old_name, moved.name = "public", "open"

    world.github.after_listing = change
    run = world.run()
    assert run.code == 0
    assert {name: (entry["status"], entry["s3_key"]) for name, entry in run.repos.items()} == {
        "acme/api": ("stored", world.key("acme/api.bundle")),
        "acme/fork": ("gone", None),
        "acme/open": ("stored", world.key("acme/open.bundle")),
    }
    assert run.manifest is not None
    assert run.manifest["gone_count"] == 1
    assert world.metrics()["BackupFailure"] == [0]
    assert world.metrics()["BackupSuccess"] == [2]


def test_an_app_that_is_uninstalled_meanwhile_leaves_no_repository_for_gone(world: World) -> None:
    """The second look is refused with a 404 too: it is of the token, and says nothing of the repository."""
    world.add("fork")

    def uninstall() -> None:
        world.github.revoke_tokens()
        for installation in world.github.installations.values():
            installation.removed = True

    world.github.after_listing = uninstall
    world.github.faults = [Fault(refs_of("fork"), status=500)]
    run = world.run()
    assert run.code == 1
    assert "was the App uninstalled?" in run.failures["acme/fork"]["error"]
    assert world.metrics()["BackupFailure"] == [1]


def test_a_token_rejected_in_a_clone_is_replaced_once(world: World) -> None:
    world.add("fork")
    world.github.after_listing = world.github.revoke_tokens
    run = world.run()
    assert run.code == 0
    assert len(world.github.requests(TOKENS)) == 2


def test_a_clone_that_stays_unauthorized_is_tried_once_more_and_no_further(world: World) -> None:
    world.add("fork")
    refused = {"WWW-Authenticate": "Basic"}
    world.github.faults = [Fault(refs_of("fork"), status=401, headers=refused, message="no", times=1000)]
    run = world.run()
    assert run.code == 1
    assert "Authentication failed" in run.failures["acme/fork"]["error"]
    assert len(world.github.requests(TOKENS)) == 2


def test_one_token_that_may_only_read_serves_all_and_is_replaced_ahead_of_its_expiry(world: World) -> None:
    for number in range(4):
        world.add("fork", name=f"copy-{number}")
    assert world.run(BACKUP_RELEASES="false").code == 0
    (asked,) = world.github.requests(TOKENS)
    assert asked.body == {"permissions": {"contents": "read", "metadata": "read"}}
    assert len(world.github.issued) == 1
    world.github.token_life = timedelta(minutes=4)  # below what a token must still be good for
    assert world.run(BACKUP_CONCURRENCY="1", BACKUP_RELEASES="false").code == 0
    assert len(world.github.issued) == 1 + 1 + 4


def test_a_manifest_that_cannot_be_written_is_a_failure(world: World, s3_proxy: S3Proxy) -> None:
    world.add("api")
    s3_proxy.faults = [S3Fault(r"PUT .*/manifest\.json", "deny")]
    run = world.run()
    assert run.code == 1
    assert run.events[-1]["manifest"] is None
    assert "AccessDenied" in run.named("manifest not written or not readable")[0]["error"]
    assert world.metrics()["BackupFailure"] == [1]


def test_without_a_token_all_repositories_wait_until_the_runs_deadline_and_one_of_them_asks(world: World) -> None:
    for number in range(4):
        world.add("fork", name=f"copy-{number}")

    def break_down() -> None:
        world.github.revoke_tokens()
        world.github.faults = [Fault(TOKENS, status=503, times=999)]

    world.github.after_listing = break_down
    run = world.run(RUN_DEADLINE_HOURS="0.003")
    assert run.code == 1
    assert len(run.failures) == 4
    assert all("RUN_DEADLINE_HOURS" in failure["error"] for failure in run.failures.values())
    assert len(world.github.requests(TOKENS)) <= 1 + 6


def test_what_git_alone_is_refused_is_explained_with_the_servers_words_and_the_usual_causes(world: World) -> None:
    for name in ("allowed", "listed", "proxied"):
        world.add("fork", name=name)
    words = "The repository owner has an IP allow list enabled, and 203.0.113.7 is not permitted to access it."
    world.github.faults = [
        Fault(r"(GET|POST) /acme/listed\.git", status=403, message=words, times=99),
        Fault(r"(GET|POST) /acme/proxied\.git", status=403, raw="<html>Blocked</html>", times=99),
    ]
    run = world.run()
    assert run.repos.keys() == {"acme/allowed"}
    assert words in run.failures["acme/listed"]["error"]
    assert "html" not in run.failures["acme/proxied"]["error"]
    for failure in run.failures.values():
        assert "usual causes: the organization has an IP allow list that lacks this task's address" in failure["error"]
    assert len(world.github.requests(r"GET /acme/listed\.git")) < 6, "it is not tried again and again"


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
