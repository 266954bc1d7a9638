"""A flow built in Python is the flow the file describes, with the same checks."""

import pickle
from pathlib import Path

import pytest
import yaml

from pipelines.flow import (
    AerospikeMirror,
    DeltaHistory,
    Flow,
    FlowInvalid,
    Lane,
    Records,
    Secret,
    Source,
    Stop,
    Table,
    Trigger,
    parse_flow,
)
from pipelines.flow.records import SCHEMALESS
from schemas.bins import BinType
from schemas.errors import ConfigError
from tests.unit.flow.flows import HISTORY, MIRROR, valid

EXAMPLES = sorted((Path(__file__).resolve().parents[3] / "examples").glob("*.yaml"))


def built() -> Flow:
    return Flow(
        name="payments",
        source=Source(bootstrap_servers=("127.0.0.1:9092",), topics=("xdr.payments",)),
        records=(Records(namespace="payments", sets=("cards",), bins={"qty": BinType.INT}),),
        lanes={
            "fast": Lane(
                outputs={"mirror": AerospikeMirror(hosts=("h:3000",), namespace="mirror", user="me", password=Secret("pw"))}
            ),
            "bulk": Lane(trigger=Trigger(available_now=True), outputs={"history": DeltaHistory(path="/data/history")}),
        },
        dead_letters=Table(path="/data/dead_letters"),
        checkpoint="/checkpoints/payments",
        stop=Stop(drain_timeout_s=5),
    )


TEXT = """\
name: payments
source: {bootstrap_servers: "127.0.0.1:9092", topics: [xdr.payments]}
records:
  - {namespace: payments, sets: [cards], bins: {qty: int}}
lanes:
  fast:
    outputs:
      mirror: {type: aerospike, hosts: ["h:3000"], namespace: mirror, user: me, password: "${PW}"}
  bulk:
    trigger: available_now
    outputs:
      history: {type: delta_history, path: /data/history}
dead_letters: /data/dead_letters
checkpoint: /checkpoints/payments
stop: {drain_timeout_s: 5}
"""


def test_python_and_yaml_give_the_same_flow() -> None:
    assert parse_flow(TEXT, "flow.yaml", {"PW": "pw"}).flow == built()
    assert parse_flow(TEXT, "flow.yaml", {"PW": "other"}).flow != built()


def test_errors_are_the_same_kind_with_all_problems() -> None:
    with pytest.raises(ConfigError) as caught:
        Flow(**{**valid(), "nam": 1, "checkpoint": 2})
    assert isinstance(caught.value, FlowInvalid)
    assert caught.value.code == "E101"
    assert [problem.message for problem in caught.value.problems] == [
        "'checkpoint' is 2, expected text",
        "unknown option 'nam'",
    ]


def test_a_part_built_alone_is_checked_alone() -> None:
    with pytest.raises(FlowInvalid, match="required option 'topics' is missing"):
        Source(bootstrap_servers=("a:1",))  # type: ignore[call-arg]


def test_rules_hold_in_python_too() -> None:
    with pytest.raises(FlowInvalid, match="is the table of"):
        Flow(**{**valid(), "dead_letters": {"path": HISTORY["path"]}})


def test_a_flow_is_frozen_and_survives_pickling() -> None:
    flow = built()
    with pytest.raises(Exception, match="frozen"):
        flow.name = "other"  # type: ignore[misc]
    assert pickle.loads(pickle.dumps(flow)) == flow


def test_errors_survive_pickling() -> None:
    with pytest.raises(FlowInvalid) as caught:
        Flow(**{**valid(), "name": "Ä"})
    again = pickle.loads(pickle.dumps(caught.value))
    assert str(again) == str(caught.value)
    assert again.problems == caught.value.problems


def test_outputs_without_lanes_run_in_the_usual_lanes() -> None:
    data = valid()
    del data["lanes"]
    data["outputs"] = {"history": HISTORY, "mirror": MIRROR}
    flow = Flow.model_validate(data)
    assert flow == Flow.model_validate(valid())
    assert list(flow.lanes) == ["fast", "bulk"]
    assert flow.lanes["fast"].trigger.for_spark() == {"processingTime": "100 milliseconds"}
    assert flow.lanes["bulk"].trigger.for_spark() == {"processingTime": "10000 milliseconds"}


