"""Retries: which faults are retried, how often, and how long to wait in between."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from structlog.typing import FilteringBoundLogger
from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_attempt, wait_random_exponential

from github_s3_backup.runtime.stop import Stop

# Seconds. A primary rate limit resets within the hour, so a longer wait never helps.
MAX_WAIT = 3900.0
FIRST_BACKOFF, MAX_BACKOFF = 0.5, 30.0


class RetryableError(Exception):
    """A fault that may be transient.

    `wait`: seconds until the next attempt; None for exponential backoff.
    `wait_source`: who asked for that wait (the name of a header), for the log.
    `permanent`: another attempt is known to be useless. `unauthorized`: the token was rejected.
    """

    wait: float | None = None
    wait_source: str | None = None
    permanent: bool = False
    unauthorized: bool = False


def retrying(attempts: int, stop: Stop, log: FilteringBoundLogger) -> Retrying:
    """Return tenacity's loop over a RetryableError: at most `attempts`, each wait logged, the last error raised."""
    backoff = wait_random_exponential(multiplier=FIRST_BACKOFF, max=MAX_BACKOFF)

    def wait(state: RetryCallState) -> float:
        error = _error(state)
        return backoff(state) if error.wait is None else error.wait

    def log_wait(state: RetryCallState) -> None:
        error = _error(state)
        log.warning(
            "retrying",
            seconds=round(state.upcoming_sleep, 1),
            wait_source=error.wait_source or "backoff",
            attempt=state.attempt_number,
            error=str(error),
        )

    return Retrying(
        retry=retry_if_exception(_is_worth_retrying),
        wait=wait,
        stop=stop_after_attempt(attempts),
        sleep=stop.sleep,
        before_sleep=log_wait,
        reraise=True,
    )


def _is_worth_retrying(error: BaseException) -> bool:
    return isinstance(error, RetryableError) and not error.permanent and (error.wait or 0) <= MAX_WAIT


def _error(state: RetryCallState) -> RetryableError:
    error = state.outcome.exception() if state.outcome else None
    assert isinstance(error, RetryableError), error
    return error


def requested_wait(status: int, headers: Mapping[str, str]) -> tuple[float | None, str | None]:
    """Return the seconds that GitHub asks to wait, and the header that says so; (None, None) if none does.

    `headers` must find names in any case.
    https://docs.github.com/en/rest/using-the-rest-api/best-practices-for-using-the-rest-api
    """
    now = datetime.now(UTC)
    limited = status in (403, 429)
    if "Retry-After" in headers and (limited or status >= 500):
        return _retry_after(headers["Retry-After"].strip(), now), "Retry-After"
    reset = headers.get("x-ratelimit-reset", "")
    if limited and headers.get("x-ratelimit-remaining") == "0" and re.fullmatch("[0-9]+", reset):
        return max(0.0, int(reset) - now.timestamp()) + 1, "x-ratelimit-reset"
    return None, None


def _retry_after(value: str, now: datetime) -> float | None:
    """Return the seconds in a Retry-After header: a number or a date (RFC 9110, section 10.2.3)."""
    if re.fullmatch("[0-9]+", value):
        return float(value)
    try:
        return max(0.0, (parsedate_to_datetime(value) - now).total_seconds())
    except (ValueError, TypeError):
        return None
