"""`millrace decode FILE`: how one message is read, by the code that reads streams."""

import json
import sys
from base64 import b64encode
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from schemas.xdr.metadata import Metadata
    from schemas.xdr.normal_form import Read
    from schemas.xdr.options import AvroSchemas, DecodeOptions

DEAD = 1
_OF_LINES = ("json", "flat-json", "auto")
_SCHEMAS = {"schema_write": "--schema-write", "schema_delete": "--schema-delete", "schema_key": "--schema-key"}
_SAID_BY_FLOW = {"message_format": "--format", "metadata_key": "--metadata-key", **_SCHEMAS}
"""Options a flow replaces, by their parameters."""


class Format(StrEnum):
    """The connector's value encodings Millrace reads."""

    JSON = "json"
    FLAT_JSON = "flat-json"
    MESSAGE_PACK = "message-pack"
    AVRO = "avro"
    KAFKA_AVRO = "kafka-avro"
    AUTO = "auto"


def decode(
    context: typer.Context,
    file: Annotated[str, typer.Argument(metavar="FILE|-", help="The message's value, as its bytes are; - for standard input.")],
    message_format: Annotated[Format, typer.Option("--format", help="The connector's value encoding.")] = Format.JSON,
    key_file: Annotated[
        Path | None,
        typer.Option(
            "--key-file",
            metavar="K",
            help="The message's Kafka key, as its bytes are; it and the identity it holds are shown beside the event.",
        ),
    ] = None,
    metadata_key: Annotated[str, typer.Option(help="flat-json, avro: the member that holds the metadata.")] = "metadata",
    schema_write: Annotated[Path | None, typer.Option(metavar="FILE", help="avro, auto: the Avro schema of writes.")] = None,
    schema_delete: Annotated[
        Path | None, typer.Option(metavar="FILE", help="avro, auto: the schema of deletes; that of writes when absent.")
    ] = None,
    schema_key: Annotated[
        Path | None, typer.Option(metavar="FILE", help="avro, auto: the schema of Kafka keys, where values have no metadata.")
    ] = None,
    flow: Annotated[
        Path | None,
        typer.Option(
            help="Read as this flow does: format, metadata key, schemas, registry, declared bins; not beside such options."
        ),
    ] = None,
    lines: Annotated[bool, typer.Option("--lines", help="Every line of FILE is a message; JSON only.")] = False,
) -> None:
    """Show how a message is read: the event as JSON with types, or why it would be a dead letter, where, and what to do.

    A message that holds several events shows each of them.

    Exit status 0 when every message can be read, 1 when one would be a dead letter, 2 when a file is missing or options
    contradict each other.
    """
    from pipelines.schema_registry import schema_source
    from schemas.errors import ConfigError
    from schemas.xdr.reader import Reader

    if flow:
        _require_alone(context)
    schemas = {"write": schema_write, "delete": schema_delete, "key": schema_key}
    options = _options(message_format.value, metadata_key, schemas, flow)
    if lines and options.format not in _OF_LINES:
        raise ConfigError(
            "E101",
            f"--lines is for JSON: a message of the format {options.format} may hold any byte, the end of a line too",
            remedy="Decode one file a message.",
        )
    reader = Reader(options, schema_source(options))
    kafka_key = _bytes(key_file) if key_file else None
    key = {} if kafka_key is None else {"kafka_key": _text(kafka_key), "kafka_key_identity": _key_identity(kafka_key)}
    dead = False
    for value in _messages(file, lines, options.format in _OF_LINES):
        for read in reader.read(value, kafka_key):
            dead = dead or read.error is not None
            typer.echo(json.dumps({**shown(read), **key}, indent=None if lines else 2, ensure_ascii=False))
    if dead:
        raise typer.Exit(DEAD)


def _require_alone(context: typer.Context) -> None:
    """Refuse what a flow already says. An option that was not given has its default, which means nothing beside a flow."""
    from schemas.errors import ConfigError

    sources = {option: context.get_parameter_source(name) for name, option in _SAID_BY_FLOW.items()}
    said = [option for option, source in sources.items() if source is not None and source.name == "COMMANDLINE"]
    if said:
        given = " and ".join(said)
        raise ConfigError(
            "E101",
            f"--flow already says how messages are read, and so {'does' if len(said) == 1 else 'do'} {given}",
            remedy=f"Leave out {given} to read as the flow does, or leave out --flow.",
        )


