"""The loop that the benchmark compares with: list, then clone, bundle, upload, one after another.

What one writes first from a description of the job: no concurrency, no proof, no retries.
"""

import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import boto3
import jwt
import requests

API = os.environ["GITHUB_API_URL"]
ASKPASS = "#!/bin/sh\ncase $1 in Username*) echo x-access-token ;; *) echo $TOKEN ;; esac\n"


def github(method: str, path: str, credential: str) -> requests.Response:
    """Send one request to the API."""
    answer = requests.request(method, f"{API}{path}", headers={"Authorization": f"Bearer {credential}"}, timeout=60)
    answer.raise_for_status()
    return answer


def main() -> None:
    """Back up every repository of every installation."""
    key = Path(os.environ["GITHUB_APP_KEY_FILE"]).read_text()
    now = int(time.time())
    app = jwt.encode({"iat": now - 60, "exp": now + 540, "iss": os.environ["GITHUB_APP_ID"]}, key, "RS256")
    s3 = boto3.client("s3", region_name=os.environ["AWS_REGION"])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        askpass = folder / "askpass"
        askpass.write_text(ASKPASS)
        askpass.chmod(0o700)
        for installation in github("GET", "/app/installations", app).json():
            token = github("POST", f"/app/installations/{installation['id']}/access_tokens", app).json()["token"]
            environment = os.environ | {"GIT_ASKPASS": str(askpass), "TOKEN": token}
            listing = github("GET", "/installation/repositories?per_page=100", token).json()
            for repository in listing["repositories"]:
                back_up(repository, folder, environment, s3)


def back_up(repository: dict[str, str], folder: Path, environment: dict[str, str], s3: object) -> None:
    """Clone, bundle and upload one repository."""
    mirror, bundle = folder / "mirror.git", folder / "bundle"
    url = f"{os.environ['GITHUB_SERVER_URL']}/{repository['full_name']}.git"
    subprocess.run(["git", "clone", "--quiet", "--mirror", url, mirror], env=environment, check=True)
    subprocess.run(["git", f"--git-dir={mirror}", "bundle", "create", "--quiet", bundle, "--all"], check=True)
    key = f"github-backup/today/{repository['full_name']}.bundle"
    s3.upload_file(str(bundle), os.environ["S3_BUCKET"], key)  # type: ignore[attr-defined]
    shutil.rmtree(mirror)
    bundle.unlink()


if __name__ == "__main__":
    main()
