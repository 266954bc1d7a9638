"""Which records a flow takes, and what it knows about their bins."""

from typing import Annotated, Any, ClassVar

from pydantic import BeforeValidator, Field
from pydantic_core import PydanticCustomError

from pipelines.flow.base import Bool, StrictModel, Text, Texts
from schemas.bins import BinType
from schemas.xdr.options import RecordType

SCHEMALESS = "schemaless"


def _declared(value: Any) -> Any:
    if isinstance(value, str):
        if value == SCHEMALESS:
            return None
        raise PydanticCustomError("bins", "expected `schemaless`, or bin names with their types such as {qty: int, price: float}")
    return value


class Records(StrictModel):
    """One namespace's records. Events of namespaces and sets that no entry names are counted as unselected and not written."""

    summary: ClassVar[str] = "Which events the flow takes. All others are counted as unselected, never written."

    namespace: Text = Field(max_length=31, description="Source namespace.", examples=["payments"])
    sets: Texts | None = Field(
        default=None, min_length=1, description="Sets to take. When absent: all sets, and records without a set."
    )
    without_set: Bool = Field(default=False, description="Beside `sets`, take records that have no set.")
    bins: Annotated[dict[Text, BinType] | None, BeforeValidator(_declared)] = Field(
        default=None,
        description="`schemaless`, or bin names with their types: int, float, str, bool, blob, hll, list, map, geojson. "
        "A value that does not fit its declared type makes the event a dead letter; "
        "bins that are not named keep the type they have.",
    )

    def record_type(self) -> RecordType:
        """The same for the decoder, which calls records without a set ""."""
        sets = self.sets if self.sets is None or not self.without_set else (*self.sets, "")
        return RecordType(self.namespace, sets, self.bins)


def declared_types(records: tuple[Records, ...]) -> dict[str, set[BinType]]:
    """Every type each declared bin has in some entry."""
    types: dict[str, set[BinType]] = {}
    for entry in records:
        for name, kind in (entry.bins or {}).items():
            types.setdefault(name, set()).add(kind)
    return types


__all__ = ["Records", "SCHEMALESS", "declared_types"]
