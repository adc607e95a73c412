"""What `make test-all` adds to `make test`: the rest of sweeps of which a slice is tried each time."""

from collections.abc import Sequence
from typing import Any

import pytest

EXHAUSTIVE = pytest.mark.exhaustive


def one_in(step: int, cases: Sequence[Any]) -> list[Any]:
    """Return the cases of a parametrized test; all but the first of each `step` are exhaustive."""
    return [case if number % step == 0 else _exhaustive(case) for number, case in enumerate(cases)]


def _exhaustive(case: Any) -> Any:
    return pytest.param(*(case if isinstance(case, tuple) else (case,)), marks=EXHAUSTIVE)
