"""The image's base: the real one where its registry is in reach, else a stand-in made from Debian's packages."""

import re
import shutil
import subprocess
from pathlib import Path

from embedded.stack import PROJECT
from image.engine import CONTEXT, Engine

DOCKERFILE = (CONTEXT / "Dockerfile").read_text()
REAL, STAND_IN = "the real base", "a STAND-IN for the base, made from Debian's packages: its size and Python differ"
LABEL = "stand-in"
CACHE = PROJECT / "build" / "image"


def argument(name: str) -> str:
    """Return the default of an argument of the Dockerfile."""
    found = re.search(rf"^ARG {name}=(.*)$", DOCKERFILE, re.MULTILINE)
    assert found, name
    return found[1]


def provide_base(engine: Engine) -> tuple[str, list[str]] | None:
    """Have the base on this machine; return what it is, and the build options that go with it, None where it can't."""
    base, digest = argument("BASE"), argument("BASE_DIGEST")
    real = f"{base}@{digest}" if digest else base
    if engine.ask("pull", "--quiet", real):
        return REAL, []
    if not engine.ask("image", "inspect", "--format", f'{{{{index .Config.Labels "{LABEL}"}}}}', base):
        if not shutil.which("mmdebstrap"):
            return None
        _import(engine, base)
    return STAND_IN, ["--build-arg", "BASE_DIGEST="]


def _import(engine: Engine, base: str) -> None:
    CACHE.mkdir(parents=True, exist_ok=True)
    suite = base.rsplit("-", 1)[1]
    packages = _debootstrap(suite, CACHE / f"{suite}.tar")
    engine.tell("import", "--change", f"LABEL {LABEL}=true", "--change", "ENV PATH=/usr/bin:/bin", str(packages), base)


def _debootstrap(suite: str, archive: Path) -> Path:
    """Make a root file system with Python of a Debian suite, once."""
    if not archive.exists():
        partial = archive.with_suffix(".partial.tar")
        command = ["mmdebstrap", "--quiet", "--variant=minbase", "--include=ca-certificates,python3,python3-pip"]
        subprocess.run([*command, suite, str(partial)], check=True)
        partial.rename(archive)
    return archive