def test_a_problem_in_an_output_without_lanes_has_its_line() -> None:
    text = TEXT[: TEXT.index("lanes:")] + "outputs:\n  mirror: {type: aerospike, hosts: 'h:3000', namespace: mirror, user: me}\n"
    text += "dead_letters: /d\ncheckpoint: /c\n"
    with pytest.raises(FlowInvalid) as caught:
        parse_flow(text, "flow.yaml", {})
    [problem] = caught.value.problems
    assert (problem.option, problem.line) == ("outputs.mirror.user", 6)


def test_limits_of_a_lane() -> None:
    flow = Flow.model_validate(valid())
    assert flow.max_offsets_per_trigger("fast") == 20_000
    assert flow.max_offsets_per_trigger("bulk") == 200_000
    data = valid()
    data["source"]["max_offsets_per_trigger"] = 10
    data["lanes"]["bulk"]["max_offsets_per_trigger"] = 30
    flow = Flow.model_validate(data)
    assert [flow.max_offsets_per_trigger(lane) for lane in flow.lanes] == [10, 30]
    assert flow.reader_options("bulk")["maxOffsetsPerTrigger"] == "30"


def test_decode_owner_is_the_first_lane_with_a_table() -> None:
    assert built().decode_owner == "bulk"
    data = valid()
    del data["lanes"]["bulk"]
    assert Flow.model_validate(data).decode_owner == "fast"


def test_reader_options() -> None:
    options = built().reader_options("fast")
    assert options == {
        "kafka.bootstrap.servers": "127.0.0.1:9092",
        "subscribe": "xdr.payments",
        "startingOffsets": "earliest",
        "maxOffsetsPerTrigger": "20000",
        "kafka.isolation.level": "read_committed",
        "failOnDataLoss": "true",
        "fetchOffset.numRetries": "20",
        "fetchOffset.retryIntervalMs": "500",
    }


def test_the_ledger_lies_beside_the_dead_letters() -> None:
    assert built().ledger.path == "/data/ledger"
    data = valid()
    data["dead_letters"] = "s3a://bucket/payments/dead_letters/"
    assert Flow.model_validate(data).ledger.path == "s3a://bucket/payments/ledger"


@pytest.mark.parametrize(
    ("entry", "namespace", "set_name", "taken"),
    [
        ({}, "payments", None, True),
        ({}, "payments", "cards", True),
        ({}, "other", "cards", False),
        ({"sets": ["cards"]}, "payments", "cards", True),
        ({"sets": ["cards"]}, "payments", "Cards", False),
        ({"sets": ["cards"]}, "payments", None, False),
        ({"sets": ["cards"], "without_set": True}, "payments", None, True),
        ({"sets": ["cards"], "bins": SCHEMALESS}, "payments", "x", False),
    ],
)
def test_selection(entry: dict[str, object], namespace: str, set_name: str | None, taken: bool) -> None:
    assert Records.model_validate({"namespace": "payments", **entry}).record_type().fits(namespace, set_name) is taken


def test_declared_bins_are_those_with_one_type() -> None:
    def declared(*bins: dict[str, str] | None) -> dict[str, BinType] | None:
        entries = [{"namespace": "p", "sets": [f"s{number}"], "bins": kinds} for number, kinds in enumerate(bins)]
        return Flow.model_validate({**valid(), "records": entries}).declared_bins()

    assert declared(None, None) is None
    assert declared({"a": "int", "b": "str"}, None, {"a": "int", "b": "blob"}) == {"a": BinType.INT}


def test_the_decoder_is_told_what_the_flow_declares() -> None:
    data = {**valid(), "records": [{"namespace": "p", "sets": ["a"], "without_set": True, "bins": {"q": "int"}}]}
    data["source"].update(format="flat-json", metadata_key="meta")
    options = Flow.model_validate(data).decode_options()
    assert (options.format, options.metadata_key, options.image) == ("flat-json", "meta", "full")
    [record] = options.records
    assert (record.namespace, record.sets, record.bins) == ("p", ("a", ""), {"q": BinType.INT})
    assert Flow.model_validate(valid()).decode_options().metadata_key == "metadata"


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_every_example_is_valid(path: Path) -> None:
    loaded = parse_flow(path.read_text(), str(path), {})
    assert loaded.warnings == ()
    assert yaml.safe_load(path.read_text())["name"] == loaded.flow.name
