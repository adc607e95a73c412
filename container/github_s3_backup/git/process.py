"""git as a process. Nothing else in this program starts one."""

import contextlib
import copy
import os
import re
import subprocess
import tempfile
from collections.abc import Callable, Generator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

from requests.structures import CaseInsensitiveDict

from github_s3_backup.runtime.retry import PERMANENT, TRANSIENT, Retry, RetryableError, retry_after
from github_s3_backup.runtime.stop import Stop, kill

# The variable that names the file descriptor with the token, which git's children inherit.
ASKPASS_FD = "ASKPASS_FD"
ASKPASS = Path(__file__).with_name("askpass.sh")
# The environment variables that git inherits. It gets no others.
PROXIES = ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY")
INHERITED = ("PATH", *PROXIES, *(name.lower() for name in PROXIES))
# What it inherits too if the server is reached by ssh.
INHERITED_BY_SSH = ("SSH_AUTH_SOCK", "GIT_SSH_COMMAND")
# A transfer that averages less than this for so long is given up. Bytes per second, seconds.
MIN_SPEED, SLOW_SECONDS = 1000, 60
SETTINGS = (
    "credential.helper=",
    # git would send the token on to wherever the server points; a renamed repository is looked up instead.
    "http.followRedirects=false",
    # In a trace of HTTP/2 not every version of git and curl hides the credentials.
    "http.version=HTTP/1.1",
    f"http.lowSpeedLimit={MIN_SPEED}",
    f"http.lowSpeedTime={SLOW_SECONDS}",
    # If the remote's HEAD is unborn, ours must not point at an existing branch by chance.
    "init.defaultBranch=HEAD-of-the-remote-is-unborn",
    "gc.auto=0",
    "maintenance.auto=false",
    "core.fsync=none",
    # Larger blobs pass through index-pack without being held in memory whole. git's own value is 512m.
    "core.bigFileThreshold=16m",
)
# Send the token with the first request. Otherwise git asks a public repository anonymously, which GitHub throttles by
# address. git 2.46 and newer; older ones ignore it.
WITH_TOKEN = ("http.proactiveAuth=basic",)
MAX_ERROR_LENGTH = 2000
BLOCK_SIZE = 1024**2
# What the error of a process says that was killed at its deadline.
DEADLINE = "the deadline for this repository"
# The niceness of git processes with a low priority.
LOW_PRIORITY = 10
# How often a process with a deadline is looked at. Seconds.
LOOK_EVERY = 5.0
# git replaces credentials in a trace by <redacted>.
TRACE_HEADERS_ONLY = {"GIT_TRACE_CURL_NO_DATA": "1", "GIT_TRACE_REDACT": "1"}

# Returns the seconds after its start at which a process is killed.
Deadline = Callable[[], float]


class GitError(RetryableError):
    """git failed; the text is what it wrote to stderr, `lines` the whole of it."""

    def __init__(self, text: str, returncode: int = 0, lines: tuple[str, ...] = (), retry: Retry = TRANSIENT) -> None:
        super().__init__(text, retry)
        self.returncode, self.lines = returncode, lines

    @property
    def unauthorized(self) -> bool:
        return bool(re.search(r"Authentication failed|error: 401|could not read (Username|Password)", str(self)))

    @property
    def disk_full(self) -> bool:
        return bool(re.search(r"No space left on device|Out of diskspace|Disk quota exceeded", str(self)))

    @property
    def too_slow(self) -> bool:
        """Whether the server sent nothing for too long."""
        return "Operation too slow" in str(self)

    @property
    def timed_out(self) -> bool:
        """Whether more time might have helped."""
        return self.too_slow or DEADLINE in str(self)


