"""Free ports of this machine, and waiting until something answers."""

import socket
import time
from collections.abc import Callable


def free_ports(number: int) -> list[int]:
    """Return so many different ports that were free a moment ago."""
    sockets = [socket.socket() for _ in range(number)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


def wait_until(ready: Callable[[], object], what: str, seconds: float = 60.0) -> None:
    """Return when `ready` no longer raises; after `seconds` raise its last error with `what`."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            ready()
            return
        except Exception as error:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{what} is not ready after {seconds:.0f} s: {error}") from error
            time.sleep(0.05)
