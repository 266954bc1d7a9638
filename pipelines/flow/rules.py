"""Rules over several options of a flow. Each says what contradicts what, and what to do; none looks at the network.

A rule is a generator over the built models. Locations begin at the flow; `also` names the other options a rule looked at, so that a rule
is not reported over options that are themselves in error.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.flow.aerospike import AerospikeCluster
from pipelines.flow.locations import inside, same_hosts, same_place
from pipelines.flow.outputs import AerospikeMirror, DeltaHistory
from pipelines.flow.places import Loc, dotted
from pipelines.flow.source import REFUSED_OPTIONS
from schemas.bins import MAX_BIN_NAME_BYTES, MAX_SET_NAME_BYTES, PRIVATE_BIN_PREFIX

if TYPE_CHECKING:
    from pipelines.flow.model import Flow


@dataclass(frozen=True, slots=True)
class Broken:
    """A rule that does not hold."""

    loc: Loc
    message: str
    remedy: str
    also: tuple[Loc, ...] = ()


Rule = Callable[["Flow"], Iterator[Broken]]


def placed_outputs(flow: "Flow") -> Iterator[tuple[Loc, str, AerospikeMirror | DeltaHistory]]:
    """Every output with its location and name, in lanes or not."""
    for lane_name, lane in flow.lanes.items():
        for name, output in lane.outputs.items():
            yield ("lanes", lane_name, "outputs", name), name, output
    for name, output in flow.outputs.items():
        yield ("outputs", name), name, output


def _mirrors(flow: "Flow") -> Iterator[tuple[Loc, AerospikeMirror]]:
    return ((loc, output) for loc, _, output in placed_outputs(flow) if isinstance(output, AerospikeMirror))


def _clusters(flow: "Flow") -> Iterator[tuple[Loc, AerospikeCluster]]:
    yield from _mirrors(flow)
    if flow.reconcile:
        yield ("reconcile", "source"), flow.reconcile.source


def _tables(flow: "Flow") -> Iterator[tuple[Loc, str]]:
    for loc, _, output in placed_outputs(flow):
        if isinstance(output, DeltaHistory):
            yield (*loc, "path"), output.path
    yield ("dead_letters", "path"), flow.dead_letters.path
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
    """Set and bin names that Aerospike could not hold, or that the mirror keeps for itself."""
    for index, entry in enumerate(flow.records):
        for number, name in enumerate(entry.sets or ()):
            if len(name.encode()) > MAX_SET_NAME_BYTES:
                yield Broken(
                    ("records", index, "sets", number),
                    f"set name {name!r} is longer than {MAX_SET_NAME_BYTES} bytes",
                    "No record can be in it.",
                )
        if entry.without_set and entry.sets is None:
            yield Broken(
                ("records", index, "without_set"),
                "'without_set' is given without 'sets'",
                "Without 'sets' records without a set are taken anyway.",
            )
        for name in entry.bins or {}:
            loc: Loc = ("records", index, "bins", name)
            if len(name.encode()) > MAX_BIN_NAME_BYTES:
                yield Broken(
                    loc,
                    f"bin name {name!r} has {len(name.encode())} bytes; Aerospike allows {MAX_BIN_NAME_BYTES}",
                    "Use the name the source has.",
                )
            elif name.startswith(PRIVATE_BIN_PREFIX):
                yield Broken(
                    loc,
                    f"bin name {name!r} begins with {PRIVATE_BIN_PREFIX!r}, which a mirror keeps for itself",
                    "Such a bin cannot be mirrored.",
                )


def mirrors_get_what_they_need(flow: "Flow") -> Iterator[Broken]:
    """A mirror holds one namespace's records whole, and shares its namespace with nobody."""
    namespaces = sorted({entry.namespace for entry in flow.records})
    seen: list[tuple[Loc, AerospikeMirror]] = []
    for loc, mirror in _mirrors(flow):
        if flow.source.image != "full":
            yield Broken(
                ("source", "image"),
                f"'source.image' is {flow.source.image!r} but {dotted(loc)!r} is a mirror, which replaces whole records",
                "Let XDR ship all bins (bin-policy all), or leave the mirror out.",
                (loc,),
            )
        if len(namespaces) > 1:
            yield Broken(
                (*loc, "namespace"),
                f"{dotted(loc)!r} would mix records of the namespaces {', '.join(namespaces)}: a record's digest is unique in one namespace only",
                "Make one flow per namespace.",
                (("records",),),
            )
        for entry in flow.records:
            if mirror.tombstone_set in (entry.sets or ()):
                yield Broken(
                    (*loc, "tombstone_set"),
                    f"tombstone set {mirror.tombstone_set!r} is also a set of 'records'",
                    "Choose another name.",
                    (("records",),),
                )
        if len(mirror.tombstone_set.encode()) > MAX_SET_NAME_BYTES:
            yield Broken((*loc, "tombstone_set"), f"set name is longer than {MAX_SET_NAME_BYTES} bytes", "Choose a shorter name.")
        for other_loc, other in seen:
            if mirror.namespace == other.namespace and same_hosts(mirror.addresses, other.addresses):
                yield Broken(
                    (*loc, "namespace"),
                    f"{dotted(loc)!r} and {dotted(other_loc)!r} write the same namespace {mirror.namespace!r}",
                    "Keep one of them.",
                    (other_loc,),
                )
        seen.append((loc, mirror))
        if flow.reconcile:
            source = flow.reconcile.source
            if mirror.namespace == source.namespace and same_hosts(mirror.addresses, source.addresses):
                yield Broken(
                    (*loc, "namespace"),
                    f"{dotted(loc)!r} writes namespace {mirror.namespace!r} of the cluster it mirrors: its writes would come back as changes, for ever",
                    "Mirror into another namespace or cluster.",
                    (("reconcile", "source"), (*loc, "hosts")),
                )


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
    if source.metadata_key is not None and source.format != "flat-json":
        yield Broken(
            ("source", "metadata_key"),
            f"'source.metadata_key' belongs to flat-json; the format is {source.format!r}",
            "Leave it out, or set format: flat-json.",
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


def cluster_options_agree(flow: "Flow") -> Iterator[Broken]:
    """Login, TLS and time-outs of every cluster."""
    for loc, cluster in _clusters(flow):
        yield from _login(loc, cluster)
        yield from _tls(loc, cluster)
        if cluster.socket_timeout_ms > cluster.total_timeout_ms:
            yield Broken(
                (*loc, "socket_timeout_ms"),
                f"'{dotted(loc)}.socket_timeout_ms' ({cluster.socket_timeout_ms}) is more than total_timeout_ms ({cluster.total_timeout_ms})",
                "One network wait is part of a call: lower it, or raise total_timeout_ms.",
                ((*loc, "total_timeout_ms"),),
            )
    for loc, mirror in _mirrors(flow):
        if mirror.total_timeout_ms > mirror.batch_timeout_s * 1000:
            yield Broken(
                (*loc, "total_timeout_ms"),
                f"'{dotted(loc)}.total_timeout_ms' ({mirror.total_timeout_ms}) is more than batch_timeout_s ({mirror.batch_timeout_s:g})",
                "A call is part of a micro-batch: lower it, or raise batch_timeout_s.",
                ((*loc, "batch_timeout_s"), (*loc, "socket_timeout_ms")),
            )
        if mirror.first_backoff_ms > mirror.max_backoff_ms:
            yield Broken(
                (*loc, "first_backoff_ms"),
                f"first_backoff_ms ({mirror.first_backoff_ms}) is more than max_backoff_ms ({mirror.max_backoff_ms})",
                "Lower it.",
                ((*loc, "max_backoff_ms"),),
            )


def _login(loc: Loc, cluster: AerospikeCluster) -> Iterator[Broken]:
    mode, user, password = (*loc, "auth_mode"), (*loc, "user"), (*loc, "password")
    if cluster.auth_mode == "pki":
        if cluster.password is not None:
            yield Broken(
                password, "a password is given with auth_mode pki", "The client certificate is the login: leave it out.", (mode,)
            )
        if not (cluster.tls.enable and cluster.tls.certfile):
            yield Broken(
                mode, "auth_mode pki needs tls.enable and tls.certfile", "Give the client certificate.", ((*loc, "tls"),)
            )
        return
    if cluster.user is not None and cluster.password is None:
        yield Broken(
            user, f"'{dotted(loc)}.user' is given without a password", "Add password: ${NAME} or {file: /path}.", (password,)
        )
    if cluster.password is not None and cluster.user is None:
        yield Broken(
            password, f"'{dotted(loc)}.password' is given without a user", "Add user, or leave the password out.", (user,)
        )
    if cluster.auth_mode != "internal" and cluster.user is None:
        yield Broken(mode, f"auth_mode {cluster.auth_mode} needs user and password", "Add both.", (user, password))
    if cluster.auth_mode == "external" and not cluster.tls.enable:
        yield Broken(
            mode,
            "auth_mode external sends the password in clear without TLS",
            "Set tls.enable, or auth_mode external_insecure if that is meant.",
            ((*loc, "tls"),),
        )


def _tls(loc: Loc, cluster: AerospikeCluster) -> Iterator[Broken]:
    tls = cluster.tls
    here = (*loc, "tls")
    given = [name for name in type(tls).model_fields if name != "enable" and getattr(tls, name) not in (None, False)]
    if given and not tls.enable:
        yield Broken(
            (*here, given[0]),
            f"'{dotted(here)}.{given[0]}' is given but TLS is off",
            "Set tls.enable: true, or leave it out.",
            ((*here, "enable"),),
        )
        return
    if tls.keyfile_password and not tls.keyfile:
        yield Broken(
            (*here, "keyfile_password"), "keyfile_password is given without keyfile", "Add keyfile.", ((*here, "keyfile"),)
        )
    if (tls.certfile is None) != (tls.keyfile is None):
        present, absent = ("certfile", "keyfile") if tls.certfile else ("keyfile", "certfile")
        yield Broken(
            (*here, present), f"{present} is given without {absent}", f"Mutual TLS needs both: add {absent}.", ((*here, absent),)
        )
    for name in tls.FILES:
        path = getattr(tls, name)
        if path is not None and not (Path(path).is_dir() if name == "capath" else Path(path).is_file()):
            kind = "folder" if name == "capath" else "file"
            yield Broken((*here, name), f"'{dotted(here)}.{name}': there is no {kind} {path}", "Check the path.")
    for index, address in enumerate(cluster.addresses):
        if address.tls_name and not tls.enable:
            yield Broken(
                (*loc, "hosts", index),
                f"host {cluster.hosts[index]!r} has a TLS name but TLS is off",
                "Set tls.enable: true, or write host:port.",
                ((*here, "enable"),),
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
    reconcile_reads_a_selected_namespace,
    source_options_agree,
    cluster_options_agree,
    triggers_are_one_kind,
    spark_settings_are_free,
    restart_delays_nest,
)


def broken_rules(flow: "Flow") -> list[Broken]:
    """Every rule that does not hold, in the order of RULES."""
    return [broken for rule in RULES for broken in rule(flow)]


__all__ = ["Broken", "OWN_SETTINGS", "RULES", "broken_rules", "placed_outputs"]
