"""Change events for tests, with real digests."""

import os
import time
from itertools import count
from typing import Any

from schemas.digest import digest_of
from schemas.events import DELETE, WRITE, ChangeEvent

_offsets = count(1)
# One moment for all processes of a test run: it is part of some tests' names, which must be the same in each.
NOW_MS = int(os.environ.setdefault("MILLRACE_TEST_NOW_MS", str(int(time.time() * 1000) - 60_000)))


def write(key: int | str | bytes, lut: int, gen: int = 1, bins: dict[str, Any] | None = None, **kw: Any) -> ChangeEvent:
    """A write of `key` at version (NOW_MS + lut, gen). `exp_s`, `set`, `user_key` and the position may be given."""
    return _event(key, WRITE, lut, gen, {"v": f"{lut}/{gen}"} if bins is None else bins, **kw)


def delete(key: int | str | bytes, lut: int, gen: int = 1, **kw: Any) -> ChangeEvent:
    """A delete of `key` at version (NOW_MS + lut, gen)."""
    return _event(key, DELETE, lut, gen, {}, **kw)


def _event(key: int | str | bytes, op: str, lut: int, gen: int, bins: dict[str, Any], **kw: Any) -> ChangeEvent:
    set_name = kw.pop("set", "contract")
    fields: dict[str, Any] = {
        "namespace": "source",
        "set": set_name,
        "digest": digest_of(set_name, key),
        "user_key": key,
        "op": op,
        "gen": gen,
        "lut_ms": NOW_MS + lut,
        "exp_s": None,
        "bins": bins,
        "topic": "t",
        "partition": 0,
        "offset": next(_offsets),
    }
    return ChangeEvent(**{**fields, **kw})
