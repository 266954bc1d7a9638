"""docs/embedded-node.md names every option, fault and counter there is, so that none is added in silence."""

import re
from pathlib import Path
from typing import get_args

import pytest

from deploy.local.faults_cli import FaultChoice
from deploy.local.node.config import OPTIONS
from deploy.local.node.faults import FaultName, FaultOrder
from deploy.local.xdr.lane import Lane
from deploy.local.xdr.settings import XdrSettings
from tests.unit.xdr.node_double import FakeNamespace

PAGE = (Path(__file__).parents[3] / "docs" / "embedded-node.md").read_text()
NAMED = set(re.findall(r"`([a-z_0-9-]+)`", PAGE))
SHOWN = Lane(XdrSettings(namespace="payments", topic="t"), FakeNamespace()).status().keys() - {"ns", "topic", "format", "paused"}


@pytest.mark.parametrize(
    "names",
    [XdrSettings.model_fields.keys(), FaultOrder.model_fields.keys() - {"name"}, get_args(FaultName), OPTIONS.keys(), SHOWN],
    ids=["xdr options", "fault options", "faults", "namespace options", "counters"],
)
def test_the_page_names_all_of_them(names: set[str]) -> None:
    assert set(names) - NAMED == set()


def test_the_command_line_offers_every_fault() -> None:
    assert [choice.value for choice in FaultChoice] == list(get_args(FaultName))
