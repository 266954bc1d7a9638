"""YAML as flow files use it: places, environment, duplicates, anchors; and files that are not YAML at all."""

from pathlib import Path
from typing import Any

import pytest

from pipelines.flow import FlowInvalid, load_flow
from pipelines.flow.document import Document, read_document
from pipelines.flow.interpolate import Interpolated, MissingVariables, interpolate

ENVIRONMENT = {"HOST": "db", "EMPTY": "", "PORT": "3000", "NESTED": "${HOST}"}


def read(text: str) -> Document:
    return read_document(text, "flow.yaml", ENVIRONMENT)


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("${HOST}", "db"),
        ("${HOST}:${PORT}", "db:3000"),
        ("${ABSENT:-x:1}", "x:1"),
        ("${ABSENT:-}", ""),
        ("${EMPTY:-default}", "default"),
        ("${EMPTY}", ""),
        ("${HOST:-default}", "db"),
        ("$${HOST}", "${HOST}"),
        ("${NESTED}", "${HOST}"),
        ("$HOST costs $5", "$HOST costs $5"),
    ],
)
def test_interpolation(text: str, result: str) -> None:
    assert interpolate(text, ENVIRONMENT) == result


def test_an_interpolated_text_knows_how_it_was_written() -> None:
    text = interpolate("${HOST}:1", ENVIRONMENT)
    assert isinstance(text, Interpolated)
    assert text.written == "${HOST}:1"
    assert not isinstance(interpolate("$${HOST}", ENVIRONMENT), Interpolated)


def test_missing_and_malformed_references() -> None:
    with pytest.raises(MissingVariables) as caught:
        interpolate("${A} ${B} ${A} ${", {})
    assert caught.value.names == ["A", "B"]
    assert caught.value.malformed


def test_a_missing_variable_is_named_with_its_line() -> None:
    [problem] = read("name: x\nsource:\n  topics: [a, '${NOPE}']\n").problems
    assert (problem.line, problem.column) == (3, 15)
    assert "environment variable NOPE is not set, for 'source.topics[1]'" in problem.message
    assert "${NOPE:-value}" in problem.remedy


def test_duplicate_keys_are_refused_with_both_lines() -> None:
    document = read("a:\n  b: 1\n  c: 2\n  b: 3\n")
    [problem] = document.problems
    assert problem.message == "option 'a.b' is given twice, first in line 2"
    assert problem.line == 4
    assert document.data == {"a": {"b": 1, "c": 2}}


def test_values_and_places() -> None:
    document = read("on: yes\n1: 0x1F\nf: 1.5\nn: ~\nd: 2024-01-01\nq: '5'\nlist:\n- a\n- {b: 1}\n")
    assert document.data == {"on": True, "1": 31, "f": 1.5, "n": None, "d": "2024-01-01", "q": "5", "list": ("a", {"b": 1})}
    assert document.mark(("1",)) == (2, 1)
    assert document.mark(("list", 1, "b")) == (9, 4)
    assert document.mark(("list", 1, "absent", "deeper")) == (9, 3)
    assert document.mark(("absent",)) == (1, 1)


def test_anchors_and_merges() -> None:
    document = read("base: &b {x: 1, y: 2}\nother:\n  <<: *b\n  y: 3\n")
    assert document.data["other"] == {"x": 1, "y": 3}
    assert not document.problems


def test_an_alias_inside_its_own_anchor_is_refused() -> None:
    [problem] = read("a: &a\n  b: *a\n").problems
    assert "contains itself" in problem.message


def test_tags_are_refused() -> None:
    [problem] = read("a: !!python/object:os.system x\n").problems
    assert "is not allowed" in problem.message


@pytest.mark.parametrize(
    ("content", "line", "words"),
    [
        (b"", 1, "empty"),
        (b"# nothing\n", 1, "empty"),
        (b"- a\n", 1, "mapping"),
        (b"a: [1\nb: 2\n", 2, "not YAML"),
        (b"a: 1\n\tb: 2\n", 2, "not YAML"),
        (b"a: 1\n---\nb: 2\n", 2, "not YAML"),
        (b"a: *nope\n", 1, "undefined alias"),
        (b"a: \xff\n", 0, "not UTF-8"),
        (b"a: \x00\n", 1, "does not allow"),
    ],
)
def test_files_that_are_no_yaml(tmp_path: Path, content: bytes, line: int, words: str) -> None:
    path = tmp_path / "flow.yaml"
    path.write_bytes(content)
    with pytest.raises(FlowInvalid) as caught:
        load_flow(path)
    assert caught.value.code == "E100"
    [problem] = caught.value.problems
    assert words in problem.message
    assert problem.line == line


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FlowInvalid, match="No such file"):
        load_flow(tmp_path / "absent.yaml")


def test_values_of_the_environment_take_the_type_an_option_has(tmp_path: Path) -> None:
    import yaml

    from tests.unit.flow.flows import changed

    def limit(text: str) -> Any:
        path = tmp_path / "flow.yaml"
        path.write_text(yaml.safe_dump(changed("source/max_offsets_per_trigger", "${LIMIT}"), sort_keys=False))
        return load_flow(path, {"LIMIT": text}).source.max_offsets_per_trigger

    assert limit("500") == 500
    with pytest.raises(FlowInvalid) as caught:
        limit("marker-value")
    assert "is `${LIMIT}` (from the environment), expected a whole number" in caught.value.message
    assert "marker-value" not in caught.value.message
