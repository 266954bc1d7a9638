"""`millrace schemas infer`: what the bins of records are, from a sample of them."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipelines.cli.decode import Format
from pipelines.cli.tables import show_table
from pipelines.cli.validate import AsJson, Output

if TYPE_CHECKING:
    from schemas.inference import InferredBin, Sample, SeenType

NOTHING_FOUND = 1
"""Exit status when the sample holds no record."""


def infer(
    flow: Annotated[Path | None, typer.Option("--flow", help="Sample what this flow reads; not beside --kafka.")] = None,
    kafka: Annotated[str | None, typer.Option("--kafka", metavar="HOST:PORT", help="Kafka brokers, with --topic.")] = None,
    topic: Annotated[list[str] | None, typer.Option("--topic", help="A topic of --kafka; may be given more than once.")] = None,
    message_format: Annotated[Format, typer.Option("--format", help="The connector's value encoding, of --topic.")] = Format.JSON,
    metadata_key: Annotated[str, typer.Option(help="flat-json: the member that holds the metadata, of --topic.")] = "metadata",
    scan: Annotated[
        bool, typer.Option("--scan", help="With --flow: sample the namespace of its reconcile.source instead.")
    ] = False,
    aerospike: Annotated[
        str | None, typer.Option("--aerospike", metavar="HOST:PORT", help="Sample a namespace of this cluster, with --namespace.")
    ] = None,
    namespace: Annotated[str | None, typer.Option("--namespace", help="Namespace of --aerospike.")] = None,
    only_set: Annotated[str | None, typer.Option("--set", help="Only records of this set.")] = None,
    sample: Annotated[int, typer.Option("--sample", min=1, help="How many messages or records to look at.")] = 10_000,
    write: Annotated[
        Path | None, typer.Option("--write", metavar="FOLDER", help="Write a schema file for each record type into this folder.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace schema files that are there.")] = False,
    output: AsJson = Output.TEXT,
) -> None:
    """Find out the bins of records, from the newest messages of topics or from a scan: their types, shares and conflicts.

    What is found is a proposal: the types that most values have. Starts no Spark and joins no consumer group.
    Exit status 0 when something was found, 1 when the sample holds no record, 2 for contradicting options.
    """
    from schemas.inference import inferred_bins

    origin, found, types_travel = _sampled(
        flow, kafka, topic or [], message_format.value, metadata_key, scan, aerospike, namespace, only_set, sample
    )
    types = [(seen, inferred_bins(seen, types_travel=types_travel)) for seen in found.types.values() if _wanted(seen, only_set)]
    types.sort(key=lambda one: (one[0].namespace, one[0].set or ""))
    written = _written(types, origin, write, overwrite) if write else []
    if output is Output.JSON:
        typer.echo(json.dumps(_as_dict(origin, found, types, written), indent=2, ensure_ascii=False))
    else:
        _show_sample(origin, found, types, written)
    if not types:
        raise typer.Exit(NOTHING_FOUND)


def _sampled(
    flow: Path | None,
    kafka: str | None,
    topics: Sequence[str],
    message_format: str,
    metadata_key: str,
    scan: bool,
    aerospike: str | None,
    namespace: str | None,
    only_set: str | None,
    count: int,
) -> tuple[str, "Sample", bool]:
    from dataclasses import replace

    from pipelines.catalogue.sample import sample_namespace, sample_topics
    from pipelines.flow import AerospikeCluster, load_flow
    from pipelines.kafka_offsets import client_settings
    from schemas.errors import ConfigError
    from schemas.xdr.options import DecodeOptions

    if sum(given is not None for given in (flow, kafka, aerospike)) != 1:
        raise ConfigError("E101", "the sample needs one origin", remedy="Give one of --flow, --kafka and --aerospike.")
    if kafka is not None:
        if not topics:
            raise ConfigError("E101", "--kafka needs a topic", remedy="Give --topic.")
        options = DecodeOptions(format=message_format, metadata_key=metadata_key)
        return (
            f"topic {', '.join(topics)}",
            sample_topics(client_settings(kafka, {}), topics, options, count),
            _travel(message_format),
        )
    if aerospike is not None:
        if namespace is None:
            raise ConfigError("E101", "--aerospike needs a namespace", remedy="Give --namespace.")
        cluster = AerospikeCluster(hosts=tuple(aerospike.split(",")), namespace=namespace)
        return f"namespace {namespace}", sample_namespace(cluster.client(), namespace, count, only_set), True
    assert flow is not None
    loaded = load_flow(flow)
    if scan:
        if loaded.reconcile is None:
            raise ConfigError("E101", "the flow has no reconcile.source to scan", remedy="Give it one, or leave --scan out.")
        source = loaded.reconcile.source
        return f"namespace {source.namespace}", sample_namespace(source.client(), source.namespace, count, only_set), True
    options = loaded.decode_options()
    records = tuple(replace(record, bins=None, required=frozenset()) for record in options.records)
    settings = client_settings(loaded.source.servers, loaded.source.client_options())
    sample = sample_topics(settings, loaded.source.topics, replace(options, records=records), count)
    return f"topic {', '.join(loaded.source.topics)}", sample, _travel(options.format)


def _travel(message_format: str) -> bool:
    """Whether messages of the format tell integers from doubles."""
    return message_format not in (Format.FLAT_JSON, Format.AUTO)


def _wanted(seen: "SeenType", only_set: str | None) -> bool:
    return seen.records > 0 and (only_set is None or seen.set == only_set)


def _written(
    types: Sequence[tuple["SeenType", Sequence["InferredBin"]]], origin: str, folder: Path, overwrite: bool
) -> list[str]:
    from pipelines.catalogue.writing import file_name, schema_text
    from schemas.errors import ConfigError

    paths = [folder / file_name(seen) for seen, _ in types]
    there = [str(path) for path in paths if path.exists()]
    if there and not overwrite:
        raise ConfigError("E101", f"there already: {', '.join(there)}", remedy="Name another folder, or give --overwrite.")
    folder.mkdir(parents=True, exist_ok=True)
    for path, (seen, bins) in zip(paths, types, strict=True):
        path.write_text(schema_text(seen, bins, origin), encoding="utf-8")
    return list(map(str, paths))


def _as_dict(
    origin: str, sample: "Sample", types: Sequence[tuple["SeenType", Sequence["InferredBin"]]], written: list[str]
) -> dict[str, Any]:
    return {
        "origin": origin,
        "looked_at": sample.looked_at,
        "dead": dict(sample.dead.most_common()),
        "record_types": [
            {
                "namespace": seen.namespace,
                "set": seen.set,
                "records": seen.records,
                "deletes": seen.deletes,
                "bins": [known._asdict() for known in bins],
            }
            for seen, bins in types
        ],
        "written": written,
    }


def _show_sample(
    origin: str, sample: "Sample", types: Sequence[tuple["SeenType", Sequence["InferredBin"]]], written: list[str]
) -> None:
    typer.echo(f"{origin}: {sample.looked_at:,} looked at")
    for code, number in sample.dead.most_common():
        typer.echo(f"{number:,} cannot be read: {code}; see `millrace decode`")
    for seen, bins in types:
        of = f"set {seen.set}" if seen.set is not None else "records without a set"
        typer.echo(f"\nnamespace {seen.namespace}, {of}: {seen.records:,} records, {seen.deletes:,} deletes")
        rows = [
            (
                known.name,
                str(known.type or "?"),
                f"{known.share:.1%}",
                ", ".join(f"{kind} {number:,}" for kind, number in known.types.items())
                + (f", null {known.nulls:,}" if known.nulls else ""),
                "; ".join(
                    filter(None, (known.conflict and f"conflict: {known.conflict}", known.aside and f"no column: {known.aside}"))
                ),
            )
            for known in bins
        ]
        show_table(("bin", "type", "share", "seen", "look at"), rows, right=(2,))
    for path in written:
        typer.echo(f"wrote {path}")


__all__ = ["NOTHING_FOUND", "infer"]
