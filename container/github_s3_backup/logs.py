"""Logs: one JSON object a line for machines, one readable line an event on a terminal."""

import contextlib
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, Protocol

import structlog
from structlog.typing import EventDict, FilteringBoundLogger, WrappedLogger

from github_s3_backup.disk import readable
from github_s3_backup.redaction import Redactor

# What every line of this thread says besides: which repository, in which stage, for how long.
ABOUT: ContextVar[Callable[[], dict[str, Any]]] = ContextVar("ABOUT")

# What a person at a terminal need not see of every line.
QUIET_EVENTS = {"started"}
COLOURS = {"warning": "\x1b[33m", "error": "\x1b[31m"}
RESET = "\x1b[0m"
# How a person reads the values that have a unit, in this order.
UNITS: dict[str, Callable[[Any], str]] = {
    "repositories": lambda value: f"{value} repositories",
    "size_bytes": readable,
    "refs": lambda value: f"{value} refs",
    "duration": lambda value: f"{value:.1f} s",
}


class Stream(Protocol):
    """What log lines are written to."""

    def write(self, text: str, /) -> Any: ...
    def flush(self) -> Any: ...
    def isatty(self) -> bool: ...


class _Lines:
    """Where lines go. A backup does not die of a log that nobody takes any more."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    def msg(self, line: str) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._stream.write(f"{line}\n")
            self._stream.flush()

    debug = info = warning = error = msg


def new_logger(stream: Stream, redactor: Redactor) -> FilteringBoundLogger:
    """Return a logger that writes to `stream` and never writes a secret the redactor knows."""

    def complete(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        first = {key: event.pop(key) for key in ("timestamp", "level", "event")}
        whole = {**first, **ABOUT.get(dict)(), **event}
        return {key: redactor.clean(value) if isinstance(value, str) else value for key, value in whole.items()}

    renderer = _terminal_line if stream.isatty() else structlog.processors.JSONRenderer(ensure_ascii=False)
    log: FilteringBoundLogger = structlog.wrap_logger(
        _Lines(stream),
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            complete,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger("info"),
        cache_logger_on_first_use=True,
    )
    return log


def _terminal_line(_logger: WrappedLogger, _method: str, event: EventDict) -> str:
    """Return `12:00:01 [ 3/34] stored acme/api: 1.2 MB, 4 refs, 0.3 s`; what has no unit as key=value."""
    what, level, time = (event.pop(key) for key in ("event", "level", "timestamp"))
    if what in QUIET_EVENTS:
        raise structlog.DropEvent
    exception = event.pop("exception", None)
    title = [str(what)]
    if "total" in event:
        total = str(event.pop("total"))
        title.insert(0, f"[{event.pop('done'):>{len(total)}}/{total}]")
    if "full_name" in event:
        title.append(event.pop("full_name"))
    if level == "info":
        event.pop("stage", None)
    facts = [form(event.pop(key)) for key, form in UNITS.items() if key in event]
    facts += [f"{key}={value}" for key, value in event.items()]
    line = f"{time[11:19]} {' '.join(title)}{': ' if facts else ''}{', '.join(facts)}"
    if level in COLOURS:
        line = f"{COLOURS[level]}{line}{RESET}"
    return f"{line}\n{exception}" if exception else line
