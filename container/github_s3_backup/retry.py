"""What is tried again, how often, and how long to wait in between."""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_attempt, wait_random_exponential

from github_s3_backup.stop import Stop

# Seconds. A primary rate limit resets within the hour: waiting longer than this is no use.
LONGEST_WAIT = 3900.0
FIRST_WAIT, LONGEST_BACKOFF = 0.5, 30.0


class RetryableError(Exception):
    """A fault that may pass.

    `wait`: seconds to wait before the next try, None for exponential backoff.
    `told_by`: who asked for that wait (a header's name), for the log.
    `final`: set where another try is known to be useless.
    """

    wait: float | None = None
    told_by: str | None = None
    final: bool = False


def retrying(attempts: int, stop: Stop, on_wait: Callable[[RetryableError, float, int], None]) -> Retrying:
    """Return tenacity's loop for faults that may pass: at most `attempts` tries, the last error raised.

    `on_wait` gets the fault, the seconds until the next try and the number of the failed one.
    """
    backoff = wait_random_exponential(multiplier=FIRST_WAIT, max=LONGEST_BACKOFF)

    def wait(state: RetryCallState) -> float:
        fault = _fault(state)
        return backoff(state) if fault.wait is None else fault.wait

    def before_sleep(state: RetryCallState) -> None:
        on_wait(_fault(state), state.upcoming_sleep, state.attempt_number)

    return Retrying(
        retry=retry_if_exception(_worth_another_try),
        wait=wait,
        stop=stop_after_attempt(attempts),
        sleep=stop.sleep,
        before_sleep=before_sleep,
        reraise=True,
    )


def _worth_another_try(error: BaseException) -> bool:
    return isinstance(error, RetryableError) and not error.final and (error.wait or 0) <= LONGEST_WAIT


def _fault(state: RetryCallState) -> RetryableError:
    error = state.outcome.exception() if state.outcome else None
    assert isinstance(error, RetryableError), error
    return error


def wait_told(status: int, headers: Mapping[str, str]) -> tuple[float | None, str | None]:
    """Return the seconds that GitHub wants us to wait, and the header that says so; (None, None) if none does.

    `headers` finds names in any case.
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
    """Return the seconds of a Retry-After header: a number or a date. https://www.rfc-editor.org/rfc/rfc9110#name-retry-after"""
    if re.fullmatch("[0-9]+", value):
        return float(value)
    try:
        return max(0.0, (parsedate_to_datetime(value) - now).total_seconds())
    except (ValueError, TypeError):
        return None
