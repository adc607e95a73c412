"""Logs: one JSON object a line for machines, one readable line an event on a terminal."""

from typing import TextIO

import structlog
from structlog.typing import EventDict, FilteringBoundLogger, WrappedLogger

from disk import readable
from redaction import Redactor

# What a person at a terminal need not see of every line.
QUIET_EVENTS = {"started"}
COLOURS = {"info": "", "warning": "\x1b[33m", "error": "\x1b[31m"}
RESET = "\x1b[0m"


def new_logger(stream: TextIO, redactor: Redactor) -> FilteringBoundLogger:
    """Return a logger that writes to `stream` and never writes a secret the redactor knows."""

    def redact(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        return {key: redactor.clean(value) if isinstance(value, str) else value for key, value in event.items()}

    renderer = _terminal_line if stream.isatty() else structlog.processors.JSONRenderer(ensure_ascii=False)
    log: FilteringBoundLogger = structlog.wrap_logger(
        structlog.PrintLogger(stream),
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            redact,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger("info"),
        cache_logger_on_first_use=True,
    )
    return log


def _terminal_line(_logger: WrappedLogger, _method: str, event: EventDict) -> str:
    """Return `12:00:01 [ 3/34] stored acme/api 1.2 MB, 4 refs, 0.3 s`, the rest as key=value."""
    what, level = event.pop("event"), event.pop("level")
    if what in QUIET_EVENTS:
        raise structlog.DropEvent
    time = event.pop("timestamp")[11:19]
    parts = [str(what)]
    if "full_name" in event:
        parts.append(event.pop("full_name"))
        event.pop("stage" if level == "info" else "", None)
    if "done" in event:
        total = str(event.pop("total"))
        parts.insert(0, f"[{event.pop('done'):>{len(total)}}/{total}]")
    if "size_bytes" in event:
        event["size"] = readable(event.pop("size_bytes"))
    if "duration" in event:
        event["duration"] = f"{event['duration']:.1f} s"
    exception = event.pop("exception", None)
    parts += [f"{key}={value}" for key, value in event.items()]
    line = f"{time} {COLOURS.get(level, '')}{' '.join(parts)}{RESET}"
    return f"{line}\n{exception}" if exception else line
