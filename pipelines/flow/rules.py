"""Rules over several options of a flow. Each says what contradicts what, and what to do; none looks at the network."""

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from pipelines.flow.avro import avro_schemas_fit
from pipelines.flow.cluster_rules import cluster_options_agree, mirrors_get_what_they_need
from pipelines.flow.counter_rules import counters_are_left_alone, counters_make_sense
from pipelines.flow.locations import inside, same_place
from pipelines.flow.outputs import DeltaHistory
from pipelines.flow.places import Loc, dotted
from pipelines.flow.record_rules import broken_in_record_type
from pipelines.flow.registry_rules import registry_fits_format, registry_options_agree
from pipelines.flow.rule import Broken, Rule, placed_outputs
from pipelines.flow.source import REFUSED_OPTIONS

if TYPE_CHECKING:
    from pipelines.flow.model import Flow


def _tables(flow: "Flow") -> Iterator[tuple[Loc, str]]:
    for loc, _, output in placed_outputs(flow):
        if isinstance(output, DeltaHistory):
            yield (*loc, "path"), output.path
    yield ("dead_letters", "path"), flow.dead_letters.path
    yield ("dead_letters", "states"), flow.dead_letters.states
    yield ("ledger", "path"), flow.ledger.path


def outputs_are_given_once(flow: "Flow") -> Iterator[Broken]:
    """Outputs stand in lanes or beside them, and there is at least one."""
    if flow.lanes and flow.outputs:
        yield Broken(
            ("outputs",),
            "both 'outputs' and 'lanes' are given",
            "Move the outputs into a lane, or leave 'lanes' out.",
            (("lanes",),),
        )
    if not flow.lanes and not flow.outputs:
        yield Broken((), "the flow has no output", "Give 'outputs', or 'lanes' with outputs.", (("lanes",), ("outputs",)))


def output_names_are_unique(flow: "Flow") -> Iterator[Broken]:
    """Ledger rows and dead letters name outputs, so a name stands for one output of the flow."""
    seen: dict[str, Loc] = {}
    for loc, name, _ in placed_outputs(flow):
        if name in seen:
            yield Broken(
                loc, f"output name {name!r} is used twice, also at {dotted(seen[name])}", "Rename one of them.", (seen[name],)
            )
        seen.setdefault(name, loc)


def tables_are_apart(flow: "Flow") -> Iterator[Broken]:
    """Every table has a folder of its own, none inside another."""
    tables = list(_tables(flow))
    for index, (loc, path) in enumerate(tables):
        for other_loc, other in tables[:index]:
            if same_place(path, other):
                yield Broken(
                    loc,
                    f"{dotted(loc)!r} is the table of {dotted(other_loc)!r}: {path}",
                    "Give each table its own folder.",
                    (other_loc,),
                )
            elif inside(path, other) or inside(other, path):
                yield Broken(
                    loc,
                    f"{dotted(loc)!r} ({path}) and {dotted(other_loc)!r} ({other}) lie one inside the other",
                    "Give each table its own folder.",
                    (other_loc,),
                )


def checkpoint_is_apart(flow: "Flow") -> Iterator[Broken]:
    """Cleaning up a table must not remove a checkpoint, nor the other way round."""
    for loc, path in _tables(flow):
        if same_place(path, flow.checkpoint) or inside(path, flow.checkpoint) or inside(flow.checkpoint, path):
            yield Broken(
                ("checkpoint",),
                f"'checkpoint' ({flow.checkpoint}) and the table of {dotted(loc)!r} ({path}) lie one inside the other",
                "Use separate folders.",
                (loc,),
            )


def records_do_not_overlap(flow: "Flow") -> Iterator[Broken]:
    """An event belongs to at most one entry, which then knows its bins."""
    for index, entry in enumerate(flow.records):
        for number, other in enumerate(flow.records[:index]):
            if entry.namespace != other.namespace:
                continue
            common = sorted(set(entry.sets or ()) & set(other.sets or ()))
            both = entry.without_set and other.without_set
            if entry.sets is None or other.sets is None or common or both:
                what = f"set {', '.join(common)}" if common else "the same records"
                yield Broken(
                    ("records", index),
                    f"records[{number}] already takes {what} of namespace {entry.namespace!r}",
                    "Merge the two entries.",
                    (("records", number),),
                )


def record_names_fit(flow: "Flow") -> Iterator[Broken]:
    """Names of sets and bins, and bins that messages call otherwise."""
    for index, entry in enumerate(flow.records):
        for broken in broken_in_record_type(entry):
            yield replace(broken, loc=("records", index, *broken.loc))


def reconcile_reads_a_selected_namespace(flow: "Flow") -> Iterator[Broken]:
    """Comparing the mirror with a namespace the flow does not take would differ in every record."""
    if flow.reconcile and flow.reconcile.source.namespace not in {entry.namespace for entry in flow.records}:
        name = flow.reconcile.source.namespace
        yield Broken(
            ("reconcile", "source", "namespace"),
            f"namespace {name!r} is not among 'records'",
            "Name the namespace the flow takes.",
            (("records",),),
        )


