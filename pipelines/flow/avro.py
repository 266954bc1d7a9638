"""The writer schemas of plain Avro in a flow: files that are read, and checked, when the flow is."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field, PlainValidator
from pydantic_core import PydanticCustomError

from pipelines.flow.base import StrictModel
from pipelines.flow.document import Document
from pipelines.flow.interpolate import Interpolated
from pipelines.flow.rule import Broken
from schemas.xdr.avro import problem_of
from schemas.xdr.avro_schema import BadSchema, read_schema
from schemas.xdr.options import AvroSchemas

if TYPE_CHECKING:
    from pipelines.flow.model import Flow

READ_BY = ("avro", "auto")
"""Formats that read plain Avro."""
_NAMES = ("write", "delete", "key")


class AvroFile(str):
    """The path of a file that holds an Avro schema. text: what was in it when the flow was loaded: workers need no file."""

    __slots__ = ("text",)
    text: str

    @classmethod
    def read(cls, path: str) -> "AvroFile":
        """Raises OSError, UnicodeDecodeError, and BadSchema when the file holds no schema that can be used."""
        found = cls(path)
        found.text = Path(path).read_text(encoding="utf-8-sig")
        read_schema(found.text)
        return found


def _file(value: Any) -> AvroFile:
    if isinstance(value, AvroFile):
        return value
    if not isinstance(value, str) or not value:
        raise PydanticCustomError("avro_file", "expected the path of an Avro schema file")
    try:
        return AvroFile.read(str(value))
    except OSError as error:
        why = f"schema file {value} cannot be read: {error.strerror}; paths are relative to the flow's folder"
    except UnicodeDecodeError:
        why = f"schema file {value} is not UTF-8 text"
    except BadSchema as problem:
        why = f"schema file {value} cannot be used: {problem}"
    raise PydanticCustomError("avro_file", "{message}", {"message": why})


SchemaFile = Annotated[AvroFile, PlainValidator(_file)]


def _example() -> AvroFile:
    """Stands for a file that cannot be had, while the rest of a flow is checked."""
    made = AvroFile("write.avsc")
    made.text = '{"type": "map", "values": "long"}'
    return made


class Avro(StrictModel):
    """The schemas the connector writes plain Avro with."""

    summary: ClassVar[str] = (
        "The schemas the connector writes plain Avro with, since no message names its own. Each is the path of a file (.avsc), "
        "relative to the flow's folder, read when the flow is loaded: a record whose fields are bins, or a map of bins."
    )

    write: SchemaFile = Field(
        description="Schema of writes; also of deletes when they have none of their own.", examples=[_example()]
    )
    delete: SchemaFile | None = Field(default=None, description="Schema of deletes.")
    key: SchemaFile | None = Field(
        default=None, description="Schema of Kafka keys, which say whose event it is where the schemas have no metadata."
    )

    def schemas(self) -> AvroSchemas:
        """The same as text, for decoders."""
        return AvroSchemas(self.write.text, self.delete and self.delete.text, self.key and self.key.text)


def place_avro_files(document: Document) -> None:
    """Make the paths of schema files in a flow's document those that they are from the flow's folder."""
    source = document.data.get("source")
    files = source.get("avro") if isinstance(source, dict) else None
    if not isinstance(source, dict) or not isinstance(files, dict):
        return
    folder = Path(document.path).parent
    there = {name: _placed(folder, value) if name in _NAMES else value for name, value in files.items()}
    document.data = {**document.data, "source": {**source, "avro": there}}


def _placed(folder: Path, value: Any) -> Any:
    if not isinstance(value, str) or not value:
        return value
    path = str(folder / str(value))
    return Interpolated(path, value.written) if isinstance(value, Interpolated) else path


def avro_schemas_fit(flow: "Flow") -> Iterator[Broken]:
    """Schemas are there for plain Avro, and only there, and events can be read by them."""
    source = flow.source
    if source.avro is None:
        if source.format == "avro":
            yield Broken(
                ("source", "format"),
                "format 'avro' needs 'source.avro': no message says by which schema it was written",
                "Give source.avro.write, the file of the connector's schema.",
                (("source", "avro"),),
            )
        return
    if source.format not in READ_BY:
        yield Broken(
            ("source", "avro"),
            f"'source.avro' belongs to {' and '.join(READ_BY)}; the format is {source.format!r}",
            "Leave it out.",
            (("source", "format"),),
        )
        return
    problem = problem_of(source.avro.schemas(), flow.decode_options().metadata_key)
    if problem is not None:
        name, why = problem
        yield Broken(
            ("source", "avro", name),
            f"the schema of 'source.avro.{name}' ({getattr(source.avro, name)}) cannot be used: {why}",
            "Use the connector's own schemas, and make source.metadata_key what the connector is set to.",
            (("source", "metadata_key"),),
        )


__all__ = ["Avro", "AvroFile", "READ_BY", "avro_schemas_fit", "place_avro_files"]
