"""Everything that git does for a run. `Git.run` is the only place that starts a process."""

import contextlib
import copy
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

from requests.structures import CaseInsensitiveDict

from github_s3_backup.retry import RetryableError, wait_told
from github_s3_backup.stop import Stop, end

ASKPASS = Path(__file__).with_name("askpass.sh")
# What git may take over from the environment; everything else of the machine stays outside.
PASSED_ON = ("PATH", "HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY", "https_proxy", "http_proxy", "no_proxy")
# A transfer slower than 1 byte/s for this long has died without a word. Seconds.
SILENCE = 120
SETTINGS = (
    "credential.helper=",
    # git would send the token on to wherever the server points; a renamed repository is looked up instead.
    "http.followRedirects=false",
    # In a trace of HTTP/2 not every version of git and curl hides the credentials.
    "http.version=HTTP/1.1",
    "http.lowSpeedLimit=1",
    f"http.lowSpeedTime={SILENCE}",
    # Where the remote's HEAD is unborn, ours must not come alive by pointing at some branch by chance.
    "init.defaultBranch=HEAD-of-the-remote-is-unborn",
    "gc.auto=0",
    "maintenance.auto=false",
    "core.fsync=none",
    # Larger blobs pass through index-pack without being held in memory whole. git's own value is 512m.
    "core.bigFileThreshold=16m",
)
# Version 2 asks for the refs in a request of its own, which saves nothing where every ref is wanted. What arrives stays
# the one pack that it is, however small: a bundle is made of it (see bundle.py).
MIRROR_SETTINGS = ("-c", "protocol.version=0", "-c", "fetch.unpackLimit=1")
MIRROR = (*MIRROR_SETTINGS, "clone", "--mirror", "--quiet", "--template=")
LONGEST_ERROR = 2000
# What is read at once of what git writes.
BLOCK_SIZE = 1024**2
# The niceness of git processes that give way to others.
GIVING_WAY = 10
# git replaces credentials in a trace by <redacted>.
TRACE_HEADERS_ONLY = {"GIT_TRACE_CURL_NO_DATA": "1", "GIT_TRACE_REDACT": "1"}


class GitError(RetryableError):
    """git ended with an error; the text is what it wrote to stderr, `lines` the whole of it."""

    def __init__(self, text: str, returncode: int = 0, lines: tuple[str, ...] = ()) -> None:
        super().__init__(text)
        self.returncode, self.lines = returncode, lines
        self.unauthorized = bool(
            re.search(r"Authentication failed|error: 401|could not read (Username|Password)", text)
        )
        self.disk_full = bool(re.search(r"No space left on device|Out of diskspace|Disk quota exceeded", text))


def _in_gits_words(command: str, returncode: int, stderr: str) -> GitError:
    lines = tuple(line.strip() for line in re.split(r"[\r\n]+", stderr) if line.strip())
    words = "; ".join(lines)[-LONGEST_ERROR:] or "no error text"
    if returncode < 0 or "signal 9" in words:
        words += " (killed: out of memory? raise the module's task_memory)"
    return GitError(f"git {command} ended with {returncode}: {words}", returncode, lines)


# A ref's full name (or HEAD) and the object id it points at, both as git prints them.
Refs = dict[bytes, bytes]


def fingerprint(refs: Refs) -> str:
    """Return the SHA-256 (hex) of the sorted lines `<oid> <ref>\\n`: the manifest's refs_sha256."""
    lines = sorted(oid + b" " + name + b"\n" for name, oid in refs.items())
    return hashlib.sha256(b"".join(lines)).hexdigest()


def count(refs: Refs) -> int:
    """Return the number of refs, HEAD not counted."""
    return len(refs) - (b"HEAD" in refs)


def parse_refs(lines: bytes) -> Refs:
    """Return the refs from lines `<oid> <ref>`."""
    pairs = (line.split(b" ", 1) for line in lines.splitlines())
    return {name: oid for oid, name in pairs}


@dataclass(frozen=True)
class Mirror:
    """A bare clone with every ref that the server serves."""

    path: Path
    refs: Refs
    object_format: str


def _last_answer(trace: Path) -> tuple[int, CaseInsensitiveDict[str]]:
    """Return status and headers of the last HTTP answer in a trace; status 0 where there is none."""
    status, headers = 0, CaseInsensitiveDict[str]()
    text = trace.read_text(errors="replace") if trace.exists() else ""
    for line in re.findall(r"<= Recv header: (.*)", text):
        if found := re.match(r"HTTP/[\d.]+ (\d+)", line):
            status, headers = int(found[1]), CaseInsensitiveDict()
        elif ":" in line:
            name, _, value = line.partition(":")
            headers[name.strip()] = value.strip()
    return status, headers


