"""The App's key and the tokens stay where they belong."""

import base64
import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import psutil
import pytest

from embedded.github import FakeGitHub, Fault
from embedded.programs import Process
from embedded.stack import PROJECT
from github_s3_backup.github.transport.rest import GitHubError
from github_s3_backup.runtime.redaction import Redactor
from support.world import World
from test_backup.test_listing import listing_of

ASKPASS = PROJECT / "container" / "github_s3_backup" / "git" / "askpass.sh"


@contextmanager
def listening_host() -> Iterator[tuple[str, list[str]]]:
    """Yield the URL of a foreign host and the Authorization headers that reach it."""
    seen: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append(self.headers.get("Authorization", ""))
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="evil"')
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield f"http://localhost:{server.server_port}", seen
    finally:
        server.shutdown()
        server.server_close()


# The processes that get nearest to the token.
CHILDREN = ("git-remote-http", "index-pack")


def watch(process: Process) -> dict[str, str]:
    """Return all argv and environment text of a run's children, by command, until the run ends."""
    seen: dict[str, str] = {}
    me = psutil.Process(process.pid)
    while process.poll() is None:
        for child in _children(me):
            try:
                argv, environment = child.cmdline(), child.environ()
            except psutil.Error:
                continue
            if argv[:1] != [sys.executable]:  # between fork and exec a child is still its parent's copy
                seen[" ".join(argv)] = json.dumps([argv, environment])
        time.sleep(0.01)
    return seen


def _children(process: psutil.Process) -> list[psutil.Process]:
    try:
        return process.children(recursive=True)
    except psutil.Error:
        return []


def test_no_child_has_a_secret_in_its_arguments_or_its_environment_and_one_protocol_is_allowed(world: World) -> None:
    for name in ("big-file", "api", "experiments"):  # a big one, so that index-pack lives long enough to be seen
        world.add(name)
    world.github.latency = 0.3
    seen: dict[str, str] = {}
    for _ in range(5):  # on a busy machine a child may come and go between two looks
        process = world.start(FULL_BACKUP_DAYS="1")
        seen |= watch(process)
        assert world.end(process).code == 0
        if all(any(name in command for command in seen) for name in CHILDREN):
            break
    assert all(any(name in command for command in seen) for name in CHILDREN), list(seen)
    for text in seen.values():
        world.check_no_secret(text)
        assert "PRIVATE KEY" not in text
        assert "AWS_SECRET_ACCESS_KEY" not in text
    # A server that leads git to another protocol gets nowhere: the child's environment allows one.
    clones = [json.loads(text)[1] for command, text in seen.items() if " clone " in command]
    assert {environment["GIT_ALLOW_PROTOCOL"] for environment in clones} == {"http"}
    assert {environment["GIT_TERMINAL_PROMPT"] for environment in clones} == {"0"}


def test_nothing_secret_is_on_the_disk_while_a_run_works(world: World) -> None:
    world.add("api")
    world.github.faults = [Fault(r"POST /acme/api\.git", status=0, delay=1, times=9)]
    process = world.start()
    names: set[str] = set()
    contents: list[str] = []
    while process.poll() is None:
        for folder, _, files in os.walk(world.scratch):
            names |= set(files)
            for path in (Path(folder, name) for name in files):
                with contextlib.suppress(OSError):
                    contents.append(path.read_text(errors="replace") if path.is_file() else "")
        time.sleep(0.01)
    assert world.end(process).code == 0
    for text in (*contents, *names):
        world.check_no_secret(text)


def test_an_api_redirect_to_another_host_does_not_carry_the_token(github: FakeGitHub) -> None:
    github.add("acme", "api", Path("/nowhere"))
    with listening_host() as (url, seen):
        github.faults = [Fault("GET .*/installation/repositories", status=302, headers={"Location": url}, times=9)]
        with pytest.raises(GitHubError, match="redirect"):
            listing_of(github)
    assert set(seen) <= {""}


def test_a_redirect_to_another_host_gets_no_token_and_an_echoed_one_is_not_written(world: World) -> None:
    for name in ("api", "fork", "public"):
        world.add(name)
    world.github.echo_token = True
    with listening_host() as (url, seen):
        world.github.faults = [
            Fault(r"GET /acme/public\.git", status=301, headers={"Location": url}, times=99),
            Fault(r"GET (/acme/fork\.git|.*/repositories/\d+)", status=403, message="echo", times=99),
        ]
        run = world.run()
    assert run.code == 1
    assert run.repos.keys() == {"acme/api"}
    assert run.failures.keys() == {"acme/fork", "acme/public"}
    assert seen == []
    world.check_no_secret(run.output)
    world.check_no_secret(json.dumps(run.manifest))
    assert "echoBearer ***" in run.failures["acme/fork"]["error"]


