"""Ports for local servers: free, and of a kind that no outgoing connection can take."""

import random
import socket
from collections.abc import Iterator

LOWEST, HIGHEST = 20_000, 32_000
"""Below the range from which Linux (32768) and macOS (49152) take ports for outgoing connections.

From inside that range, a client that keeps calling a stopped server's port on this machine may be given that very port and
connect to itself, and the server cannot come back.
"""


def is_free(port: int, host: str = "127.0.0.1") -> bool:
    """Whether a server could listen on `port` now."""
    with socket.socket() as probe:
        # As servers do it: a port whose last connections only linger (TIME_WAIT) is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def answers(host: str, port: int, timeout_s: float = 0.5) -> bool:
    """Whether something accepts connections at `host`:`port`."""
    try:
        with socket.create_connection((host, port), timeout_s):
            return True
    except OSError:
        return False


def free_ports(count: int) -> list[int]:
    """`count` different free ports.

    They are not held: two starters at once are unlikely, not unable, to be given the same one.
    """
    chosen: list[int] = []
    for port in _candidates():
        if is_free(port):
            chosen.append(port)
            if len(chosen) == count:
                return chosen
    raise RuntimeError(f"no {count} free ports between {LOWEST} and {HIGHEST}")


def _candidates() -> Iterator[int]:
    yield from random.SystemRandom().sample(range(LOWEST, HIGHEST), HIGHEST - LOWEST)


__all__ = ["answers", "free_ports", "is_free"]
