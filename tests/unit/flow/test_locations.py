"""Whether two names mean one place."""

from pathlib import Path

import pytest

from pipelines.flow.aerospike import Address, parse_address
from pipelines.flow.locations import inside, same_hosts, same_place


@pytest.mark.parametrize(
    ("a", "b", "same"),
    [
        ("/a/b", "/a/./b/", True),
        ("/a/b", "/a/c/../b", True),
        ("/a/b", "file:///a/b", True),
        ("/a/b", "/a/B", False),
        ("s3a://bucket/t", "s3://bucket/t/", True),
        ("s3a://bucket/t", "s3a://other/t", False),
        ("s3a://bucket/t", "/bucket/t", False),
        ("hdfs://h/a//b", "hdfs://h/a/b", True),
    ],
)
def test_same_place(a: str, b: str, same: bool) -> None:
    assert same_place(a, b) is same


def test_a_link_and_a_relative_path_are_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert same_place(str(tmp_path / "link"), str(tmp_path / "real"))
    monkeypatch.chdir(tmp_path)
    assert inside("real/table", str(tmp_path / "link"))


def test_inside_compares_folders_not_letters() -> None:
    assert inside("/a/b/c", "/a/b")
    assert not inside("/a/bc", "/a/b")
    assert not inside("/a/b", "/a/b")
    assert inside("s3://x/t", "s3a://x")


def test_addresses() -> None:
    assert parse_address("h:3000") == Address("h", 3000, None)
    assert parse_address("h:name:3000") == Address("h", 3000, "name")
    assert parse_address("[::1]:3000") == Address("::1", 3000, None)
    for wrong in ("h", "h:0", "h:65536", ":3000", "h:a:b", "::1:3000", "h:3000 "):
        assert parse_address(wrong) is None, wrong


def test_same_hosts_knows_the_names_of_loopback() -> None:
    def nodes(*texts: str) -> list[Address]:
        return [address for text in texts if (address := parse_address(text))]

    assert same_hosts(nodes("localhost:3000"), nodes("a:1", "127.0.0.1:3000"))
    assert same_hosts(nodes("DB:3000"), nodes("db:3000"))
    assert not same_hosts(nodes("localhost:3000"), nodes("localhost:3001"))