class Git:
    """git, isolated from the machine's configuration and from every host but the configured one."""

    def __init__(self, scratch: Path, server_url: str, stop: Stop, *more_protocols: str) -> None:
        self._stop, self._niceness = stop, 0
        self._server = urlsplit(server_url)
        self._home = scratch / "home"
        self._home.mkdir()
        inherited = (*INHERITED, *INHERITED_BY_SSH) if self._server.scheme == "ssh" else INHERITED
        self._environment = {name: os.environ[name] for name in inherited if name in os.environ}
        self._environment |= {
            "HOME": str(self._home),
            "TMPDIR": str(scratch),
            "LC_ALL": "C",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_NO_REPLACE_OBJECTS": "1",
            "GIT_ASKPASS": str(ASKPASS),
            "GIT_ALLOW_PROTOCOL": ":".join((self._server.scheme, *more_protocols)),
        }
        if os.environ.get("SSL_CERT_FILE"):  # a GitHub Enterprise Server with a private CA
            self._environment["GIT_SSL_CAINFO"] = os.environ["SSL_CERT_FILE"]

    def with_low_priority(self) -> "Git":
        """Return the same git, whose processes leave the CPU to others."""
        other = copy.copy(self)
        other._niceness = LOW_PRIORITY
        return other

    def version(self) -> str:
        """Return git's version number."""
        return self.run("version").decode().removeprefix("git version ").strip()

    def run(
        self,
        *arguments: str,
        token: str | None = None,
        trace: Path | None = None,
        stdin: bytes = b"",
        deadline: Deadline | None = None,
    ) -> bytes:
        """Run git to its end and return its standard output.

        `token` is offered to the configured server if it asks. The file `trace` gets the HTTP headers, without
        credentials. git and its children are killed at the `deadline`, and when the run is stopped. Raises GitError and
        Stopped.
        """
        traced = {"GIT_TRACE_CURL": str(trace), **TRACE_HEADERS_ONLY} if trace else {}
        command = [part for setting in WITH_TOKEN for part in ("-c", setting)] if token else []
        source = subprocess.PIPE if stdin else subprocess.DEVNULL
        with (
            self._offer(token) as offer,
            self._start((*command, *arguments), subprocess.PIPE, offer | traced, source) as process,
        ):
            output, errors = self._communicate(process, arguments, stdin, deadline)
        self._check(process, arguments, errors)
        return output

    def _communicate(
        self, process: "subprocess.Popen[bytes]", arguments: tuple[str, ...], stdin: bytes, deadline: Deadline | None
    ) -> tuple[bytes, bytes]:
        """Return what a process writes until its end. Raises GitError at its deadline, which may move on meanwhile."""
        if deadline is None:
            return process.communicate(stdin or None)
        given, started = stdin or None, self._stop.now()
        while (left := deadline() - (self._stop.now() - started)) > 0:
            with contextlib.suppress(subprocess.TimeoutExpired):
                return process.communicate(given, min(left, LOOK_EVERY))
            given = None
        kill(process)
        after = f"git {_subcommand(arguments)} was killed after {self._stop.now() - started:.0f} s"
        raise GitError(f"{after}, {DEADLINE}", retry=PERMANENT)

    def run_remote(self, *arguments: str, token: str | None, trace: Path, deadline: Deadline | None = None) -> bytes:
        """Run git against the server, as `run` does; a GitError holds how long the server asks to wait."""
        trace.unlink(missing_ok=True)
        try:
            return self.run(*arguments, token=token, trace=trace, deadline=deadline)
        except GitError as error:
            if error.permanent:
                raise
            asked = retry_after(*_last_answer(trace), str(error))
            raise error.with_retry(replace(asked, permanent=False)) from None

    def stream(self, *arguments: str, stdin: IO[bytes] | None = None) -> Generator[bytes, None, None]:
        """Run git and yield its standard output in blocks; close the generator to end git early. Raises as `run`."""
        with (
            tempfile.TemporaryFile(dir=self._home) as errors,
            self._start(arguments, errors, {}, stdin or subprocess.DEVNULL) as process,
        ):
            output = process.stdout
            assert output
            try:
                yield from iter(lambda: output.read(BLOCK_SIZE), b"")
                process.wait()
            finally:
                kill(process)
                output.close()
            errors.seek(0)
            self._check(process, arguments, errors.read())

    @contextlib.contextmanager
    def _start(
        self,
        arguments: tuple[str, ...],
        stderr: int | IO[bytes],
        environment: dict[str, str],
        stdin: int | IO[bytes],
    ) -> Iterator["subprocess.Popen[bytes]"]:
        """Start git for this block; it is ended when the run is stopped meanwhile."""
        settings = [part for setting in SETTINGS for part in ("-c", setting)]
        process = subprocess.Popen(
            ["git", *settings, *arguments],
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=stderr,
            env=self._environment | environment,
            cwd=self._home,
            start_new_session=True,
            pass_fds=[int(environment[ASKPASS_FD])] if ASKPASS_FD in environment else (),
        )
        if self._niceness:
            with contextlib.suppress(ProcessLookupError):
                os.setpriority(os.PRIO_PGRP, process.pid, self._niceness)
        with self._stop.ending(process):
            yield process

    def _check(self, process: "subprocess.Popen[bytes]", arguments: tuple[str, ...], errors: bytes) -> None:
        """Raise Stopped or GitError unless git succeeded."""
        self._stop.check()
        if process.returncode != 0:
            raise _error(_subcommand(arguments), process.returncode, errors.decode(errors="replace"))

    @contextlib.contextmanager
    def _offer(self, token: str | None) -> Iterator[dict[str, str]]:
        """Yield the environment through which askpass.sh finds the token, for one git command."""
        if token is None:
            yield {}
            return
        # The kernel holds the line. With no writer left, nobody who reads can wait for ever.
        reader, writer = os.pipe()
        try:
            os.write(writer, f"{token}\n".encode())
            os.close(writer)
            scheme, host = self._server.scheme, self._server.netloc
            yield {
                ASKPASS_FD: str(reader),
                "ASKPASS_SERVER": f"{scheme}://{host}",
                "ASKPASS_LOGIN": f"{scheme}://x-access-token@{host}",
            }
        finally:
            os.close(reader)


def _subcommand(arguments: tuple[str, ...]) -> str:
    """Return git's subcommand: the first argument that is not an option, a setting or a path."""
    return next(a for a in arguments if not a.startswith("-") and "/" not in a and "=" not in a)


def _error(subcommand: str, returncode: int, stderr: str) -> GitError:
    """Return git's own words as an error."""
    lines = tuple(line.strip() for line in re.split(r"[\r\n]+", stderr) if line.strip())
    words = "; ".join(lines)[-MAX_ERROR_LENGTH:] or "no error text"
    if returncode < 0 or "signal 9" in words:
        words += " (killed: out of memory? raise the module's task_memory)"
    return GitError(f"git {subcommand} ended with {returncode}: {words}", returncode, lines)


def _last_answer(trace: Path) -> tuple[int, CaseInsensitiveDict[str]]:
    """Return status and headers of the last HTTP answer in a trace; status 0 without one."""
    status, headers = 0, CaseInsensitiveDict[str]()
    text = trace.read_text(errors="replace") if trace.exists() else ""
    for line in re.findall(r"<= Recv header: (.*)", text):
        if found := re.match(r"HTTP/[\d.]+ (\d+)", line):
            status, headers = int(found[1]), CaseInsensitiveDict()
        elif ":" in line:
            name, _, value = line.partition(":")
            headers[name.strip()] = value.strip()
    return status, headers
