"""An outage of GitHub: work waits instead of failing."""

from github_s3_backup.runtime.stop import Stop

# A run without a deadline (RUN_DEADLINE_HOURS) waits for GitHub so long. Seconds.
MAX_OUTAGE = 6 * 3600.0
# Between two looks whether GitHub is back, at first and at most. Seconds.
FIRST_PAUSE, MAX_PAUSE = 10.0, 300.0


class Outage:
    """One outage: it begins with the first pause, and work waits until the run's deadline, or MAX_OUTAGE."""

    def __init__(self, stop: Stop) -> None:
        self._stop = stop
        self._began: float | None = None
        self._pause = FIRST_PAUSE

    def pause(self) -> float | None:
        """Return the seconds to wait before the next look, None where it has been long enough."""
        if self._began is None:
            self._began = self._stop.now()
        if self._stop.now() - self._began >= MAX_OUTAGE and not self._stop.has_deadline:
            return None
        pause, self._pause = self._pause, min(2 * self._pause, MAX_PAUSE)
        return pause
