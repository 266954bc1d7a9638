"""The shipper of a running node, from outside: how far it is, and waiting until all is shipped."""

import time
from collections.abc import Callable

from deploy.local.node_info import ask, rows
from schemas.errors import Retryable

ASK_EVERY_S = 0.05


def shipped(address: str, namespace: str | None = None) -> list[dict[str, str]]:
    """One row per namespace and topic: counters and depths, as docs/embedded-node.md explains them."""
    return rows(ask(address, "millrace-xdr:" + _only(namespace)))


def flush(
    address: str, namespace: str | None = None, *, timeout_s: float = 60.0, tick: Callable[[int], None] = lambda left: None
) -> None:
    """Return when everything changed before this call is in Kafka, held-back messages and repetitions included.

    tick: called with how many messages are left.
    Raises Retryable E220 when that does not happen in time or emission is paused; E210 when the node does not answer.
    """
    deadline = time.monotonic() + timeout_s
    answer = _fields(ask(address, "millrace-xdr-flush:" + _only(namespace)))
    while (left := int(answer["left"])) > 0:
        if answer["paused"] == "true":
            raise Retryable("E220", f"emission is paused with {left} changes to ship; resume it first", node=address)
        if time.monotonic() > deadline:
            raise Retryable("E220", f"{left} changes not shipped within {timeout_s:.0f} s", node=address)
        tick(left)
        time.sleep(ASK_EVERY_S)
        answer = _fields(ask(address, f"millrace-xdr-flush:id={answer['id']};" + _only(namespace)))


def pause(address: str, namespace: str | None = None) -> None:
    """Stop shipping; changes go on being queued, where they coalesce."""
    ask(address, "millrace-xdr-pause:" + _only(namespace))


def resume(address: str, namespace: str | None = None) -> None:
    """Ship again."""
    ask(address, "millrace-xdr-resume:" + _only(namespace))


def rewind(address: str, namespace: str | None = None, *, since_lut_ms: int = 0) -> int:
    """Ship again every record changed since then; answers how many were queued."""
    return int(_fields(ask(address, f"millrace-xdr-rewind:lut_ms={since_lut_ms};" + _only(namespace)))["queued"])


def _only(namespace: str | None) -> str:
    return "" if namespace is None else f"namespace={namespace}"


def _fields(text: str) -> dict[str, str]:
    return dict(pair.partition("=")[::2] for pair in text.split(";"))


__all__ = ["flush", "pause", "resume", "rewind", "shipped"]
