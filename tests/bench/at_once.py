"""Runs the tasks of shards at once, as a state machine would: what ends without a report is started again.

    python at_once.py SHARD...
    python at_once.py --kill-after 10 SHARD...    kills the first one when it has stored 10 repositories

Each task has a temporary folder of its own, which is gone with it.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from embedded.killing import kill_with_children

ATTEMPTS = 3
BACKUP = (sys.executable, str(Path(__file__).parents[2] / "container" / "backup.py"))


def back_up(shard: str, kill_after: int | None) -> bool:
    """Start the shard's task until it ends well, at most three times; return whether it did."""
    codes = [attempt(shard, kill_after)]
    while codes[-1] != 0 and len(codes) < ATTEMPTS:
        codes.append(attempt(shard, None))
    return codes[-1] == 0


def attempt(shard: str, kill_after: int | None) -> int:
    """Run the shard's task once and return its exit code; kill it when it has stored so many repositories."""
    stored = 0
    # A process that is being killed may still write.
    with tempfile.TemporaryDirectory(prefix=f"shard-{shard}-", ignore_cleanup_errors=True) as scratch:
        environment = os.environ | {"RUN_SHARD": shard, "TMPDIR": scratch}
        command = [*BACKUP, "backup", "shard"]
        with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as task:
            assert task.stdout
            for line in task.stdout:
                sys.stdout.write(line)
                stored += json.loads(line)["event"] == "stored"
                if stored == kill_after:
                    kill_with_children(task.pid)
        return task.returncode


def main() -> int:
    """Run them all."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--kill-after", type=int)
    parser.add_argument("shards", nargs="+")
    given = parser.parse_args()
    killed = {given.shards[0]: given.kill_after}
    with ThreadPoolExecutor(len(given.shards)) as pool:
        return 0 if all(pool.map(lambda shard: back_up(shard, killed.get(shard)), given.shards)) else 1


if __name__ == "__main__":
    sys.exit(main())
