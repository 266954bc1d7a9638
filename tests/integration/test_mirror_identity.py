"""The identity a node keeps for a mirror, and its clock: truncated, restarted with and without its data, an hour behind."""

import os
import shutil
import time
from pathlib import Path

import pytest

from deploy.local.aerospike import start_node
from pipelines.clock import judge_clock
from pipelines.mirror_identity import MirrorIdentity
from schemas.errors import Retryable, Terminal
from sinks.aerospike import AerospikeMirror
from sinks.aerospike.scan import scan_partitions
from sinks.contract import Deadline, Fence
from tests.support.events import write
from tests.support.fixtures_stack import AerospikeUnderTest
from tests.support.mirror import mirror_config, reader, visible

pytestmark = pytest.mark.stack


def test_truncation_and_a_restart_without_data_are_noticed_and_one_with_data_is_not(tmp_path: Path) -> None:
    node = start_node(tmp_path / "node", ("mirror,nsup-period=1",))
    mirror = AerospikeMirror(mirror_config(node.address, "mirror"))

    def start() -> None:
        MirrorIdentity(mirror, "flow", "mirror", str(tmp_path / "checkpoint")).require_same(progressed=True)

    try:
        start()
        given = mirror.identity("flow")
        assert given is not None and mirror.identity("another") is None
        assert mirror.give_identity("flow") == given, "given once"
        assert [row.set for row in scan_partitions(mirror.config.client, "mirror", 0, 4096)] == ["_mr_tomb"], "no set of data"
        reader(mirror).info_all("millrace-fault:name=quota;namespace=mirror;times=1")
        with pytest.raises(Retryable, match=r"E211.*asks for less"):
            start()
        node.kill()
        noticed, give_up = False, time.monotonic() + 60
        while not noticed:  # the last look is made by a client that knows that no node is left
            noticed = not reader(mirror).is_connected()
            with pytest.raises(Retryable, match="E210"):
                start()
            assert time.monotonic() < give_up, "the client never noticed"
        node = node.restart()
        _until_connected(mirror)
        start()
        assert mirror.identity("flow") == given

        records = [write("changes", 1), write("rests", 1)]
        mirror.write(records, Fence("unguarded", 0), Deadline.after_s(30))
        assert len(visible(mirror, {record.digest for record in records})) == 2
        reader(mirror).truncate("mirror", None, 0)
        with pytest.raises(Terminal, match=rf"E436.*has filled mirror {given.id}, and the one there carries none"):
            start()
        mirror.give_identity("flow")  # by a second checkpoint, say
        with pytest.raises(Terminal, match="E436"):
            start()
        # Unguarded: the mirror is filled on, and what does not change again is never there.
        later = write("changes", 2)
        mirror.write([later], Fence("unguarded", 1), Deadline.after_s(30))
        assert set(visible(mirror, {record.digest for record in (*records, later)})) == {later.digest}

        shutil.rmtree(tmp_path / "checkpoint")
        start()
        node.kill()
        shutil.rmtree(node.data)
        node = node.restart()
        _until_connected(mirror)
        with pytest.raises(Terminal, match="E436"):
            start()
    finally:
        mirror.close()
        node.stop()


def _until_connected(mirror: AerospikeMirror) -> None:
    give_up = time.monotonic() + 60
    while True:
        try:
            mirror.check()
            return
        except Retryable:
            assert time.monotonic() < give_up
            time.sleep(0.1)


def test_the_servers_clock_is_read_from_what_it_keeps(
    tmp_path: Path, aerospike_node: AerospikeUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = AerospikeMirror(mirror_config(aerospike_node.address, aerospike_node.namespace))
    assert here.clock_lead_s() in (-1, 0, 1)
    late = "import time\nreal = time.time\ntime.time = lambda: real() - 1000\nns = time.time_ns\n"
    (tmp_path / "sitecustomize.py").write_text(late + "time.time_ns = lambda: ns() - 1000 * 10**9\n")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    node = start_node(tmp_path / "node", ("mirror,nsup-period=1",))
    mirror = AerospikeMirror(mirror_config(node.address, "mirror"))
    try:
        lead_s = mirror.clock_lead_s()
        assert 998 <= lead_s <= 1_001
        with pytest.raises(Terminal, match="E438"):
            judge_clock("mirror", lead_s)
        assert not [key for key, _, _ in reader(mirror).query("mirror").results()], "nothing is left of the probe"
        # Unguarded: a record that lives for 500 s more by the clock of the servers is not there at all.
        living = write("k", 0, exp_s=int(time.time()) - 500)
        mirror.write([living], Fence("unguarded", 0), Deadline.after_s(30))
        assert visible(mirror, {living.digest}) == {}
    finally:
        mirror.close()
        node.stop()
