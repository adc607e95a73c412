"""Each run's manifest names the one before it and is signed, and stock openssl proves that."""

import hashlib
import json
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key

from embedded.stack import PROJECT
from support.world import Run, World
from test_backup.test_tasks import Tasks

UNKNOWN_KEY = "arn:aws:kms:eu-central-1:123456789012:key/00000000-0000-0000-0000-000000000000"


def documented(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the check that the docs show and that begins with this command."""
    (line,) = [line for line in (PROJECT / "docs" / "signing.md").read_text().splitlines() if line.startswith(command)]
    return subprocess.run(line.split(), cwd=folder, capture_output=True, text=True, check=False)


def openssl(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["openssl", *map(str, arguments)], capture_output=True, text=True, check=False)


def stored(world: World, key: str) -> bytes:
    return world.stack.s3.client().get_object(Bucket=world.bucket, Key=key)["Body"].read()


def key_of(run: Run) -> str:
    assert run.manifest is not None, run.output
    return f"github-backup/{run.manifest['date']}/runs/{run.manifest['run_id']}.json"


def named(world: World, *runs: Run) -> set[tuple[str, str]]:
    """Return the runs' ids, and the SHA-256 of their manifests as they are stored."""
    return {(str(run.manifest and run.manifest["run_id"]), _sha256(stored(world, key_of(run)))) for run in runs}


def previous(run: Run) -> set[tuple[str, str]]:
    assert run.manifest is not None, run.output
    return {(item["run_id"], item["sha256"]) for item in run.manifest["previous"]}


def _sha256(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def put_copy(world: World, run: Run, suffix: str, **changes: Any) -> tuple[str, str]:
    """Write a manifest that nobody has signed, as if by a run that began late today; return its id and SHA-256."""
    run_id = f"{datetime.now(UTC):%Y%m%d}T235959Z-{suffix}"
    body = json.dumps((run.manifest or {}) | {"run_id": run_id} | changes).encode()
    world.stack.s3.client().put_object(Bucket=world.bucket, Key=world.key(f"runs/{run_id}.json"), Body=body)
    return run_id, _sha256(body)


def download(world: World, run: Run, folder: Path) -> Path:
    """Download a run's manifest and its signature, and return the manifest."""
    manifest = folder / "manifest.json"
    manifest.write_bytes(stored(world, key_of(run)))
    (folder / "manifest.json.sig").write_bytes(stored(world, f"{key_of(run)}.sig"))
    return manifest


def test_runs_are_chained_and_signed_by_a_key_in_kms(world: World, tmp_path: Path) -> None:
    """Unsigned first, then signed; two runs at once; a run that somebody added; a key that is gone."""
    world.add("api")
    unsigned = world.run()
    assert (unsigned.code, previous(unsigned)) == (0, set())
    assert unsigned.manifest
    assert unsigned.manifest["signing_key"] is None
    assert not [key for key in world.stored_keys() if key.endswith(".sig")]

    arn = world.stack.aws.new_signing_key()
    world.variables["MANIFEST_SIGNING_KEY_ARN"] = arn
    signed = world.run()
    assert signed.code == 0, signed.output
    assert previous(signed) == named(world, unsigned)
    der = world.stack.aws.kms().get_public_key(KeyId=arn)["PublicKey"]
    assert signed.manifest
    assert signed.manifest["signing_key"] == _sha256(der)
    public = tmp_path / "signing-key.pub.pem"
    public.write_bytes(load_der_public_key(der).public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    manifest = download(world, signed, tmp_path)
    assert documented("openssl dgst", tmp_path).stdout == "Verified OK\n"
    manifest.write_bytes(manifest.read_bytes().replace(b'"main"', b'"evil"'))
    assert documented("openssl dgst", tmp_path).returncode == 1

    forged = put_copy(world, signed, "ffffffff")
    run = world.run()
    (line,) = run.named("manifest damaged, comparing with an older one")
    assert forged[0] in line["error"]
    assert "is not signed" in line["error"]
    assert (run.code, run.repos["acme/api"]["status"]) == (1, "unchanged")
    assert previous(run) == {forged, *named(world, signed)}, "both heads"

    failed = world.run(MANIFEST_SIGNING_KEY_ARN=UNKNOWN_KEY, SERVICE_NAME=f"{world.service}-gone")
    (line,) = failed.named("manifest not signed")
    assert UNKNOWN_KEY in line["error"]
    assert failed.code == 1
    assert failed.manifest
    assert failed.manifest["failures"] == []
    assert world.stack.aws.metrics(f"{world.service}-gone")["BackupFailure"] == [1]


def test_a_run_in_several_tasks_is_signed_by_a_local_key_and_a_second_merge_signs_what_is_not(
    world: World, tmp_path: Path
) -> None:
    world.add("api")
    private, public = tmp_path / "signing-key.pem", tmp_path / "signing-key.pub.pem"
    assert openssl("genpkey", "-algorithm", "ed25519", "-out", private).returncode == 0
    assert openssl("pkey", "-in", private, "-pubout", "-out", public).returncode == 0
    first = world.run()
    world.variables["MANIFEST_SIGNING_KEY_FILE"] = str(private)
    tasks = Tasks(world, RUN_SHARDS="1")
    merged = tasks.do_all()
    assert merged.code == 0, merged.output
    assert previous(merged) == named(world, first)
    download(world, merged, tmp_path)
    assert documented("openssl pkeyutl", tmp_path).stdout == "Signature Verified Successfully\n"

    forged = put_copy(world, merged, "ffffffff", signing_key=None)
    runs = json.loads(world.restore("list", "acme/api", "--json").stdout)
    assert runs
    trusting = ("--trusted-key", str(public), "--json")
    done = world.restore("check", *trusting)
    assert (merged.manifest or {})["run_id"] in done.stdout, "not the newer one, which is not signed"
    done = world.restore("list", "--run", forged[0], "--date", f"{datetime.now(UTC):%Y-%m-%d}", *trusting)
    assert done.code == 1
    assert "is not signed by a key that --trusted-key names" in done.problems[0]
    assert world.restore("list", "--trusted-key", str(private)).problems, "not a public key"

    before = stored(world, f"{key_of(merged)}.sig")
    world.stack.s3.client().delete_object(Bucket=world.bucket, Key=f"{key_of(merged)}.sig")
    assert tasks.do("merge").code == 0
    assert stored(world, f"{key_of(merged)}.sig") == before
    assert private.read_text().splitlines()[1] not in merged.output


def test_a_signing_key_that_is_none_keeps_a_run_from_starting(world: World, tmp_path: Path) -> None:
    world.add("api")
    key = tmp_path / "key.pem"
    assert openssl("genpkey", "-algorithm", "rsa", "-out", key).returncode == 0
    run = world.run(MANIFEST_SIGNING_KEY_FILE=str(key))
    assert run.code == 2
    (problem,) = run.problems
    assert f"{key} does not hold an Ed25519 private key" in problem
    run = world.run(MANIFEST_SIGNING_KEY_ARN="key/1", MANIFEST_SIGNING_KEY_FILE="/nowhere")
    beginnings = ["set", "MANIFEST_SIGNING_KEY_ARN", "MANIFEST_SIGNING_KEY_FILE"]
    assert [problem.split()[0] for problem in run.problems] == beginnings
