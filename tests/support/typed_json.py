"""Hand-made change messages in the connector's typed JSON, and the state they must lead to."""

import base64
import json
from collections.abc import Iterable
from typing import Any, NamedTuple

from schemas.digest import digest_of

Message = tuple[bytes, bytes]


class Change(NamedTuple):
    """One change of one record; `bins` None for a delete."""

    key: str
    lut_ms: int
    gen: int
    bins: dict[str, int | str] | None
    namespace: str = "payments"
    set: str = "cards"

    @property
    def digest(self) -> bytes:
        """The record's identity."""
        return digest_of(self.set, self.key)

    def message(self) -> Message:
        """Kafka key and value as the connector writes them."""
        value: dict[str, Any] = {
            "msg": "write" if self.bins is not None else "delete",
            "key": [self.namespace, self.set, base64.b64encode(self.digest).decode(), self.key],
            "gen": self.gen,
            "lut": self.lut_ms,
        }
        if self.bins is not None:
            value["exp"] = 0
            value["bins"] = [
                {"name": name, "type": "int" if isinstance(bin_, int) else "str", "value": bin_}
                for name, bin_ in self.bins.items()
            ]
        return self.digest, json.dumps(value).encode()


def final_state(changes: Iterable[Change]) -> dict[bytes, dict[str, int | str]]:
    """Bins by digest once all changes are applied, in whatever order and however often: the newest version of each record wins.

    Written apart from the code under test, for generations that do not wrap: (lut, gen) as plain numbers, a delete above a write.
    """
    newest: dict[bytes, Change] = {}
    for change in changes:
        other = newest.get(change.digest)
        if other is None or _rank(change) > _rank(other):
            newest[change.digest] = change
    return {digest: dict(change.bins) for digest, change in newest.items() if change.bins is not None}


def _rank(change: Change) -> tuple[int, int, bool]:
    return change.lut_ms, change.gen, change.bins is None


__all__ = ["Change", "Message", "final_state"]
