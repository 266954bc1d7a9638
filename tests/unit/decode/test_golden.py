"""Every golden case of the connector's formats, read every way there is."""

import pytest

from schemas.errors import ConfigError
from schemas.xdr import DecodeOptions
from schemas.xdr.reader import Reader
from tests.support.decode import difference, golden, golden_readings

JSON = ["json", "json-declared", "json-no-bins", "flat-json", "flat-json-declared"]


@pytest.mark.parametrize("name", [*JSON, "message-pack", "avro", "avro-record", "kafka-avro"])
def test_golden_messages(name: str) -> None:
    cases, readings = golden_readings(name)
    differences = [difference(case, reading) for case, reading in zip(cases, readings, strict=True)]
    assert [found for found in differences if found] == []


@pytest.mark.parametrize(("name", "quick"), [("json", 25), ("flat-json", 22), ("message-pack", 27), ("avro", 26)])
def test_the_quick_way_is_taken(name: str, quick: int) -> None:
    """Golden cases are mostly odd ones; should the quick way refuse what it took before, everything would be slow, yet right."""
    options, cases = golden(name)
    reader = Reader(options)
    assert sum(reader.quick(case.message) is not None for case in cases if case.message is not None) >= quick


def test_an_unknown_format_is_refused_before_anything_runs() -> None:
    with pytest.raises(ConfigError, match="no decoder for format 'xml'"):
        Reader(DecodeOptions(format="xml"))
