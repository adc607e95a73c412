"""With trusted keys, every restore command takes signed runs only, whatever somebody adds, alters or copies."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from embedded.real_git import git
from github_s3_backup.records.signing import PUBLIC_KEY
from support.world import Run, World
from test_records.test_signing import UNKNOWN_KEY, key_of, openssl, put_copy, stored


@dataclass(frozen=True)
class Key:
    """A local key: the private part signs, the public one is trusted."""

    private: Path
    public: Path


@pytest.fixture
def new_key(tmp_path: Path) -> Callable[[str], Key]:
    def make(name: str) -> Key:
        key = Key(tmp_path / f"{name}.pem", tmp_path / f"{name}.pub.pem")
        assert openssl("genpkey", "-algorithm", "ed25519", "-out", key.private).returncode == 0
        assert openssl("pkey", "-in", key.private, "-pubout", "-out", key.public).returncode == 0
        return key

    return make


def signed_run(world: World, key: Key) -> Run:
    time.sleep(1 - time.time() % 1)  # runs of the same second have no order
    run = world.run(MANIFEST_SIGNING_KEY_FILE=str(key.private))
    assert run.code == 0, run.output
    return run


def commands(world: World, folder: Path) -> dict[str, tuple[str, ...]]:
    today = world.key("").rstrip("/").rpartition("/")[2]
    return {
        "list": ("list", "--date", "latest"),
        "check": ("check",),
        "diff": ("diff", today, "latest"),
        "fetch": ("fetch", "--all", "--into", str(folder / "fetched")),
        "verify": ("verify", "--all"),
        "push": ("push", "--all", "--url", f"file://{folder}/pushed/{{owner}}/{{name}}.git", "--dry-run"),
    }


def newest(world: World, *trusted: Path) -> str:
    """Return the run that `check` takes."""
    done = world.restore("check", "--json", *(word for path in trusted for word in ("--trusted-key", str(path))))
    assert done.code == 0, done.stderr
    return str(json_of(done.stdout)["run"])


def json_of(text: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(text)
    return found


def test_commands_take_the_newest_run_that_a_trusted_key_signed(
    world: World, tmp_path: Path, new_key: Callable[[str], Key]
) -> None:
    """Two keys in turn; then a run that somebody adds, with the signature of another one; then an altered manifest."""
    world.add("api")
    old, new, third = new_key("old"), new_key("new"), new_key("third")
    first, second = signed_run(world, old), signed_run(world, new)
    ids = [str((run.manifest or {})["run_id"]) for run in (first, second)]
    both = tmp_path / "both.pub.pem"
    both.write_bytes(new.public.read_bytes() + old.public.read_bytes())
    assert len(PUBLIC_KEY.findall(both.read_bytes())) == 2
    assert newest(world, both) == newest(world, old.public, new.public) == ids[1]
    assert newest(world, old.public) == ids[0]

    forged, _ = put_copy(world, second, "ffffffff")
    client = world.stack.s3.client()
    signature = stored(world, f"{key_of(second)}.sig")
    client.put_object(Bucket=world.bucket, Key=world.key(f"runs/{forged}.json.sig"), Body=signature)
    assert newest(world) == forged, "nobody looks without a key"
    assert newest(world, both) == ids[1]
    git("init", "--quiet", "--bare", str(tmp_path / "pushed/acme/api.git"))
    for name, command in commands(world, tmp_path).items():
        done = world.restore(*command, "--trusted-key", str(both))
        assert done.code == 0, done.stderr
        if name == "verify":
            chain = json_of(done.stdout)["chain"]
            assert (chain["runs"], sorted(chain["signed_by"].values()), chain["signed_by"]["none"]) == (3, [1, 1, 1], 1)
            assert chain["findings"] == [line["finding"] for line in done.named("chain of manifests")]
            assert any(forged in finding for finding in chain["findings"])
        else:
            assert forged not in done.stdout, name
        assert not done.named("signatures not checked: name the key that you trust with --trusted-key"), name
        done = world.restore(*command, "--trusted-key", str(third.public))
        assert done.code == 1, name
        assert "is not signed by a key that --trusted-key names" in done.stderr, name
    listed = world.restore("list", "--runs", "--json", "--trusted-key", str(both))
    assert listed.code == 1, "the forged one is named"
    assert forged in listed.stderr
    unchecked = world.restore("verify", "--all")
    assert unchecked.named("signatures not checked: name the key that you trust with --trusted-key")
    assert json_of(unchecked.stdout)["signature_checked"] is False

    altered = stored(world, key_of(second)).replace(b'"main"', b'"evil"')
    client.put_object(Bucket=world.bucket, Key=key_of(second), Body=altered)
    assert newest(world, both) == ids[0]
    client.delete_object(Bucket=world.bucket, Key=f"{key_of(first)}.sig")
    assert newest(world, both) == ids[0], "its last version, as of a manifest that somebody deleted"


def test_a_key_that_is_gone_from_kms_is_named_and_its_public_key_still_checks(world: World, tmp_path: Path) -> None:
    world.add("api")
    arn = world.stack.aws.new_signing_key()
    world.variables["MANIFEST_SIGNING_KEY_ARN"] = arn
    signed = world.run()
    assert signed.code == 0, signed.output
    kms = world.stack.aws.kms()
    der = tmp_path / "key.der"
    der.write_bytes(kms.get_public_key(KeyId=arn)["PublicKey"])
    public = tmp_path / "key.pub.pem"
    assert openssl("pkey", "-pubin", "-inform", "der", "-in", der, "-out", public).returncode == 0
    assert world.restore("check", "--trusted-key", arn).code == 0

    # KMS answers the same of a key that was deleted.
    time.sleep(1 - time.time() % 1)
    unsigned = world.run(MANIFEST_SIGNING_KEY_ARN=UNKNOWN_KEY)
    assert unsigned.code == 1
    assert unsigned.repos["acme/api"]["status"] == "unchanged", "everything is stored all the same"
    (line,) = unsigned.named("manifest not signed")
    assert UNKNOWN_KEY in line["error"]
    done = world.restore("check", "--trusted-key", UNKNOWN_KEY)
    assert done.code == 1
    assert f"the public key of {UNKNOWN_KEY} can't be read" in done.problems[0]
    assert newest(world, public) == (signed.manifest or {})["run_id"]
