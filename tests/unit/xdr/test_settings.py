"""The options of `--xdr`."""

import pytest

from deploy.local.xdr.settings import parse_settings
from schemas.errors import ConfigError


def test_options_are_read_with_dashes_or_underscores() -> None:
    settings = parse_settings(
        "namespace=payments, topic=xdr.payments,format=flat-json,metadata-key=_m,partitions=6,ship-nsup-deletes=true,"
        "hot_key_ms=0,duplicates=0.05,reorder=0.1,reorder-window-ms=500,seed=7,reship-s=3"
    )
    assert settings.model_dump(exclude_defaults=True) == {
        "namespace": "payments",
        "topic": "xdr.payments",
        "partitions": 6,
        "format": "flat-json",
        "metadata_key": "_m",
        "ship_nsup_deletes": True,
        "hot_key_ms": 0,
        "duplicates": 0.05,
        "reorder": 0.1,
        "reorder_window_ms": 500,
        "seed": 7,
        "reship_s": 3.0,
    }


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("namespace=a,topic=t,formt=json", ["'formt'", "'format'"]),
        ("namespace=a,topic=t,format=protobuf", ["'protobuf'", "flat-json, json"]),
        ("namespace=a,topic=t,seed=x,duplicates=2", ["seed", "duplicates"]),
        ("namespace=a", ["topic"]),
        ("namespace=a,topic=b c", ["topic"]),
        ("namespace=a,topic=t,seed", ["'seed'", "name=value"]),
        ("namespace=a,topic=t,hot-key-ms=1,hot_key_ms=2", ["hot_key_ms", "twice"]),
        ("namespace=a,topic=t,delay_ms=200", ["200", "100"]),
        ("namespace=a,topic=t,delay_ms=6000,hot_key_ms=6000", ["5000"]),
    ],
)
def test_a_wrong_option_is_named(text: str, words: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_settings(text)
    assert caught.value.code == "E143"
    for word in words:
        assert word in str(caught.value)
