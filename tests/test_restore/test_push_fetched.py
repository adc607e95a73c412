"""`push --from`: what was fetched is proven and taken from the folder, and the rest from the bucket."""

from pathlib import Path

from support.world import World
from test_restore.test_push import target
from test_restore.test_push_content import GAME, Source, pushable, source, told

__all__ = ["source", "target"]


def delete_what_was_fetched(world: World) -> None:
    """Delete every version of all objects but manifests and the lists of LFS objects."""
    client = world.stack.s3.client()
    for version in client.list_object_versions(Bucket=world.bucket)["Versions"]:
        if "/runs/" not in version["Key"] and not version["Key"].endswith(".lfs.json"):
            client.delete_object(Bucket=world.bucket, Key=version["Key"], VersionId=version["VersionId"])


def flip_last_byte(path: Path) -> None:
    body = path.read_bytes()
    path.write_bytes(body[:-1] + bytes([body[-1] ^ 1]))


def test_what_was_fetched_is_proven_and_not_downloaded_again(source: Source) -> None:
    world, fetched = source.world, source.world.folder / "fetched"
    assert world.restore("fetch", "--all", "--into", str(fetched)).code == 0
    folder = ("--from", str(fetched))
    bundle = fetched / f"{GAME}.bundle"
    (world.folder / "empty").mkdir()
    useless = world.restore("push", GAME, "--from", str(world.folder / "empty"), "--to", "octocat")
    assert useless.named("nothing taken from the folder"), useless.stderr

    flip_last_byte(bundle)  # what is damaged comes from the bucket
    mended = source.push(GAME, *folder)
    assert "create the first page" in mended.failures[GAME]
    assert mended.named("taken from the folder"), mended.stderr
    assert pushable(source.there.path) == pushable(source.repository.path)
    source.there.gone = True

    delete_what_was_fetched(world)  # and is refused by name where that does not have it either
    refused = source.push(GAME, *folder)
    assert f"s3://{world.bucket}/" in refused.failures[GAME]
    assert f"{GAME}.bundle" in refused.failures[GAME]

    flip_last_byte(bundle)
    first = source.push("--all", *folder)
    assert first.failures.keys() == {GAME}, first.stderr
    assert "create the first page" in first.failures[GAME]
    wiki = source.make_wiki()
    second = source.push("--all", *folder)
    assert second.code == 0, second.stderr
    assert source.repository.wiki
    assert pushable(wiki) == pushable(source.repository.wiki)
    assert pushable(source.there.path) == pushable(source.repository.path)
    assert source.there.lfs.oids() == source.lfs.oids
    assert told(source.there.releases) == told(source.repository.releases)


def test_a_folder_that_is_not_there_is_refused(world: World) -> None:
    run = world.restore("push", "--all", "--from", str(world.folder / "nowhere"))
    assert run.code == 2
    assert f"there is no folder {world.folder / 'nowhere'}" in run.stderr
