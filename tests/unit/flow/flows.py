"""A valid flow as text and as plain data, for tests that change one thing."""

from typing import Any

MIRROR: dict[str, Any] = {"type": "aerospike", "hosts": ["127.0.0.1:3000"], "namespace": "mirror"}
HISTORY: dict[str, Any] = {"type": "delta_history", "path": "/data/payments/history"}


def valid() -> dict[str, Any]:
    return {
        "name": "payments",
        "source": {"bootstrap_servers": "127.0.0.1:9092", "topics": ["xdr.payments"]},
        "records": [{"namespace": "payments"}],
        "lanes": {"fast": {"outputs": {"mirror": dict(MIRROR)}}, "bulk": {"outputs": {"history": dict(HISTORY)}}},
        "dead_letters": {"path": "/data/payments/dead_letters"},
        "checkpoint": "/checkpoints/payments",
    }


def changed(path: str, value: Any) -> dict[str, Any]:
    """The valid flow with one option set; `path` is dotted, groups on the way are made."""
    data = valid()
    here: Any = data
    *above, last = path.split("/")
    for part in above:
        here = here[int(part)] if isinstance(here, list) else here.setdefault(part, {})
    here[last] = value
    return data
