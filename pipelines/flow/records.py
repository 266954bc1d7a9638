"""Which records a flow takes, and what it knows about them: in the flow itself, or in a schema file it names."""

from collections.abc import Iterable
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError, PydanticKnownError

from pipelines.flow.base import Bool, Int, StrictModel, Text, Texts
from pipelines.flow.record_rules import broken_in_record_type
from pipelines.flow.rule import require_whole
from schemas.bins import BIN_TYPES, BinType
from schemas.xdr.options import MissingBin, NewBin, Policies, RecordType, TypeChange, UserKeyRule

SCHEMALESS = "schemaless"


class Bin(StrictModel):
    """What is known of one bin."""

    summary: ClassVar[str] = "What is known of one bin. `qty: int` is short for `qty: {type: int}`."

    type: BinType = Field(
        description="Its type: int, float, str, bool, blob, hll, list, map or geojson. What becomes of a value of another type "
        "says `policies.type_change`.",
        examples=["int"],
    )
    nullable: Bool = Field(
        default=True, description="Whether a record may be without it; if not, `policies.missing_bin` says what becomes of one."
    )
    description: Text | None = Field(default=None, description="What it holds, for people.")


class RecordPolicies(StrictModel):
    """What becomes of messages that are not as the record type says."""

    summary: ClassVar[str] = "What becomes of messages that are not as the record type says; see [schemas.md](schemas.md)."

    new_bin: NewBin = Field(
        default="rescue",
        description="A bin nobody declared: kept in the history's `_rescued` column (rescue), given a column of its own (add), "
        "left out of every output (ignore), or reason to stop the flow (stop). A mirror holds it unless it is ignored.",
    )
    type_change: TypeChange = Field(
        default="dead-letter",
        description="A value of another type than the declared one: the event is a dead letter; or the value is kept as it is, "
        "in the mirror and in `_rescued` of the history (rescue) or, where that loses nothing, in its column (widen); or the "
        "flow stops (stop).",
    )
    missing_bin: MissingBin = Field(
        default="dead-letter",
        description="A record without a bin that is not nullable: the event is a dead letter, or is taken as it is (null), or "
        "the flow stops (stop).",
    )
    user_key: UserKeyRule = Field(
        default="check",
        description="A user key whose digest is not the record's: the event is a dead letter (check), or is taken without its "
        "key (drop), or with it (trust). Records are addressed by their digest in any case.",
    )

    def for_reader(self) -> Policies:
        """The same for the reader."""
        return Policies(self.new_bin, self.type_change, self.missing_bin, self.user_key)


def _declared(value: Any) -> Any:
    if isinstance(value, str):
        if value == SCHEMALESS:
            return None
        raise PydanticCustomError("bins", "expected `schemaless`, or bin names with their types such as {qty: int, price: float}")
    return value


def _bin(value: Any) -> Any:
    """A type alone is short for a bin of that type."""
    if isinstance(value, (Bin, dict)):
        return value
    if value not in BIN_TYPES:
        raise PydanticKnownError("enum", {"expected": _one_of(repr(str(kind)) for kind in BIN_TYPES)})
    return Bin(type=BinType(value))


def _one_of(words: Iterable[str]) -> str:
    *most, last = words
    return f"{', '.join(most)} or {last}"


class Records(StrictModel):
    """One namespace's records. Events of namespaces and sets that no entry names are counted as unselected and not written."""

    summary: ClassVar[str] = (
        "Which events the flow takes. All others are counted as unselected, never written. Instead of these options an entry may "
        "be `schema: FILE`, with the path of a schema file, relative to the flow's folder, that says them."
    )

    namespace: Text = Field(max_length=31, description="Source namespace.", examples=["payments"])
    sets: Texts | None = Field(
        default=None, min_length=1, description="Sets to take. When absent: all sets, and records without a set."
    )
    without_set: Bool = Field(default=False, description="Beside `sets`, take records that have no set.")
    bins: Annotated[dict[Text, Annotated[Bin, BeforeValidator(_bin)]] | None, BeforeValidator(_declared)] = Field(
        default=None,
        description="`schemaless`, or bin names with their types: int, float, str, bool, blob, hll, list, map, geojson. "
        "A value that does not fit its declared type makes the event a dead letter, unless `policies` say otherwise; "
        "bins that are not named keep the type they have.",
    )
    rename: dict[Text, Text] = Field(
        default_factory=dict,
        description="Bins that the connector has given other names (its `bin-transforms`): name in the messages -> name of the "
        "bin. `bins` and all outputs have the bins' own names.",
    )
    policies: RecordPolicies = Field(
        default_factory=RecordPolicies, description="What becomes of messages that are otherwise; see their own table."
    )

    def types(self) -> dict[str, BinType] | None:
        """Types by bin name; None when schemaless."""
        return None if self.bins is None else {name: known.type for name, known in self.bins.items()}

    def record_type(self) -> RecordType:
        """The same for the reader, which calls records without a set ""."""
        return RecordType(
            namespace=self.namespace,
            sets=self.sets if self.sets is None or not self.without_set else (*self.sets, ""),
            bins=self.types(),
            required=frozenset(name for name, known in (self.bins or {}).items() if not known.nullable),
            rename=self.rename,
            policies=self.policies.for_reader(),
        )


class RecordSchema(Records):
    """One record type, as a schema file describes it."""

    summary: ClassVar[str] = (
        "A schema file describes one record type, for flows that name it as `- schema: FILE` under `records`, and for "
        "`millrace schemas`. It is one mapping with these options."
    )

    version: Int = Field(default=1, ge=1, description="Number of this version of the schema; raise it with every change.")
    description: Text | None = Field(default=None, description="What the records are, for people.")
    bins: Annotated[dict[Text, Annotated[Bin, BeforeValidator(_bin)]], BeforeValidator(_declared)] = Field(
        description="Bin names with their types, or with what else is known of them; see their own table.", examples=[{}]
    )

    @model_validator(mode="after")
    def _whole(self) -> Self:
        require_whole("RecordSchema", broken_in_record_type(self))
        return self


def one_type_each(records: tuple[Records, ...]) -> dict[str, BinType] | None:
    """Bins that have one declared type in all entries that declare them; None when all entries are schemaless."""
    if all(entry.bins is None for entry in records):
        return None
    return {name: next(iter(kinds)) for name, kinds in declared_types(records).items() if len(kinds) == 1}


def user_keys(records: tuple[Records, ...]) -> Literal["proved", "trust"]:
    """Whether the reader has proved every user key of these records, or lets some through that contradict their digests."""
    return "trust" if any(entry.policies.user_key == "trust" for entry in records) else "proved"


def declared_types(records: tuple[Records, ...]) -> dict[str, set[BinType]]:
    """Every type each declared bin has in some entry."""
    types: dict[str, set[BinType]] = {}
    for entry in records:
        for name, kind in (entry.types() or {}).items():
            types.setdefault(name, set()).add(kind)
    return types


__all__ = ["Bin", "RecordPolicies", "RecordSchema", "Records", "SCHEMALESS", "declared_types", "one_type_each", "user_keys"]