def test_askpass_answers_the_configured_server_only_and_waits_for_nobody() -> None:
    environment = {
        "PATH": os.environ["PATH"],
        "ASKPASS_SERVER": "https://github.com",
        "ASKPASS_LOGIN": "https://x-access-token@github.com",
    }

    def ask(prompt: str, said: bytes = b"ghs_token\n") -> str:
        reader, writer = os.pipe()
        os.write(writer, said)
        os.close(writer)
        told = environment | {"ASKPASS_FD": str(reader)}
        done = subprocess.run(
            [ASKPASS, prompt], env=told, pass_fds=[reader], capture_output=True, text=True, check=False
        )
        os.close(reader)
        return done.stdout

    assert ask("Username for 'https://github.com': ") == "x-access-token\n"
    assert ask("Password for 'https://x-access-token@github.com': ") == "ghs_token\n"
    for prompt in (
        "Username for 'https://github.com.evil.example': ",
        "Password for 'https://x-access-token@evil.example': ",
        "Password for 'https://x-access-token@github.com.evil.example': ",
        "Password for 'http://x-access-token@github.com': ",
        "Password for 'https://github.com': ",
    ):
        assert ask(prompt) == ""
    assert (
        ask("Password for 'https://x-access-token@github.com': ", b"") == ""
    )  # the run has ended, or it was asked before


def test_the_machines_git_configuration_netrc_and_helpers_are_not_used(world: World) -> None:
    world.add("api")
    home, evil = world.folder / "home", world.folder / "evil"
    home.mkdir()
    (home / ".netrc").write_text("machine 127.0.0.1 login somebody password else\n")
    helper = f"!f() {{ touch {evil}; echo username=a; echo password=b; }}; f"
    (home / ".gitconfig").write_text(
        f'[credential]\n\thelper = "{helper}"\n[url "http://127.0.0.1:9/"]\n\tinsteadOf = {world.github.server_url}\n'
    )
    (home / ".netrc").chmod(0o600)
    run = world.run(
        HOME=str(home),
        XDG_CONFIG_HOME=str(home),
        GIT_CONFIG_GLOBAL=str(home / ".gitconfig"),
        GIT_CONFIG_COUNT="1",
        GIT_CONFIG_KEY_0="credential.helper",
        GIT_CONFIG_VALUE_0=helper,
        GIT_ASKPASS=str(evil),
        GIT_DIR="/nowhere",
        GIT_TRACE_CURL="1",
    )
    assert run.code == 0, run.output
    assert not evil.exists()
    sent = {exchange.headers.get("Authorization", "") for exchange in world.github.exchanges}
    somebody = base64.b64encode(b"somebody:else").decode()
    assert not any(somebody in header for header in sent)


@pytest.mark.parametrize(
    "secret",
    [
        "ghs_16C7e42F292c6912E7710c838347Ae178B4a",
        "ghs_123456_eyJhbGciOi.eyJleHAiOj.c2lnbmF0dXJl-_x",
        "github_pat_11ABCDEFG0_abcdef",
        "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiIxIn0.c2lnbmF0dXJl",
        "-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----",
        "-----BEGIN PRIVATE KEY-----\nMIIE cut short",
    ],
)
def test_what_has_the_shape_of_a_secret_is_removed_from_text(secret: str) -> None:
    assert Redactor().clean(f"before {secret}") == "before ***"


def test_known_secrets_and_logins_in_urls_are_removed_from_text() -> None:
    redactor = Redactor()
    redactor.hide_token("a-token-of-another-shape")
    basic = base64.b64encode(b"x-access-token:a-token-of-another-shape").decode()
    text = f"a-token-of-another-shape {basic} https://user:pass@github.com/acme"
    assert redactor.clean(text) == "*** *** https://***github.com/acme"


def test_a_token_is_forgotten_some_time_after_it_has_expired() -> None:
    redactor, now = Redactor(), datetime.now(UTC)
    redactor.hide_token("the-token-of-a-restore")
    for hours in (-3, -2, -0.5, 0.5, 1):
        redactor.hide_token(f"expires-in {hours}", now + timedelta(hours=hours))
    text = " / ".join(["the-token-of-a-restore", *(f"expires-in {hours}" for hours in (-3, -2, -0.5, 0.5, 1))])
    assert redactor.clean(text) == "*** / expires-in -3 / expires-in -2 / *** / *** / ***"
