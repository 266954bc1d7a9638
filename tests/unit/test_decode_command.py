"""`millrace decode`: what it refuses, how it is told to read, and what it says of a dead letter."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from deploy import cli
from pipelines.cli import decode
from schemas.reasons import REASONS
from schemas.xdr import reader
from schemas.xdr.metadata import Metadata
from schemas.xdr.normal_form import Read
from schemas.xdr.options import DecodeOptions
from tests.support.events import write
from tests.support.message_pack import message_pack, pack
from tests.support.spark import ROOT

FLOW = ROOT / "examples" / "payments.yaml"


class Readers:
    """Remembers how messages were to be read, and which; says of every message what it is told to."""

    def __init__(self) -> None:
        self.options: list[DecodeOptions] = []
        self.values: list[bytes] = []
        self.says = Read(Metadata("shop", "orders", bytes(20), None, "delete"), None)

    def __call__(self, options: DecodeOptions, schemas: object) -> "Readers":
        self.options.append(options)
        return self

    def read(self, value: bytes, key: bytes | None = None) -> list[Read]:
        self.values.append(value)
        return [self.says]


@pytest.fixture
def readers(monkeypatch: pytest.MonkeyPatch) -> Readers:
    made = Readers()
    monkeypatch.setattr(reader, "Reader", made)
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
    given: tuple[str, ...], named: str, readers: Readers, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["decode", message, "--flow", str(FLOW), *given]) == 2
    refusal, remedy = capsys.readouterr().err.splitlines()
    assert refusal.startswith("[E101] --flow") and refusal.endswith(named)
    assert remedy == f"Leave out {named} to read as the flow does, or leave out --flow."
    assert not readers.options, "it was read all the same"


def test_a_flow_alone_says_how_messages_are_read(readers: Readers, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MILLRACE_FORMAT", "flat-json")
    assert cli.main(["decode", message, "--flow", str(FLOW)]) == 0
    (options,) = readers.options
    assert options.format == "flat-json" and [entry.namespace for entry in options.records] == ["payments"]
    assert readers.values == [b'{"msg": "write"}']


def test_without_a_flow_the_options_say_it(readers: Readers, message: str) -> None:
    assert cli.main(["decode", message]) == 0
    assert cli.main(["decode", message, "--format", "flat-json", "--metadata-key", "m"]) == 0
    assert readers.options == [DecodeOptions(), DecodeOptions(format="flat-json", metadata_key="m")]


@pytest.mark.parametrize("code", REASONS)
def test_a_dead_letter_says_what_to_do(code: str, readers: Readers, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    readers.says = Read(Metadata(), None, (code, "key has 3 parts, not 4"))
    assert cli.main(["decode", message, "--lines"]) == decode.DEAD == 1
    reason = REASONS[code]
    assert json.loads(capsys.readouterr().out) == {
        "dead_letter": code,
        "reason": reason.title,
        "detail": "key has 3 parts, not 4",
        "meaning": reason.meaning,
        "remedy": reason.remedy,
    }


def test_a_kafka_key_is_shown_beside_the_event(
    readers: Readers, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = []
    for key in (b"A-1001", b"\xff\x00"):
        (tmp_path / "key").write_bytes(key)
        assert cli.main(["decode", message, "--key-file", str(tmp_path / "key")]) == 0
        shown.append(json.loads(capsys.readouterr().out)["kafka_key"])
    assert shown == ["A-1001", {"base64": "/wA="}]


def test_the_identity_in_a_kafka_key_is_shown_or_why_there_is_none(
    readers: Readers, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = []
    digest = "AAECAwQFBgcICQoLDA0ODxAREhM="
    for key in (b'["shop","orders","%s",77]' % digest.encode(), pack(["shop", None, bytes(range(20)), None]), b"A-1001"):
        (tmp_path / "key").write_bytes(key)
        assert cli.main(["decode", message, "--key-file", str(tmp_path / "key")]) == 0
        shown.append(json.loads(capsys.readouterr().out)["kafka_key_identity"])
    assert shown == [
        {"namespace": "shop", "set": "orders", "digest": digest, "user_key": {"type": "int", "value": "77"}},
        {"namespace": "shop", "set": None, "digest": digest, "user_key": None},
        {"none": "the Kafka key is 6 bytes of something else than an identity in JSON or MessagePack"},
    ]


def test_a_binary_message_may_end_as_a_line_does(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    event = write("k", 1, bins={"ten": 10})
    assert message_pack(event).endswith(b"\n")
    (tmp_path / "m").write_bytes(message_pack(event))
    assert cli.main(["decode", str(tmp_path / "m"), "--format", "message-pack"]) == 0
    assert json.loads(capsys.readouterr().out)["bins"] == {"ten": {"type": "int", "value": "10"}}
    assert cli.main(["decode", str(tmp_path / "m"), "--format", "message-pack", "--lines"]) == 2
    assert "[E101] --lines is for JSON" in capsys.readouterr().err


def test_no_spark_is_started(message: str) -> None:
    """It answers at once: nothing it imports loads Spark."""
    code = "import sys; from deploy import cli; cli.main(sys.argv[1:]); sys.exit('pyspark' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code, "decode", message], cwd=ROOT, capture_output=True, check=False, text=True)
    assert done.returncode == 0, "Spark was loaded"
    assert json.loads(done.stdout)["dead_letter"] == "D103"
