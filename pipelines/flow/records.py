"""Which records a flow takes, and what it knows about their bins."""

from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import BeforeValidator, Field
from pydantic_core import PydanticCustomError

from pipelines.flow.base import Bool, StrictModel, Text, Texts
from schemas.bins import BinType

if TYPE_CHECKING:
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

    def selects(self, namespace: str, set_name: str | None) -> bool:
        """Whether an event of this namespace and set belongs to the flow."""
        if namespace != self.namespace:
            return False
        return self.sets is None or (self.without_set if set_name is None else set_name in self.sets)

    def record_type(self) -> "RecordType":
        """The same for the decoder, which writes records without a set as ""."""
        from schemas.xdr.options import RecordType  # loads pyspark, which validating a flow does not need

        sets = self.sets if self.sets is None or not self.without_set else (*self.sets, "")
        return RecordType(self.namespace, sets, self.bins)


def declared_types(records: tuple[Records, ...]) -> dict[str, set[BinType]]:
    """Every type each declared bin has in some entry."""
    types: dict[str, set[BinType]] = {}
    for entry in records:
        for name, kind in (entry.bins or {}).items():
            types.setdefault(name, set()).add(kind)
    return types


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def selection_sql(records: tuple[Records, ...]) -> str:
    """A Spark SQL condition over the columns `namespace` and `set`, never null: which decoded events the flow takes."""
    terms = []
    for entry in records:
        term = f"`namespace` <=> {_quoted(entry.namespace)}"
        if entry.sets is not None:
            term += f" AND coalesce(`set` IN ({', '.join(map(_quoted, entry.sets))}), {str(entry.without_set).lower()})"
        terms.append(f"({term})")
    return " OR ".join(terms) or "false"


__all__ = ["Records", "SCHEMALESS", "declared_types", "selection_sql"]
