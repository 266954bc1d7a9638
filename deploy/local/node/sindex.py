"""Secondary indexes: a definition kept by the namespace, answered by looking at the records of its set.

No structure is kept up to date on writes, so an index is complete the moment it is defined and costs writes nothing; a query
reads every record of the set.
"""

import json
from collections.abc import Callable, Iterator
from typing import NamedTuple

from deploy.local.node import wire
from deploy.local.node.algebra.elements import ListValue, MapValue, Value
from deploy.local.node.algebra.errors import ServerError
from deploy.local.node.algebra.values import element_of, particle_of
from deploy.local.node.changes import Particle

PARTICLE_OF_TYPE = {"numeric": wire.INTEGER, "string": wire.STRING, "blob": wire.BLOB}
INDEX_TYPES = ("default", "list", "mapkeys", "mapvalues")
"""In the order of field 26: 0 plain, 1 list elements, 2 map keys, 3 map values."""
HIGHEST_VALUE = (1 << 64) - 1


class Definition(NamedTuple):
    """What an index covers; `set_name` is "" for the whole namespace."""

    set_name: str
    bin: str
    type: str
    index_type: str


class SecondaryIndex(NamedTuple):
    """A named definition."""

    name: str
    definition: Definition

    def to_json(self) -> str:
        """The form kept in the log."""
        return json.dumps([self.name, *self.definition])

    @classmethod
    def from_json(cls, given: str) -> "SecondaryIndex":
        """The inverse of `to_json`."""
        name, *definition = json.loads(given)
        return cls(name, Definition(*definition))

    def stated(self, namespace: str) -> str:
        """The row of `sindex-list`."""
        set_name, bin_name, kind, index_type = self.definition
        return (
            f"ns={namespace}:indexname={self.name}:set={set_name or 'NULL'}:bin={bin_name}:type={kind}"
            f":indextype={index_type}:context=null:exp=null:state=RW"
        )


class Range(NamedTuple):
    """What an index query asks for: field 22, and which kind of index. `low` and `high` are both included."""

    bin: str
    type: int
    low: bytes
    high: bytes
    index_type: int

    @property
    def definition_type(self) -> str:
        """The index type's name as definitions state it."""
        return INDEX_TYPES[self.index_type]


def parse_range(raw: bytes, index_type: int) -> Range:
    """Field 22. Raises ServerError: 4 for an unreadable or empty range, 16 for GeoJSON."""
    if len(raw) < 3 or raw[0] != 1 or index_type >= len(INDEX_TYPES):
        raise ServerError(wire.PARAMETER, "one index range expected")
    name_end = 2 + raw[1]
    if len(raw) < name_end + 5:
        raise ServerError(wire.PARAMETER, "index range cut off")
    kind = raw[name_end]
    if kind == wire.GEOJSON:
        raise ServerError(wire.UNSUPPORTED, "GeoJSON index queries")
    low, pos = _sized(raw, name_end + 1)
    high, pos = _sized(raw, pos)
    if pos != len(raw) or kind not in PARTICLE_OF_TYPE.values():
        raise ServerError(wire.PARAMETER, "index range not readable")
    if kind == wire.INTEGER:
        if len(low) != 8 or len(high) != 8 or int.from_bytes(low, "big", signed=True) > int.from_bytes(high, "big", signed=True):
            raise ServerError(wire.PARAMETER, "index range empty")
    elif low != high:
        raise ServerError(wire.PARAMETER, "only equality for strings and blobs")
    return Range(wire.text(raw[2:name_end]), kind, low, high, index_type)


def _sized(raw: bytes, pos: int) -> tuple[bytes, int]:
    size = int.from_bytes(raw[pos : pos + 4], "big")
    if pos + 4 + size > len(raw):
        raise ServerError(wire.PARAMETER, "index range cut off")
    return raw[pos + 4 : pos + 4 + size], pos + 4 + size


def indexed_values(particle: Particle | None, kind: int, index_type: int) -> Iterator[bytes]:
    """The raw values of particle type `kind` an index of this type holds for a bin."""
    if particle is None:
        return
    if index_type == 0:
        if particle[0] == kind:
            yield particle[1]
        return
    for element in _elements(particle, INDEX_TYPES[index_type]):
        found = particle_of(element)
        if found is not None and found[0] == kind:
            yield found[1]


def _elements(particle: Particle, index_type: str) -> list[Value]:
    if particle[0] not in (wire.LIST, wire.MAP):
        return []
    whole = element_of(particle)
    if isinstance(whole, ListValue) and index_type == "list":
        return whole.items
    if isinstance(whole, MapValue) and index_type != "list":
        return [key if index_type == "mapkeys" else value for key, value in whole.pairs]
    return []


def matcher(wanted: Range) -> Callable[[Particle | None], int | None]:
    """A test of a bin: the order value of its smallest match (an integer's value, 0 for others), None without one."""
    kind, index_type = wanted.type, wanted.index_type
    if kind == wire.INTEGER:
        low, high = (int.from_bytes(end, "big", signed=True) for end in (wanted.low, wanted.high))

        def number(particle: Particle | None) -> int | None:
            values = (int.from_bytes(raw, "big", signed=True) for raw in indexed_values(particle, kind, index_type))
            return min((value for value in values if low <= value <= high), default=None)

        return number

    def equal(particle: Particle | None) -> int | None:
        return 0 if wanted.low in indexed_values(particle, kind, index_type) else None

    return equal
