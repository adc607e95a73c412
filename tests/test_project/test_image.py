"""The Dockerfile and the task definitions agree. `make test-image` builds and runs the image; this is quick."""

import re

from image.base import DOCKERFILE, argument
from image.engine import ABOUT_RUNNING, CONTEXT, NOT_ABOUT_RUNNING
from terraform.module import Applied

TASKS = ("backup", "drill")


def instruction(name: str) -> str:
    """Return the last value of an instruction in the Dockerfile."""
    values: list[str] = re.findall(rf"^{name} (.+)$", DOCKERFILE, re.MULTILINE)
    return values[-1]


def test_the_tasks_run_as_the_images_user_and_mount_its_only_writable_folder(drilled: Applied) -> None:
    user, volume = instruction("USER"), instruction("VOLUME")
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", user), "numeric, and not root"
    assert f"mkdir --mode 0700 {volume}" in DOCKERFILE
    assert f"chown {user} {volume}" in DOCKERFILE
    for task in TASKS:
        container = drilled.container(task)
        assert container["user"] == user
        assert [mount["containerPath"] for mount in container["mountPoints"]] == [volume]
        assert drilled.environment(task)["TMPDIR"] == volume


def test_the_tasks_leave_the_entry_point_to_the_image(drilled: Applied) -> None:
    assert instruction("ENTRYPOINT") == '["python3", "/app/backup.py"]'
    assert instruction("WORKDIR") == "/app"
    assert "COPY backup.py restore.py ./" in DOCKERFILE
    for task in TASKS:
        assert "entryPoint" not in drilled.container(task)


def test_the_image_is_proven_with_everything_that_a_task_definition_says(drilled: Applied) -> None:
    for task in TASKS:
        container = drilled.container(task)
        assert container.keys() <= ABOUT_RUNNING | NOT_ABOUT_RUNNING
        assert container["linuxParameters"].keys() == {"capabilities", "initProcessEnabled"}
        assert container["linuxParameters"]["capabilities"].keys() == {"drop"}


def test_the_base_has_a_place_for_its_digest() -> None:
    assert argument("BASE").startswith("docker.io/library/python:3.")
    assert re.fullmatch(r"(sha256:[0-9a-f]{64})?", argument("BASE_DIGEST"))
    assert set(re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)) == {"${BASE}${BASE_DIGEST:+@}${BASE_DIGEST}"}


def test_only_what_runs_is_copied_into_the_image() -> None:
    ignored = (CONTEXT / ".dockerignore").read_text().splitlines()
    assert "**/__pycache__" in ignored
    for path in CONTEXT.glob("*.py"):
        assert path.name in DOCKERFILE
