"""One JSON object a line for machines, readable lines for a person, a summary at the end."""

import os
import pty
import re

from embedded.github import Fault
from embedded.programs import start_program
from embedded.stack import BACKUP
from support.world import World, events_of


def test_every_line_is_one_json_object_with_repository_stage_and_duration_and_the_last_is_the_summary(
    world: World,
) -> None:
    for name in ("api", "fork", "empty"):
        world.add(name)
    world.github.faults = [Fault(r"GET /acme/fork\.git", times=9)]
    run = world.run()
    assert len(run.events) == len(run.output.splitlines())
    about = [line for line in run.events if "full_name" in line]
    assert {line["event"] for line in about} >= {"started", "stored", "empty", "failed", "retrying"}
    for event in about:
        assert event["stage"] in ("clone", "bundle", "verify", "upload")
        assert event["duration"] >= 0
    for event in run.events:
        assert list(event)[:3] == ["timestamp", "level", "event"]
    last = run.events[-1]
    assert last["event"] == "run finished"
    assert {name: last[name] for name in ("exit_code", "repositories", "success", "failed", "gone", "refs")} == {
        "exit_code": 1,
        "repositories": 3,
        "success": 2,
        "failed": 1,
        "gone": 0,
        "refs": 7,
    }
    assert last["manifest"] == f"s3://{world.bucket}/{world.run_keys().pop()}"


def on_a_terminal(world: World) -> str:
    """Return what a run writes to a terminal."""
    ours, theirs = pty.openpty()
    process = start_program(BACKUP, world.environment(), stdout=theirs, stderr=theirs)
    os.close(theirs)
    output = b""
    while True:
        try:
            output += os.read(ours, 65536)
        except OSError:  # the other end is closed
            break
    process.wait()
    os.close(ours)
    return output.decode().replace("\r\n", "\n")


def test_a_terminal_gets_readable_lines_with_progress_and_no_commands_of_a_server(world: World) -> None:
    world.add("api")
    world.add("fork", blocked=451)
    public = world.add("public")
    world.github.faults = [
        Fault(rf"GET (/acme/public\.git|.*/repositories/{public.id})", status=403, message="\x1b[2Jgone", times=9)
    ]
    output = on_a_terminal(world)
    assert "{" not in output
    assert "\\x1b[2Jgone" in output
    assert "\x1b[2J" not in output
    assert re.search(r"\[[123]/3\] stored acme/api: [\d.]+ kB, 7 refs, [\d.]+ s$", output, re.MULTILINE)
    assert re.search(r"\[[123]/3\] failed acme/fork: [\d.]+ s, stage=clone, error=", output)
    assert "Repository access blocked (dmca" in output
    assert "run finished: 3 repositories, " in output.splitlines()[-1]
    assert "exit_code=1, success=1, failed=2" in output.splitlines()[-1]
    world.check_no_secret(output)


def test_a_backup_does_not_die_of_a_log_that_nobody_reads(world: World) -> None:
    for number in range(12):
        world.add("service-001", name=f"copy-{number}")
    process = world.start()
    assert process.stdout
    process.stdout.readline()
    process.stdout.close()
    assert process.wait(60) == 0
    manifest = world.read_manifest()
    assert manifest is not None
    assert manifest["success_count"] == 12


def test_words_that_the_machine_can_not_encode_are_logged_all_the_same(world: World) -> None:
    world.add("api")
    words = "größe ключ"
    world.github.faults = [Fault("GET .*/installation/repositories", status=400, message=words)]
    output, _ = world.start(PYTHONIOENCODING="ascii").communicate(timeout=100)
    (problem,) = [line["error"] for line in events_of(output) if line["event"] == "problem"]
    assert problem.endswith(words)
