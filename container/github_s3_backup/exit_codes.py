"""What a run ends with: see docs/decisions/0003-failure-isolation-and-exit-codes.md."""

OK, SOME_FAILED, NOT_STARTED, STOPPED = 0, 1, 2, 143