class Git:
    """git, shut off from the machine's configuration, and from every host but the configured one."""

    def __init__(self, scratch: Path, server_url: str, stop: Stop, *more_protocols: str) -> None:
        self._stop, self._niceness = stop, 0
        self._server = urlsplit(server_url)
        self._home = scratch / "home"
        self._home.mkdir()
        self._environment = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
        self._environment |= {
            "HOME": str(self._home),
            "TMPDIR": str(scratch),
            "LC_ALL": "C",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_ASKPASS": str(ASKPASS),
            "GIT_ALLOW_PROTOCOL": ":".join((self._server.scheme, *more_protocols)),
        }
        if os.environ.get("SSL_CERT_FILE"):  # a GitHub Enterprise Server with a certificate of its own
            self._environment["GIT_SSL_CAINFO"] = os.environ["SSL_CERT_FILE"]

    def giving_way(self) -> "Git":
        """Return the same git, whose processes leave the CPU to others that want it."""
        other = copy.copy(self)
        other._niceness = GIVING_WAY
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
    ) -> bytes:
        """Run git to its end and return its standard output.

        `token` is offered to the configured server if it asks. The file `trace` gets the HTTP headers, without
        credentials. Raises GitError, and Stopped when the run was stopped meanwhile: then git and its children
        are gone.
        """
        traced = {"GIT_TRACE_CURL": str(trace), **TRACE_HEADERS_ONLY} if trace else {}
        with (
            self._offering(token) as offer,
            self._started(arguments, subprocess.PIPE, offer | traced, with_input=bool(stdin)) as process,
        ):
            output, errors = process.communicate(stdin or None)
        self._judge(process, arguments, errors)
        return output

    def _stream(self, *arguments: str) -> Generator[bytes, None, None]:
        """Run git and yield its standard output in blocks; close the generator to end git early. Raises as `run`."""
        with (
            tempfile.TemporaryFile(dir=self._home) as errors,
            self._started(arguments, errors, {}) as process,
        ):
            output = process.stdout
            assert output
            try:
                yield from iter(lambda: output.read(BLOCK_SIZE), b"")
                process.wait()
            finally:
                end(process)
                output.close()
            errors.seek(0)
            self._judge(process, arguments, errors.read())

    @contextlib.contextmanager
    def _started(
        self,
        arguments: tuple[str, ...],
        stderr: int | IO[bytes],
        environment: dict[str, str],
        with_input: bool = False,
    ) -> Iterator["subprocess.Popen[bytes]"]:
        """Start git for this block; a run that is stopped meanwhile ends it."""
        settings = [part for setting in SETTINGS for part in ("-c", setting)]
        process = subprocess.Popen(
            ["git", *settings, *arguments],
            stdin=subprocess.PIPE if with_input else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
            env=self._environment | environment,
            cwd=self._home,
            start_new_session=True,
        )
        if self._niceness:
            with contextlib.suppress(ProcessLookupError):
                os.setpriority(os.PRIO_PGRP, process.pid, self._niceness)
        with self._stop.ending(process):
            yield process

    def _judge(self, process: "subprocess.Popen[bytes]", arguments: tuple[str, ...], errors: bytes) -> None:
        """Raise Stopped or GitError where git did not end well."""
        self._stop.check()
        if process.returncode != 0:
            command = next(a for a in arguments if not a.startswith("-") and "/" not in a and "=" not in a)
            raise _in_gits_words(command, process.returncode, errors.decode(errors="replace"))

    def talk(self, *arguments: str, token: str | None, trace: Path) -> bytes:
        """Run git against the server, as `run` does; a GitError holds how long the server wants us to wait."""
        trace.unlink(missing_ok=True)
        try:
            return self.run(*arguments, token=token, trace=trace)
        except GitError as error:
            error.wait, error.told_by = wait_told(*_last_answer(trace))
            raise

    @contextlib.contextmanager
    def _offering(self, token: str | None) -> Iterator[dict[str, str]]:
        """Yield the environment through which askpass.sh finds the token, for one git command."""
        if token is None:
            yield {}
            return
        fifo = self._home / f"askpass-{os.urandom(8).hex()}"
        os.mkfifo(fifo, 0o600)
        # Open for reading too, so that neither side waits for the other. The kernel holds the line.
        end = os.open(fifo, os.O_RDWR | os.O_NONBLOCK)
        try:
            os.write(end, f"{token}\n".encode())
            scheme, host = self._server.scheme, self._server.netloc
            yield {
                "ASKPASS_FIFO": str(fifo),
                "ASKPASS_SERVER": f"{scheme}://{host}",
                "ASKPASS_LOGIN": f"{scheme}://x-access-token@{host}",
            }
        finally:
            os.close(end)
            fifo.unlink()

    def mirror(self, url: str, path: Path, token: str) -> Mirror:
        """Clone every ref of `url` into the new bare repository `path`.

        A repository without commits gives a mirror without refs. Raises GitError.
        """
        shutil.rmtree(path, ignore_errors=True)  # what a try before this one may have left
        self.talk(*MIRROR, "--", url, str(path), token=token, trace=path.with_suffix(".trace"))
        at = f"--git-dir={path}"
        refs = parse_refs(self.run(at, "for-each-ref", "--format=%(objectname) %(refname)"))
        with contextlib.suppress(GitError):  # it ends with 128 where HEAD does not resolve
            refs |= parse_refs(self.run(at, "show-ref", "--verify", "HEAD"))
        object_format = self.run(at, "rev-parse", "--show-object-format").decode().strip()
        return Mirror(path, refs, object_format)

    def bundle(self, mirror: Mirror) -> Generator[bytes, None, None]:
        """Yield the bundle of all refs of the mirror. Raises GitError."""
        return self._stream(f"--git-dir={mirror.path}", "bundle", "create", "--quiet", "-", "--all")

    def pack(self, mirror: Mirror) -> Generator[bytes, None, None]:
        """Yield one pack with every object that a ref of the mirror reaches. Raises GitError."""
        arguments = ("pack-objects", "--quiet", "--all", "--delta-base-offset", "--stdout")
        return self._stream(f"--git-dir={mirror.path}", *arguments)
