"""Docker or Podman: the engine that builds the image and runs it as Fargate would."""

import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from embedded.stack import PROJECT

CONTEXT = PROJECT / "container"
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
# What of a container definition is about more than how the container runs.
NOT_ABOUT_RUNNING = {"essential", "image", "logConfiguration", "name", "stopTimeout"}
ABOUT_RUNNING = {
    *("command", "entryPoint", "environment", "linuxParameters"),
    *("memory", "mountPoints", "readonlyRootFilesystem", "user"),
}
# Where the machine lets nobody raise a limit, an engine's defaults can't be set; these are lower than any.
LOW_LIMITS = ("--ulimit", "nofile=1024:4096", "--ulimit", "nproc=4096:4096")
NO_CGROUP = ("--cgroups", "disabled")


@dataclass(frozen=True)
class Container:
    """A container that runs; `command` is how it was started."""

    name: str
    engine: "Engine"

    def pid(self) -> int:
        """Return the process id of its init process on this machine, 0 before it runs."""
        told = self.engine.ask("inspect", "--format", "{{.State.Pid}}", self.name)
        return int(told) if told.isdecimal() else 0

    def kill(self, signal: str) -> None:
        """Send a signal to its init process."""
        self.engine.tell("kill", "--signal", signal, self.name)


@dataclass(frozen=True)
class Engine:
    """An engine, and the options with which it can run a container on this machine."""

    program: str
    globals: tuple[str, ...] = ()
    options: tuple[str, ...] = ()

    @property
    def limits_memory(self) -> bool:
        return not set(NO_CGROUP) <= set(self.options)

    def ask(self, *arguments: str) -> str:
        """Run a command of the engine and return what it prints, nothing where it fails."""
        done = subprocess.run([self.program, *arguments], capture_output=True, text=True, check=False)
        return done.stdout.strip() if done.returncode == 0 else ""

    def tell(self, *arguments: str) -> str:
        """Run a command of the engine that must succeed, and return what it prints."""
        done = subprocess.run([self.program, *arguments], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def build(self, image: str, *options: str) -> None:
        """Build the image."""
        with tempfile.TemporaryDirectory() as folder:
            command = [str(CONTEXT / "build.sh"), image, *self._build_options(Path(folder)), *options]
            done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        assert done.returncode == 0, done.stdout

    def _build_options(self, folder: Path) -> list[str]:
        """Return what a build needs on a machine where containers may not have all that they usually have."""
        if self.program == "docker":
            return ["--network", "host"]
        options = ["--isolation", "chroot", "--network", "host", "--pull=never"]
        if CERTIFICATES.exists():  # the machine's own, as there may be a proxy in front of the package index
            shutil.copy(CERTIFICATES, folder)
            options += ["--volume", f"{folder}:{CERTIFICATES.parent}"]
        return options

    def command(self, definition: Mapping[str, Any], volume: str, name: str, image: str, variables: Path) -> list[str]:
        """Return the command that runs a container definition of ECS as Fargate does; variables are in a file."""
        parameters = definition["linuxParameters"]
        options = ["--network", "host", "--user", definition["user"], "--env-file", str(variables)]
        options += [f"--cap-drop={capability}" for capability in parameters["capabilities"]["drop"]]
        options += ["--init"] if parameters["initProcessEnabled"] else []
        options += self._read_only() if definition["readonlyRootFilesystem"] else []
        options += ["--memory", f"{definition['memory']}m"] if self.limits_memory else []
        for mount in definition["mountPoints"]:
            options += ["--volume", f"{volume}:{mount['containerPath']}{':ro' if mount['readOnly'] else ''}"]
        entry, *first = definition.get("entryPoint", []) or [""]
        options += ["--entrypoint", entry] if entry else []
        run = [self.program, *self.globals, "run", "--rm", "--name", name, *self.options]
        return [*run, *options, image, *first, *definition.get("command", [])]

    def _read_only(self) -> list[str]:
        # Podman puts writable folders into a read-only container, and a user into its /etc/passwd; Fargate does not.
        return ["--read-only", *(["--read-only-tmpfs=false", "--passwd=false"] if self.program == "podman" else [])]

    def size(self, image: str) -> int:
        """Return the bytes of the image's layers, not compressed."""
        return int(self.tell("image", "inspect", "--format", "{{.Size}}", image))

    def configuration(self, image: str) -> dict[str, Any]:
        """Return the image's configuration: user, labels, volumes, entry point."""
        configuration: dict[str, Any] = json.loads(self.tell("image", "inspect", image))[0]["Config"]
        return configuration


def find_engine() -> Engine | None:
    """Return Docker where its daemon answers, else Podman where it is installed."""
    if shutil.which("docker") and Engine("docker").ask("info", "--format", "{{.ID}}"):
        return Engine("docker")
    return Engine("podman") if shutil.which("podman") else None


def find_options(engine: Engine, image: str) -> tuple[Engine | None, str]:
    """Return the engine with options under which it runs containers here, with a memory limit where it can.

    Where it runs none: None, and what the engine said.
    """
    said = "neither crun nor runc is installed"
    for candidate in _candidates(engine):
        options = (*candidate.options, *(["--memory", "2048m"] if candidate.limits_memory else []), "--init")
        command = [candidate.program, *candidate.globals, "run", "--rm", *options, image, "--version"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode == 0:
            return candidate, ""
        said = done.stderr
    return None, said


def _candidates(engine: Engine) -> Iterable[Engine]:
    if engine.program == "docker":
        yield engine
        return
    runtimes = [("--runtime", name) for name in ("crun", "runc") if shutil.which(name)]
    for extra in ((), NO_CGROUP):
        for limits in ((), LOW_LIMITS):
            for runtime in runtimes:
                yield Engine(engine.program, runtime, (*limits, *extra))
