"""Retries: which faults are retried, how often, and how long to wait in between. One rule for all of GitHub's answers.

https://docs.github.com/en/rest/using-the-rest-api/best-practices-for-using-the-rest-api
"""

import copy
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TypeVar

from structlog.typing import FilteringBoundLogger
from tenacity import RetryCallState, Retrying, retry_if_exception, wait_exponential_jitter, wait_random_exponential

from github_s3_backup.runtime.stop import Stop

# Seconds. A primary rate limit resets within the hour, so a longer wait never helps.
MAX_WAIT = 3900.0
# Seconds between two attempts after a fault, and after a rate limit whose wait did not help.
FIRST_BACKOFF, MAX_BACKOFF = 0.5, 30.0
FIRST_LIMIT_BACKOFF, MAX_LIMIT_BACKOFF = 1.0, 300.0
# A rate limit does not count as an attempt: it is waited for this often.
LIMITED_ATTEMPTS = 12
# What GitHub's documentation asks for where a rate limit comes without a header. Seconds.
UNSTATED_LIMIT_WAIT = 60.0
LIMIT_WORDS = re.compile("secondary rate limit|API rate limit exceeded|abuse detection", re.IGNORECASE)


@dataclass(frozen=True)
class Retry:
    """Whether another attempt may succeed, and when.

    `permanent`: it is known to be useless. `wait`: the seconds that the server asks to wait, and `source` who says so
    (the name of a header). `is_limit`: it is a rate limit.
    """

    permanent: bool = False
    wait: float | None = None
    source: str | None = None
    is_limit: bool = False


TRANSIENT, PERMANENT = Retry(), Retry(permanent=True)
AT_ONCE = Retry(wait=0.0)

E = TypeVar("E", bound="RetryableError")


class RetryableError(Exception):
    """A fault that may be transient. A value: nothing changes it after it was made."""

    def __init__(self, message: str, retry: Retry = TRANSIENT) -> None:
        super().__init__(message)
        self._retry = retry

    @property
    def retry(self) -> Retry:
        return self._retry

    @property
    def permanent(self) -> bool:
        return self._retry.permanent

    @property
    def unauthorized(self) -> bool:
        """Whether the token was rejected."""
        return False

    def with_retry(self: E, retry: Retry) -> E:
        """Return the same error with another verdict."""
        other = copy.copy(self)
        other._retry = retry
        return other

    def as_permanent(self: E) -> E:
        """Return the same error for those who would try again: it was tried often enough."""
        return self.with_retry(replace(self._retry, permanent=True))


class _Count:
    """How often an action has failed: by a fault, and by a rate limit."""

    def __init__(self) -> None:
        self.faults, self.limits = 0, 0

    def add(self, state: RetryCallState) -> None:
        is_limit = _error(state).retry.is_limit
        self.faults, self.limits = self.faults + (not is_limit), self.limits + is_limit


def retrying(attempts: int, stop: Stop, log: FilteringBoundLogger) -> Retrying:
    """Return tenacity's loop over a RetryableError, for one action: each wait is logged, the last error is raised.

    `attempts` bounds faults; rate limits are bounded by LIMITED_ATTEMPTS. What the server asks to wait is the least.
    """
    count = _Count()
    backoff = wait_random_exponential(multiplier=FIRST_BACKOFF, max=MAX_BACKOFF)
    limit_backoff = wait_exponential_jitter(initial=FIRST_LIMIT_BACKOFF, max=MAX_LIMIT_BACKOFF)

    def wait(state: RetryCallState) -> float:
        retry = _error(state).retry
        if retry is AT_ONCE:
            return 0.0
        least = limit_backoff(state) if retry.is_limit else backoff(state)
        return max(retry.wait or 0.0, least)

    def log_wait(state: RetryCallState) -> None:
        error = _error(state)
        log.warning(
            "retrying",
            seconds=round(state.upcoming_sleep, 1),
            wait_source=error.retry.source or "backoff",
            attempt=state.attempt_number,
            error=str(error),
        )

    return Retrying(
        retry=retry_if_exception(_is_worth_retrying),
        after=count.add,
        wait=wait,
        stop=lambda _: count.faults >= attempts or count.limits >= LIMITED_ATTEMPTS,
        sleep=stop.sleep,
        before_sleep=log_wait,
        reraise=True,
    )


def _is_worth_retrying(error: BaseException) -> bool:
    return isinstance(error, RetryableError) and not error.permanent and (error.retry.wait or 0) <= MAX_WAIT


def _error(state: RetryCallState) -> RetryableError:
    error = state.outcome.exception() if state.outcome else None
    assert isinstance(error, RetryableError), error
    return error


# -- what an answer says -------------------------------------------------------------------------


def retry_after(status: int, headers: Mapping[str, str], words: str = "") -> Retry:
    """Return what an answer's status, headers and words say of another attempt.

    `headers` must find names in any case. Only a rate limit, a timeout (408) and a server's fault pass by themselves.
    """
    wait, source = _requested_wait(status, headers)
    is_limit = status == 429 or (status == 403 and (source is not None or bool(LIMIT_WORDS.search(words))))
    if is_limit and source is None:
        wait, source = UNSTATED_LIMIT_WAIT, "GitHub's documentation"
    return Retry(not is_limit and status < 500 and status != 408, wait, source, is_limit)


def _requested_wait(status: int, headers: Mapping[str, str]) -> tuple[float | None, str | None]:
    """Return the seconds that the server asks to wait, by its own clock, and the header that says so."""
    now = _date(headers.get("Date", "")) or datetime.now(UTC)
    limited = status in (403, 429)
    if "Retry-After" in headers and (limited or status >= 500):
        return _seconds(headers["Retry-After"].strip(), now), "Retry-After"
    reset = headers.get("x-ratelimit-reset", "")
    if limited and headers.get("x-ratelimit-remaining") == "0" and re.fullmatch("[0-9]+", reset):
        return max(0.0, int(reset) - now.timestamp()) + 1, "x-ratelimit-reset"
    return None, None


def _seconds(value: str, now: datetime) -> float | None:
    """Return the seconds in a Retry-After header: a number or a date (RFC 9110, section 10.2.3)."""
    if re.fullmatch("[0-9]+", value):
        return float(value)
    moment = _date(value)
    return max(0.0, (moment - now).total_seconds()) if moment else None


def _date(value: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(value)
    except (ValueError, TypeError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