def source_options_agree(flow: "Flow") -> Iterator[Broken]:
    """Options of the source that Spark refuses, or that belong to another format."""
    source = flow.source
    if source.metadata_key is not None and source.format not in ("flat-json", "avro", "kafka-avro", "auto"):
        yield Broken(
            ("source", "metadata_key"),
            f"'source.metadata_key' belongs to flat-json, avro, kafka-avro and auto; the format is {source.format!r}",
            "Leave it out, or set the format that the connector is set to.",
            (("source", "format"),),
        )
    if source.wrapped_in is not None and source.format not in ("json", "flat-json", "auto"):
        yield Broken(
            ("source", "wrapped_in"),
            f"'source.wrapped_in' belongs to json, flat-json and auto; the format is {source.format!r}",
            "Leave it out: messages of other formats are not wrapped.",
            (("source", "format"),),
        )
    for name in source.options:
        loc = ("source", "options", name)
        if name.startswith("kafka."):
            yield Broken(
                loc,
                f"Kafka option {name!r} is written with a prefix",
                f"Write {name.removeprefix('kafka.')!r}; the prefix is added.",
            )
        elif name in REFUSED_OPTIONS:
            yield Broken(loc, f"Kafka option {name!r} cannot be set: {REFUSED_OPTIONS[name]}", "Leave it out.")
    for index, topic in enumerate(source.topics):
        if topic in source.topics[:index]:
            yield Broken(("source", "topics", index), f"topic {topic!r} is named twice", "Name it once.")


def letters_do_not_come_back(flow: "Flow") -> Iterator[Broken]:
    """A topic that is read and gets the dead letters would feed the flow with its own dead letters, for ever."""
    topic = flow.dead_letters.topic
    if topic is None:
        return
    same_brokers = topic.bootstrap_servers is None or set(topic.bootstrap_servers) & set(flow.source.bootstrap_servers)
    if same_brokers and topic.name in flow.source.topics:
        yield Broken(
            ("dead_letters", "topic", "name"),
            f"'dead_letters.topic' {topic.name!r} is a topic the flow reads",
            "Give the letters a topic of their own.",
            (("source", "topics"),),
        )
    for name in topic.options:
        if name.startswith("kafka.") or name == "bootstrap.servers":
            yield Broken(
                ("dead_letters", "topic", "options", name),
                f"Kafka option {name!r} cannot stand here",
                "Leave out the prefix 'kafka.'; brokers are dead_letters.topic.bootstrap_servers.",
            )


def triggers_are_one_kind(flow: "Flow") -> Iterator[Broken]:
    """A trigger is an interval or available-now."""
    for name, lane in flow.lanes.items():
        loc = ("lanes", name, "trigger")
        if lane.trigger.available_now and lane.trigger.interval_ms is not None:
            yield Broken(loc, f"{dotted(loc)!r} has both interval_ms and available_now", "Keep one.")
        if not lane.trigger.available_now and lane.trigger.interval_ms is None:
            yield Broken(loc, f"{dotted(loc)!r} says neither interval_ms nor available_now", "Give one.")


OWN_SETTINGS: dict[str, str] = {
    "spark.master": "use spark.master of the flow, not of conf",
    "spark.app.name": "the application is named after the flow",
    "spark.sql.streaming.checkpointLocation": "use checkpoint of the flow",
    "spark.sql.streaming.stopActiveRunOnRestart": "a second driver must be refused, not take over",
    "spark.sql.session.timeZone": "dates of partitions are UTC",
    "spark.sql.extensions": "Delta needs its own; add others through a build of your own session",
    "spark.sql.catalog.spark_catalog": "Delta needs its own",
    "spark.speculation": "a second copy of a task would write the same records at the same time",
}
"""Spark settings a promise rests on, and why they cannot be replaced."""


def spark_settings_are_free(flow: "Flow") -> Iterator[Broken]:
    """Spark settings that a promise rests on cannot be replaced."""
    for name, value in flow.spark.conf.items():
        loc = ("spark", "conf", name)
        if name in OWN_SETTINGS and not (name == "spark.speculation" and value == "false"):
            yield Broken(loc, f"Spark setting {name!r} cannot be replaced: {OWN_SETTINGS[name]}", "Leave it out.")
        elif not name.startswith("spark."):
            yield Broken(loc, f"{name!r} is not a Spark setting: their names begin with 'spark.'", "Write the whole name.")
    if flow.spark.driver_memory and "spark.driver.memory" in flow.spark.conf:
        yield Broken(
            ("spark", "conf", "spark.driver.memory"),
            "driver memory is given twice, also as spark.driver_memory",
            "Keep one.",
            (("spark", "driver_memory"),),
        )


def restart_delays_nest(flow: "Flow") -> Iterator[Broken]:
    """The first pause is not longer than the longest."""
    if flow.restart.first_delay_ms > flow.restart.max_delay_ms:
        yield Broken(
            ("restart", "first_delay_ms"),
            f"'restart.first_delay_ms' ({flow.restart.first_delay_ms}) is more than max_delay_ms ({flow.restart.max_delay_ms})",
            "Lower it.",
            (("restart", "max_delay_ms"),),
        )


RULES: tuple[Rule, ...] = (
    outputs_are_given_once,
    output_names_are_unique,
    tables_are_apart,
    checkpoint_is_apart,
    records_do_not_overlap,
    record_names_fit,
    mirrors_get_what_they_need,
    counters_make_sense,
    counters_are_left_alone,
    reconcile_reads_a_selected_namespace,
    source_options_agree,
    avro_schemas_fit,
    registry_fits_format,
    registry_options_agree,
    cluster_options_agree,
    letters_do_not_come_back,
    triggers_are_one_kind,
    spark_settings_are_free,
    restart_delays_nest,
)


def broken_rules(flow: "Flow") -> list[Broken]:
    """Every rule that does not hold, in the order of RULES."""
    return [broken for rule in RULES for broken in rule(flow)]


__all__ = ["OWN_SETTINGS", "RULES", "broken_rules"]
