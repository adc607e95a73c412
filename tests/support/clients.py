"""The program's own clients of GitHub, git and S3, pointed at the embedded servers, and what they log."""

import io
import json
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from structlog.typing import FilteringBoundLogger

from embedded.github import FakeGitHub
from embedded.s3 import EmbeddedS3
from github_s3_backup.git.process import Git
from github_s3_backup.github.client import GitHub
from github_s3_backup.github.installations import Installations
from github_s3_backup.github.tokens import App
from github_s3_backup.github.transport.http import new_session
from github_s3_backup.github.transport.rest import Api
from github_s3_backup.runtime.capacity import UPLOAD_BUFFERS, Capacity, Reservation
from github_s3_backup.runtime.logs import new_logger
from github_s3_backup.runtime.redaction import Redactor
from github_s3_backup.runtime.stop import Stop
from github_s3_backup.s3.archive import Archive
from github_s3_backup.s3.objects import Objects
from github_s3_backup.s3.upload import Uploader
from support.world import World, events_of

MOMENT = datetime(2026, 11, 23, 23, 59, 59, tzinfo=UTC)


class FastStop(Stop):
    """A run whose waits take no time: they move its clock. `waits`: their seconds."""

    def __init__(self) -> None:
        super().__init__()
        self._planned: list[tuple[float, Callable[[], None]]] = []
        self.waits: list[float] = []
        self._waited = 0.0
        self._guard = threading.Lock()

    def now(self) -> float:
        with self._guard:
            return super().now() + self._waited

    def sleep(self, seconds: float) -> None:
        with self._guard:
            self.waits.append(seconds)
            self._waited += seconds
        now = self.now()
        for planned in [item for item in self._planned if item[0] <= now]:
            self._planned.remove(planned)
            planned[1]()
        self.check()

    def after(self, seconds: float, action: Callable[[], None]) -> None:
        """Call `action` in the first wait that ends so many seconds from now, or later."""
        self._planned.append((self.now() + seconds, action))


class Log:
    """A logger, and the lines that it was given."""

    def __init__(self) -> None:
        self._text = io.StringIO()
        self.logger = new_logger(self._text, Redactor())

    def named(self, event: str) -> list[dict[str, Any]]:
        """Return the log lines of an event."""
        return [line for line in events_of(self._text.getvalue()) if line["event"] == event]

    def __repr__(self) -> str:
        return json.dumps(events_of(self._text.getvalue()), indent=1)


def github_client(github: FakeGitHub, log: Log, stop: Stop | None = None, api_url: str | None = None) -> GitHub:
    """Return the program's client of the embedded GitHub."""
    app = App(github.app_id, github.key, api_url or github.api_url, github.server_url)
    api = Api(app.api_url, new_session(None, 16), stop or Stop(), log.logger)
    return GitHub(Installations(app, api, Redactor()))


def git_client(scratch: Path, github: FakeGitHub, stop: Stop | None = None) -> Git:
    """Return git as the program runs it."""
    return Git(scratch, github.server_url, stop or Stop())


def archive_at(world: World, url: str, log: Log) -> Archive:
    """Return the world's bucket as a run of MOMENT sees it through this URL."""
    client = EmbeddedS3(url).client()
    return new_archive(client, world.bucket, log.logger)


def new_archive(client: Any, bucket: str, log: FilteringBoundLogger) -> Archive:
    """Return a bucket as a run of MOMENT sees it."""
    return Archive(Objects(client, bucket), new_uploader(client, bucket, log), "github-backup", MOMENT, MOMENT)


def new_uploader(client: Any, bucket: str, log: FilteringBoundLogger) -> Uploader:
    stop = Stop()
    return Uploader(Objects(client, bucket), Capacity(Reservation(0, UPLOAD_BUFFERS), stop), stop, log)