def _messages(file: str, lines: bool, text: bool) -> list[bytes]:
    data = sys.stdin.buffer.read() if file == "-" else _bytes(Path(file))
    if not lines:
        # The newline at the end of JSON text is an editor's; after anything else it is a byte of the message.
        return [data.removesuffix(b"\n") if text and data.lstrip()[:1] in (b"{", b"[") else data]
    return [line for line in data.split(b"\n") if line.strip()]


def _bytes(path: Path) -> bytes:
    from schemas.errors import ConfigError

    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError("E100", f"cannot be read: {error.strerror}", remedy="Check the path.", file=path) from None


def _options(message_format: str, metadata_key: str, schemas: dict[str, Path | None], flow: Path | None) -> "DecodeOptions":
    from pipelines.flow import load_flow
    from schemas.xdr.options import DecodeOptions

    if flow:
        return load_flow(flow).decode_options()
    return DecodeOptions(message_format, metadata_key, avro=_avro_schemas(message_format, metadata_key, schemas))


def _avro_schemas(message_format: str, metadata_key: str, files: dict[str, Path | None]) -> "AvroSchemas | None":
    """The schemas of plain Avro. Raises ConfigError E100 and E101 for files and combinations that cannot be used."""
    from schemas.errors import ConfigError
    from schemas.xdr.avro import problem_of
    from schemas.xdr.options import AvroSchemas

    if message_format == Format.KAFKA_AVRO:
        raise ConfigError("E101", "format kafka-avro needs a schema registry", remedy="Use --flow with a flow that names it.")
    given = {name: path for name, path in files.items() if path is not None}
    if given and message_format not in (Format.AVRO, Format.AUTO):
        raise ConfigError(
            "E101",
            f"--schema-{next(iter(given))} belongs to avro and auto; the format is {message_format}",
            remedy="Leave it out.",
        )
    if "write" not in given:
        if given or message_format == Format.AVRO:
            raise ConfigError("E101", "--schema-write is missing: no message of plain Avro says by which schema it was written")
        return None
    try:
        schemas = AvroSchemas(**{name: _bytes(path).decode("utf-8-sig") for name, path in given.items()})
    except UnicodeDecodeError:
        raise ConfigError("E101", "a schema file is not UTF-8 text") from None
    problem = problem_of(schemas, metadata_key)
    if problem is not None:
        name, why = problem
        raise ConfigError("E101", f"the schema of --schema-{name} cannot be used: {why}", file=given.get(name))
    return schemas


def _text(data: bytes) -> str | dict[str, str]:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return {"base64": b64encode(data).decode()}


def _key_identity(key: bytes) -> dict[str, Any]:
    """Whose key it is, or why that cannot be said."""
    from schemas.xdr.keys import read_key
    from schemas.xdr.problem import Undecodable

    try:
        return _identity(read_key(key))
    except Undecodable as problem:
        return {"none": problem.detail}


def _identity(said: "Metadata") -> dict[str, Any]:
    return {
        "namespace": said.namespace,
        "set": said.set,
        "digest": b64encode(said.digest or b"").decode(),
        "user_key": dict(zip(("type", "value"), said.user_key, strict=True)) if said.user_key else None,
    }


def shown(read: "Read") -> dict[str, Any]:
    """The event with types, or the dead letter."""
    if read.error is not None:
        from schemas.reasons import REASONS

        code, detail = read.error
        reason = REASONS[code]
        return {
            "dead_letter": code,
            "reason": reason.title,
            "detail": detail,
            "meaning": reason.meaning,
            "remedy": reason.remedy,
        }
    said = read.metadata
    event: dict[str, Any] = {"op": said.op, **_identity(said)}
    event |= {"gen": said.gen, "lut_ms": said.lut_ms, "exp_s": said.exp_s, "durable": said.durable}
    if read.bins is not None:
        event["bins"] = {name: {"type": kind, "value": text} for name, kind, text in read.bins}
    return event


__all__ = ["decode", "shown"]
