"""What a flow will read, write and guarantee, from its model alone: no Spark, no network."""

from typing import Any, NamedTuple

from pipelines.flow.aerospike import AerospikeCluster
from pipelines.flow.guarantees import Guarantee, guarantee_of, ledger_guarantee, letters_guarantee
from pipelines.flow.load import LoadedFlow
from pipelines.flow.model import Flow
from pipelines.flow.resolved import ResolvedOption, resolved_options
from pipelines.flow.secrets import MASK, Secret, is_sensitive


class SparkSetting(NamedTuple):
    """One Spark setting the application starts with. `source`: flow, or Millrace's default with its reason."""

    name: str
    value: str
    source: str
    reason: str


class LaneExplained(NamedTuple):
    """One lane. `ceiling`: events per second its trigger and its limit allow at most, None without an interval."""

    name: str
    trigger: str
    rows_per_batch: int
    ceiling: int | None
    checkpoint: str
    outputs: tuple[str, ...]
    decode_owner: bool


class OutputExplained(NamedTuple):
    """One output with its promises."""

    name: str
    lane: str
    kind: str
    guarantee: Guarantee


class Explanation(NamedTuple):
    """A flow, explained. `plans` holds Spark's plan per lane when it was asked for."""

    flow: str
    file: str
    reads: str
    takes: tuple[str, ...]
    lanes: tuple[LaneExplained, ...]
    outputs: tuple[OutputExplained, ...]
    tables: tuple[str, ...]
    options: tuple[ResolvedOption, ...]
    spark: tuple[SparkSetting, ...]
    warnings: tuple[str, ...]
    plans: dict[str, str]

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            **self._asdict(),
            "lanes": [lane._asdict() for lane in self.lanes],
            "outputs": [{"name": o.name, "lane": o.lane, "type": o.kind, **o.guarantee._asdict()} for o in self.outputs],
            "options": [option._asdict() for option in self.options],
            "spark": [setting._asdict() for setting in self.spark],
        }


def explain_flow(loaded: LoadedFlow, defaults: dict[str, tuple[str, str]]) -> Explanation:
    """Explain a loaded flow. `defaults`: value and reason of every Spark setting Millrace chooses, by name."""
    flow = loaded.flow
    source = flow.source
    reads = (
        f"topics {', '.join(source.topics)} of {source.servers}, XDR {source.format}, image {source.image}; "
        f"a new checkpoint begins at {source.starting_offsets}"
    )
    return Explanation(
        flow=flow.name,
        file=loaded.path,
        reads=reads,
        takes=tuple(_taken(flow)),
        lanes=tuple(_lane(flow, name) for name in flow.lanes),
        outputs=tuple(
            OutputExplained(name, lane_name, output.type, guarantee_of(output, source.image))
            for lane_name, lane in flow.lanes.items()
            for name, output in lane.outputs.items()
        ),
        tables=(
            "dead letters "
            + letters_guarantee(
                flow.dead_letters.path, flow.decode_owner, flow.dead_letters.topic.name if flow.dead_letters.topic else None
            ),
            "ledger " + ledger_guarantee(flow.ledger.path),
        ),
        options=tuple(resolved_options(flow)),
        spark=tuple(spark_settings(flow, defaults)),
        warnings=tuple(warning.text(loaded.path) for warning in loaded.warnings),
        plans={},
    )


def _taken(flow: Flow) -> list[str]:
    lines = []
    for entry in flow.records:
        sets = f"sets {', '.join(entry.sets)}" if entry.sets else "all sets and records without a set"
        alone = " and records without a set" if entry.sets and entry.without_set else ""
        types = entry.types()
        bins = "schemaless" if types is None else ", ".join(f"{name} {kind}" for name, kind in types.items())
        lines.append(f"namespace {entry.namespace}: {sets}{alone}; bins {bins}")
    return lines


def _lane(flow: Flow, name: str) -> LaneExplained:
    lane = flow.lanes[name]
    rows = flow.max_offsets_per_trigger(name)
    interval_ms = lane.trigger.interval_ms
    return LaneExplained(
        name=name,
        trigger=f"every {interval_ms:,} ms" if interval_ms else "once: what is there now",
        rows_per_batch=rows,
        ceiling=rows * 1000 // interval_ms if interval_ms else None,
        checkpoint=flow.lane_checkpoint(name),
        outputs=tuple(lane.outputs),
        decode_owner=name == flow.decode_owner,
    )


def spark_settings(flow: Flow, defaults: dict[str, tuple[str, str]]) -> list[SparkSetting]:
    """Spark settings as the application starts with them, flow over defaults, secrets masked, defaults first."""
    settings = {name: SparkSetting(name, value, "default", reason) for name, (value, reason) in defaults.items()}
    settings["spark.master"] = SparkSetting(
        "spark.master", flow.spark.master, "flow" if "master" in flow.spark.model_fields_set else "default", ""
    )
    for name, value in flow.spark.overrides().items():
        hidden = isinstance(flow.spark.conf.get(name), Secret) or is_sensitive_setting(name)
        settings[name] = SparkSetting(name, MASK if hidden else value, "flow", "")
    return list(settings.values())


def is_sensitive_setting(name: str) -> bool:
    """Whether a Spark setting's value is hidden. The settings that say what to redact are no secrets themselves."""
    return is_sensitive(name) and "redaction" not in name


def secrets_of(flow: Flow) -> list[str]:
    """Every secret's value, to take out of texts made by others, such as Spark's plans. Never print it."""
    topic = flow.dead_letters.topic
    options = (*flow.source.options.values(), *flow.spark.conf.values(), *(topic.options.values() if topic else ()))
    found = [value.reveal() for value in options if isinstance(value, Secret)]
    found += [secret.reveal() for secret in (flow.source.registry.secrets() if flow.source.registry else ())]
    clusters = [output for output in flow.all_outputs().values() if isinstance(output, AerospikeCluster)]
    for cluster in (*clusters, *([flow.reconcile.source] if flow.reconcile else [])):
        found += [secret.reveal() for secret in (cluster.password, cluster.tls.keyfile_password) if secret]
    return [value for value in found if value]


__all__ = ["Explanation", "LaneExplained", "OutputExplained", "SparkSetting", "explain_flow", "secrets_of", "spark_settings"]
