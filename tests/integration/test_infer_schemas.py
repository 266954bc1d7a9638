"""`millrace schemas infer` on a real topic and a real namespace: what it finds, and the file a flow can use as it is."""

import json
from pathlib import Path

import aerospike
import pytest

from deploy import cli
from pipelines.flow.schema_files import load_schema
from schemas.bins import BinType
from tests.support.events import delete, write
from tests.support.fixtures_stack import AerospikeUnderTest, KafkaUnderTest
from tests.support.kafka import produce
from tests.support.xdr_encode import flat

pytestmark = pytest.mark.stack


def infer(capsys: pytest.CaptureFixture[str], *arguments: object) -> dict[str, object]:
    assert cli.main(["schemas", "infer", *map(str, arguments), "--output", "json"]) == 0
    found: dict[str, object] = json.loads(capsys.readouterr().out)
    return found


def test_the_newest_messages_of_a_topic(
    kafka_broker: KafkaUnderTest, topic: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old = [flat(write(f"k{n}", n, bins={"old": n})) for n in range(200)]
    new = [flat(write(f"k{n}", n, bins={"n": n, "x": 0.5 if n % 2 else 1, **({"s": "t"} if n < 25 else {})})) for n in range(96)]
    produce(kafka_broker.address, topic, ((None, value) for value in old), partition=0)
    produce(kafka_broker.address, topic, ((None, value) for value in (*new, b"no", flat(delete("k", 1)))), partition=0)
    partitions = 2
    found = infer(
        capsys,
        *("--kafka", kafka_broker.address, "--topic", topic, "--format", "flat-json"),
        *("--sample", 98 * partitions, "--write", tmp_path / "schemas"),
    )
    [record_type] = found["record_types"]  # type: ignore[misc]
    assert found["looked_at"] == 98 and found["dead"] == {"D102": 1}
    assert (record_type["records"], record_type["deletes"]) == (96, 1)
    shares = {one["name"]: (one["type"], round(one["share"], 3), one["conflict"]) for one in record_type["bins"]}
    assert shares == {"n": ("int", 1.0, ""), "x": ("float", 1.0, ""), "s": ("str", round(25 / 96, 3), "")}
    schema = load_schema(tmp_path / "schemas" / "source.contract.yaml", {})
    assert schema.types() == {"n": BinType.INT, "s": BinType.STR, "x": BinType.FLOAT}
    again = ["schemas", "infer", "--kafka", kafka_broker.address, "--topic", topic, "--write", str(tmp_path / "schemas")]
    assert cli.main([*again, "--format", "flat-json"]) == 2
    assert "there already" in capsys.readouterr().err


def test_a_topic_that_is_not_there(kafka_broker: KafkaUnderTest, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["schemas", "infer", "--kafka", kafka_broker.address, "--topic", "nobody-s"]) == 2
    assert "E150" in capsys.readouterr().err


def test_a_namespace_with_every_type(aerospike_node: AerospikeUnderTest, capsys: pytest.CaptureFixture[str]) -> None:
    client = aerospike.client({"hosts": [(aerospike_node.host, aerospike_node.port)]})
    bins = {
        "i": 1,
        "f": 0.5,
        "s": "x",
        "b": True,
        "raw": b"\x00",
        "l": [1],
        "m": {"a": 1},
        "g": aerospike.GeoJSON({"type": "Point", "coordinates": [1.0, 2.0]}),
    }
    try:
        for number in range(20):
            client.put((aerospike_node.namespace, "inferred", number), {**bins, **({"i": "one"} if number == 3 else {})})
        found = infer(
            capsys,
            *("--aerospike", aerospike_node.address, "--namespace", aerospike_node.namespace, "--set", "inferred"),
        )
    finally:
        client.close()
    [record_type] = found["record_types"]  # type: ignore[misc]
    types = {one["name"]: one["type"] for one in record_type["bins"]}
    assert types == {"i": "int", "f": "float", "s": "str", "b": "bool", "raw": "blob", "l": "list", "m": "map", "g": "geojson"}
    assert [one["conflict"] for one in record_type["bins"] if one["conflict"]] == ["str in 1 of 20 records"]
