"""The broker's files, without a broker."""

import uuid

import pytest

from deploy.local import kafka


def test_a_cluster_id_never_looks_like_an_option(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kafka's formatting tool would take `-xyz` for an option; 1 in 64 random ids begins so."""
    drawn = iter([uuid.UUID(int=0xF8 << 120), uuid.UUID(int=0x10 << 120)])
    monkeypatch.setattr(uuid, "uuid4", lambda: next(drawn))
    assert kafka.new_cluster_id() == "EAAAAAAAAAAAAAAAAAAAAA"
    assert next(drawn, None) is None, "the first id began with a dash"
