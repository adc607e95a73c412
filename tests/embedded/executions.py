"""Executions of a state machine, and their histories."""

import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any


@dataclass(frozen=True)
class Event:
    """A line of an execution's history. `data`: an input, an output, or an error's name and cause; `at`: seconds."""

    what: str
    state: str
    data: Any
    at: float = field(default_factory=time.monotonic)


@dataclass(eq=False)
class Execution:
    """One execution; of a Distributed Map, `children` has those of its items."""

    arn: str
    name: str
    machine: str
    input: Any
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    status: str = "RUNNING"
    error: str | None = None
    cause: str | None = None
    output: Any = None
    history: list[Event] = field(default_factory=list)
    children: list["Execution"] = field(default_factory=list)
    expired: bool = False
    stopped: threading.Event = field(default_factory=threading.Event)
    ended: threading.Event = field(default_factory=threading.Event)

    def expire_after(self, seconds: float) -> None:
        """Stop it when so many seconds are over."""

        def expire() -> None:
            if not self.ended.wait(seconds):
                self.expired = True
                self.stop()

        threading.Thread(target=expire, daemon=True).start()

    def stop(self) -> None:
        """Stop it, as StopExecution does, with everything that it has started."""
        self.stopped.set()
        for child in list(self.children):
            child.stop()

    def wait(self, seconds: float = 100) -> "Execution":
        """Return it when it has ended."""
        assert self.ended.wait(seconds), f"{self.name} still runs: {self.states()}"
        return self

    def note(self, what: str, state: str, data: Any) -> None:
        self.history.append(Event(what, state, data))

    def states(self) -> list[str]:
        """Return the states that it has entered."""
        return [event.state for event in self.history if event.what == "entered"]

    def tries(self, state: str) -> int:
        """Return how often a task was started in a state, by its children too."""
        own = sum(event.what == "scheduled" and event.state == state for event in self.history)
        return own + sum(child.tries(state) for child in self.children)

    def seconds(self, state: str) -> float:
        """Return how long it was in a state."""
        moments = [event.at for event in self.history if event.state == state]
        return moments[-1] - moments[0]

    def errors(self, state: str) -> list[str]:
        """Return the errors of a state in their order, the retried ones too, those of its children after its own."""
        own = [event.data["Error"] for event in self.history if event.what == "failed" and event.state == state]
        return own + [error for child in self.children for error in child.errors(state)]

    def context(self, state: str, tries: int) -> dict[str, Any]:
        """Return the context object, `$$`."""
        execution = {"Id": self.arn, "Name": self.name, "Input": self.input, "StartTime": timestamp(self.started_at)}
        now = {"Name": state, "EnteredTime": timestamp(datetime.now(UTC)), "RetryCount": tries}
        return {
            "Execution": execution,
            "State": now,
            "StateMachine": {"Id": self.machine, "Name": self.machine.split(":")[-1]},
        }


def timestamp(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03}Z"
