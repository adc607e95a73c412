"""How long a transfer may take: it is bounded by its progress, and a run by its deadline."""

from dataclasses import dataclass

# What a working connection exceeds, on average.
BYTES_PER_SECOND = 250_000


@dataclass(frozen=True)
class Patience:
    """The seconds that a transfer may take whatever arrives, and those for which a server may send nothing.

    A server may count for minutes before it sends: where the first silence was too long, the longer one is allowed.
    """

    base: float
    silences: tuple[int, ...]

    def seconds(self, arrived: int) -> float:
        """Return the seconds after which a transfer is given up of which so many bytes have arrived."""
        return self.base + arrived / BYTES_PER_SECOND


USUAL = Patience(15 * 60.0, (60, 5 * 60))
# For what took too long the last time.
LONG = Patience(6 * 3600.0, (10 * 60, 2 * 3600))
