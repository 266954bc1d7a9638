"""A YAML text as plain data that remembers the place of every option, with environment values filled in.

Stricter than YAML: duplicate keys, tags and several documents are refused; option names are text whatever they look
like (`on`, `1`). Anchors, aliases and `<<` merges work.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from pipelines.flow.interpolate import Interpolated, MissingVariables, interpolate
from pipelines.flow.places import Loc, dotted
from pipelines.flow.problems import FlowInvalid, Problem

_PREFIX = "tag:yaml.org,2002:"
_TEXT = {_PREFIX + kind for kind in ("str", "timestamp", "value", "binary")}


@dataclass
class Document:
    """What a flow file says. `marks` has line and column (from 1) of every option name or list item by its location."""

    path: str
    data: dict[str, Any]
    marks: dict[Loc, tuple[int, int]] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    parts: dict[Loc, "Document"] = field(default_factory=dict)
    """Documents that say what is at a location of this one."""

    def place(self, loc: Loc) -> tuple[int, int, str]:
        """Line and column of an option, or of the nearest one around it, and the file it stands in when that is another one."""
        for at, part in self.parts.items():
            if loc[: len(at)] == at:
                return *part.mark(loc[len(at) :]), part.path
        return *self.mark(loc), ""

    def mark(self, loc: Loc) -> tuple[int, int]:
        """The place of an option in this file, or of the nearest one around it."""
        while loc:
            if loc in self.marks:
                return self.marks[loc]
            loc = loc[:-1]
        return self.marks.get((), (1, 1))


def document_at(path: str | Path, environment: Mapping[str, str]) -> Document:
    """The document in a file. Raises FlowInvalid E100 when it cannot be read or is no YAML mapping."""
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except OSError as error:
        raise FlowInvalid([Problem((), f"cannot be read: {error.strerror}")], str(path), code="E100") from None
    except UnicodeDecodeError as error:
        raise FlowInvalid([Problem((), f"is not UTF-8 text: byte {error.start}")], str(path), code="E100") from None
    return read_document(text, str(path), environment)


def read_document(text: str, path: str, environment: Mapping[str, str]) -> Document:
    """Parse `text`. Problems with single options are collected in the document.

    Raises FlowInvalid E100 when it is no YAML mapping.
    """
    try:
        loader = yaml.SafeLoader(text)
        try:
            root = loader.get_single_node()
        finally:
            loader.dispose()
    except yaml.reader.ReaderError as error:
        raise _unreadable(path, 1, 1, f"the file holds a character that YAML does not allow: #x{error.character:04x}") from None
    except yaml.MarkedYAMLError as error:  # its own text would quote the line, which may hold a secret
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        raise _unreadable(path, line, column, f"not YAML: {error.problem or error.context}") from None
    if root is None:
        raise _unreadable(path, 1, 1, "the file is empty")
    document = Document(path, {})
    if not isinstance(root, MappingNode):
        raise _unreadable(path, *_place(root), "the file must be a mapping of options, this is not")
    document.marks[()] = _place(root)
    document.data = _Reader(document, environment).mapping(root, (), ())
    return document


def _unreadable(path: str, line: int, column: int, message: str) -> FlowInvalid:
    return FlowInvalid([Problem((), message, "", line, column)], path, code="E100")


def _place(node: Node) -> tuple[int, int]:
    return node.start_mark.line + 1, node.start_mark.column + 1


class _Reader:
    def __init__(self, document: Document, environment: Mapping[str, str]) -> None:
        self.document = document
        self.environment = environment

    def problem(self, node: Node, loc: Loc, message: str, remedy: str) -> None:
        line, column = _place(node)
        self.document.problems.append(Problem(loc, message, remedy, line, column))

    def value(self, node: Node, loc: Loc, above: tuple[Node, ...]) -> Any:
        if node in above:
            self.problem(node, loc, f"{dotted(loc)!r} contains itself", "An alias must not stand inside its own anchor.")
            return None
        if isinstance(node, MappingNode):
            return self.mapping(node, loc, above)
        if isinstance(node, SequenceNode):
            items = []
            for index, item in enumerate(node.value):
                self.document.marks[(*loc, index)] = _place(item)
                items.append(self.value(item, (*loc, index), (*above, node)))
            return tuple(items)
        return self.scalar(node, loc)

    def mapping(self, node: MappingNode, loc: Loc, above: tuple[Node, ...]) -> dict[str, Any]:
        if not node.tag.startswith(_PREFIX + "map"):
            self.problem(node, loc, f"YAML tag {node.tag!r} is not allowed", "Remove it.")
        read: dict[str, Any] = {}
        merged: list[Node] = []
        for key, value in node.value:
            if key.tag == _PREFIX + "merge":
                merged.extend(value.value if isinstance(value, SequenceNode) else [value])
                continue
            if not isinstance(key, ScalarNode):
                self.problem(key, loc, "an option's name is not text", "Write a name before the colon.")
                continue
            name, here = str(key.value), (*loc, str(key.value))
            if name in read:
                line = self.document.marks[here][0]
                self.problem(key, here, f"option {dotted(here)!r} is given twice, first in line {line}", "Keep one of them.")
                continue
            self.document.marks[here] = _place(key)
            read[name] = self.value(value, here, (*above, node))
        for source in merged:
            if not isinstance(source, MappingNode) or source in above:
                self.problem(source, loc, "'<<' merges something that is not a mapping of its own", "Merge an anchored mapping.")
                continue
            for key, value in source.value:
                here = (*loc, str(key.value))
                if str(key.value) not in read:
                    self.document.marks[here] = _place(key)
                    read[str(key.value)] = self.value(value, here, (*above, node))
        return read

    def scalar(self, node: Node, loc: Loc) -> Any:
        quoted = getattr(node, "style", None) in ("'", '"', "|", ">")
        try:
            text = interpolate(node.value, self.environment)
        except MissingVariables as missing:
            if missing.names:
                names = ", ".join(missing.names)
                self.problem(
                    node,
                    loc,
                    f"environment variable {names} is not set, for {dotted(loc)!r}",
                    f"Set it, or give a default: ${{{missing.names[0]}:-value}}.",
                )
            if missing.malformed:
                self.problem(
                    node,
                    loc,
                    f"{dotted(loc)!r} holds '${{' that is not ${{NAME}} or ${{NAME:-default}}",
                    "Mend it, or write '$${' for the characters.",
                )
            return Interpolated("", node.value)
        if isinstance(text, Interpolated):
            return text
        if quoted or node.tag in _TEXT:
            return text
        if node.tag == _PREFIX + "null":
            return None
        if node.tag == _PREFIX + "bool":
            return text.lower() in ("yes", "true", "on")
        if node.tag in (_PREFIX + "int", _PREFIX + "float"):
            return self.number(node)
        self.problem(node, loc, f"YAML tag {node.tag!r} is not allowed", "Remove it.")
        return text

    def number(self, node: Node) -> Any:
        try:
            return yaml.safe_load(node.value)
        except (yaml.YAMLError, ValueError):
            return node.value


__all__ = ["Document", "document_at", "read_document"]
