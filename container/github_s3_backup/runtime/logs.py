"""Logs: one JSON object a line for machines, one readable line an event on a terminal."""

import contextlib
import time
from collections.abc import Callable
from typing import Any, Protocol

import structlog
from structlog.contextvars import merge_contextvars
from structlog.typing import EventDict, FilteringBoundLogger, WrappedLogger

from github_s3_backup.runtime.redaction import Redactor
from github_s3_backup.runtime.units import format_bytes

# Context key: when the work began that the line is about, as time.monotonic() has it. Logged as `duration`.
SINCE = "since"
# Events that a terminal leaves out.
QUIET_EVENTS = {"started"}
COLORS = {"warning": "\x1b[33m", "error": "\x1b[31m"}
RESET = "\x1b[0m"
# How a terminal shows values that have a unit, in this order.
UNITS: dict[str, Callable[[Any], str]] = {
    "repositories": lambda value: f"{value} repositories",
    "size_bytes": format_bytes,
    "refs": lambda value: f"{value} refs",
    "duration": lambda value: f"{value:.1f} s",
}


class Stream(Protocol):
    """What log lines are written to."""

    def write(self, text: str, /) -> Any: ...
    def flush(self) -> Any: ...
    def isatty(self) -> bool: ...


class _Lines:
    """Writes lines to a stream. A backup continues even if nobody reads its log."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    def msg(self, line: str) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._stream.write(f"{line}\n")
            self._stream.flush()

    debug = info = warning = error = msg


def new_logger(stream: Stream, redactor: Redactor) -> FilteringBoundLogger:
    """Return a logger that writes to `stream` and removes every secret that the redactor knows.

    What `structlog.contextvars.bound_contextvars` binds is on each line of that thread.
    """

    def redact(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        multiline = {"exception": redactor.clean_lines(event["exception"])} if "exception" in event else {}
        cleaned = {key: redactor.clean(value) if isinstance(value, str) else value for key, value in event.items()}
        return cleaned | multiline

    renderer = _terminal_line if stream.isatty() else structlog.processors.JSONRenderer(ensure_ascii=False)
    log: FilteringBoundLogger = structlog.wrap_logger(
        _Lines(stream),
        processors=[
            merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            _add_duration,
            _order,
            redact,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger("info"),
        cache_logger_on_first_use=True,
    )
    return log


def _add_duration(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    if (since := event.pop(SINCE, None)) is not None:
        event.setdefault("duration", round(time.monotonic() - since, 3))
    return event


def _order(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Put what every line has first."""
    first = {key: event.pop(key) for key in ("timestamp", "level", "event", "full_name", "stage") if key in event}
    return {**first, **event}


def _terminal_line(_logger: WrappedLogger, _method: str, event: EventDict) -> str:
    """Return `12:00:01 [ 3/34] stored acme/api: 1.2 MB, 4 refs, 0.3 s`; values without a unit as key=value."""
    name, level, timestamp = (event.pop(key) for key in ("event", "level", "timestamp"))
    if name in QUIET_EVENTS:
        raise structlog.DropEvent
    exception = event.pop("exception", None)
    title = [str(name)]
    if "total" in event:
        total = str(event.pop("total"))
        title.insert(0, f"[{event.pop('done'):>{len(total)}}/{total}]")
    if "full_name" in event:
        title.append(event.pop("full_name"))
    if level == "info":
        event.pop("stage", None)
    facts = [show(event.pop(key)) for key, show in UNITS.items() if key in event]
    facts += [f"{key}={value}" for key, value in event.items()]
    line = f"{timestamp[11:19]} {' '.join(title)}{': ' if facts else ''}{', '.join(facts)}"
    if level in COLORS:
        line = f"{COLORS[level]}{line}{RESET}"
    return f"{line}\n{exception}" if exception else line
