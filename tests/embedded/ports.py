"""Free ports of this machine, and waiting until something answers."""

import random
import socket
import time
from collections.abc import Callable

# Below the range from which Linux takes a port for each outgoing connection.
PORTS = range(15_000, 32_000)


class EndedError(Exception):
    """What was waited for has ended instead of getting ready."""


def free_ports(number: int) -> list[int]:
    """Return so many different ports that were free a moment ago."""
    sockets: list[socket.socket] = []
    try:
        while len(sockets) < number:
            one = socket.socket()
            try:
                one.bind(("127.0.0.1", random.choice(PORTS)))
            except OSError:
                one.close()
            else:
                sockets.append(one)
        return [item.getsockname()[1] for item in sockets]
    finally:
        for item in sockets:
            item.close()


def wait_until(
    ready: Callable[[], object], what: str, seconds: float = 60.0, ended: Callable[[], bool] = lambda: False
) -> None:
    """Return when `ready` no longer raises; after `seconds` raise its last error with `what`.

    Raises EndedError as soon as `ended` says that it is of no use to wait.
    """
    deadline = time.monotonic() + seconds
    while True:
        try:
            ready()
            return
        except Exception as error:
            if ended():
                raise EndedError(f"{what} has ended: {error}") from error
            if time.monotonic() > deadline:
                raise TimeoutError(f"{what} is not ready after {seconds:.0f} s: {error}") from error
            time.sleep(0.05)
