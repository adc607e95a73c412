"""What a restore leaves for a person to do."""

import threading


class ByHand:
    """Tasks, and the places where each is to be done, as URLs or names. Noted from any thread."""

    def __init__(self) -> None:
        self._tasks: dict[str, list[str]] = {}
        self._lock = threading.Lock()

    def note(self, task: str, place: str) -> None:
        """Note that a task is to be done at a place."""
        with self._lock:
            self._tasks.setdefault(task, []).append(place)

    def tasks(self) -> dict[str, list[str]]:
        """Return the places by their tasks, each place once and in order."""
        with self._lock:
            return {task: sorted(set(places)) for task, places in self._tasks.items()}
