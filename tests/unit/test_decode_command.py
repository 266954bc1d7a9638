"""`millrace decode` without Spark: what it refuses before it starts one, and what it says of a dead letter."""

import json
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import Row

from deploy import cli
from pipelines import session
from pipelines.cli import decode
from schemas.reasons import REASONS
from schemas.xdr import decode as reader
from schemas.xdr.options import DecodeOptions
from tests.support.spark import ROOT

FLOW = ROOT / "examples" / "payments.yaml"


class NoSpark:
    """A session that holds rows, and remembers how they were to be read."""

    def __init__(self, found: list[Row]) -> None:
        self.found = found
        self.options: list[DecodeOptions] = []
        self.values: list[bytes] = []

    def createDataFrame(self, rows: list[tuple[Any, ...]], ddl: str) -> "NoSpark":
        self.values = [row[-1] for row in rows]
        return self

    def orderBy(self, column: str) -> "NoSpark":
        return self

    def collect(self) -> list[Row]:
        return self.found


@pytest.fixture
def spark(monkeypatch: pytest.MonkeyPatch) -> NoSpark:
    made = NoSpark([])

    def read(frame: NoSpark, options: DecodeOptions) -> NoSpark:
        frame.options.append(options)
        return frame

    monkeypatch.setattr(session, "build_session", lambda *_, **__: made)
    monkeypatch.setattr(session, "close_session", lambda *_: None)
    monkeypatch.setattr(reader, "decode", read)
    return made


@pytest.fixture
def message(tmp_path: Path) -> str:
    path = tmp_path / "message.json"
    path.write_bytes(b'{"msg": "write"}\n')
    return str(path)


@pytest.mark.parametrize(
    ("given", "named"),
    [
        (("--format", "flat-json"), "--format"),
        (("--format", "json"), "--format"),
        (("--metadata-key", "metadata"), "--metadata-key"),
        (("--metadata-key", "m", "--format", "json"), "--format and --metadata-key"),
    ],
    ids=["format", "the default format", "metadata key", "both"],
)
def test_what_a_flow_says_is_not_said_beside_it(
    given: tuple[str, ...], named: str, spark: NoSpark, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["decode", message, "--flow", str(FLOW), *given]) == 2
    refusal, remedy = capsys.readouterr().err.splitlines()
    assert refusal.startswith("[E101] --flow") and refusal.endswith(named)
    assert remedy == f"Leave out {named} to read as the flow does, or leave out --flow."
    assert not spark.options, "Spark was started"


def test_a_flow_alone_says_how_messages_are_read(spark: NoSpark, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MILLRACE_FORMAT", "flat-json")
    assert cli.main(["decode", message, "--flow", str(FLOW)]) == 0
    (options,) = spark.options
    assert options.format == "flat-json" and [entry.namespace for entry in options.records] == ["payments"]
    assert spark.values == [b'{"msg": "write"}']


def test_without_a_flow_the_options_say_it(spark: NoSpark, message: str) -> None:
    assert cli.main(["decode", message]) == 0
    assert cli.main(["decode", message, "--format", "flat-json", "--metadata-key", "m"]) == 0
    assert spark.options == [DecodeOptions(), DecodeOptions(format="flat-json", metadata_key="m")]


@pytest.mark.parametrize("code", REASONS)
def test_a_dead_letter_says_what_to_do(code: str, spark: NoSpark, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    spark.found = [Row(error=Row(code=code, detail="key has 3 parts, not 4"))]
    assert cli.main(["decode", message, "--lines"]) == decode.DEAD == 1
    reason = REASONS[code]
    assert json.loads(capsys.readouterr().out) == {
        "dead_letter": code,
        "reason": reason.title,
        "detail": "key has 3 parts, not 4",
        "meaning": reason.meaning,
        "remedy": reason.remedy,
    }
