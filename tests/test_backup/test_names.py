"""Names: what GitHub allows is stored and restores, what would leave its folder is refused."""

from support.world import World

PLAIN = ("-", "-x-", "--upload-pack", ".github", "a.git.b", "...", "_", "x.wiki")
REFUSED = (".git", ".GIT", ".GiT", "..", ".", "a/b", "new\nline", "be\x07ll", "größe", "~")


def test_plain_names_are_stored_and_what_would_leave_its_folder_is_refused(world: World) -> None:
    """The world restores what is stored with stock git."""
    plain = {world.add("fork", name=name).id: name for name in PLAIN}
    refused = {world.add("empty", name=name).id: name for name in REFUSED}
    run = world.run()
    assert run.code == 1
    assert run.manifest is not None
    assert {entry["id"]: entry["name"] for entry in run.manifest["repos"]} == plain
    assert {entry["status"] for entry in run.manifest["repos"]} == {"stored"}
    bundles = {key for key in world.stored_keys() if key.endswith(".bundle")}
    assert bundles == {world.key(f"acme/{name}.bundle") for name in PLAIN}
    failures = {failure["id"]: failure for failure in run.manifest["failures"]}
    assert failures.keys() == refused.keys()
    assert {failure["stage"] for failure in failures.values()} == {"list"}
    assert all("refused" in failure["error"] for failure in failures.values())
    assert world.metrics()["BackupFailure"] == [len(REFUSED)]
    asked = [request.path for request in world.github.requests(r"\.git/")]
    assert len({path.split("/info/")[0].split("/git-upload")[0] for path in asked}) == len(PLAIN)
