"""A message with the failing place marked: text with a caret below the place, other bytes as a hex dump around it.

The place is where the reason's detail says: a character, a byte, or the name of a bin or member. Details are words for people, so
a place that is not found is no error: the message is then shown from its beginning.
"""

import re
from typing import NamedTuple

_CHARACTER = re.compile(r"\bcharacter (\d+)")
_BYTE = re.compile(r"\bbyte (\d+)")
_NAMES = (
    re.compile(r"\(name (.+?)\)"),
    re.compile(r"\bbin '(.+?)'"),
    re.compile(r"\bmembers? (?:of |named )?'?([^\s']+)"),
    re.compile(r"^'?([^\s'\[.]+)'? (?:is|of type|holds|cannot)\b"),
    re.compile(r"^\w+\.(\w+)\b"),
    re.compile(r"^(\w+)(?:\[\d+\])? "),
)
_LINE = 110
_ROW_BYTES = 16
_ROWS_AROUND = 6
_CONTROL = re.compile(r"[\x00-\x1f\x7f\u0080-\u009f\u2028\u2029\ufeff]")


class Marked(NamedTuple):
    """Lines that show a message; `at` is where it failed: a character of the text, or a byte of what is none. None: not known."""

    lines: list[str]
    at: int | None


def marked(value: bytes | None, detail: str) -> Marked:
    """The message and the place `detail` speaks of. Never raises, whatever the bytes are."""
    if value is None:
        return Marked(["(null)"], None)
    if not value:
        return Marked(["(no bytes)"], None)
    byte = _BYTE.search(detail)
    try:
        text = value.decode("utf-8")
    except UnicodeDecodeError as error:
        meant_as_text = value.lstrip()[:1] in (b"{", b"[")
        return _dump(value, int(byte[1]) if byte else error.start if meant_as_text else None)
    if text.lstrip()[:1] not in ("{", "[") and _CONTROL.search(text[:_LINE]):
        return _dump(value, int(byte[1]) if byte else None)
    return _pointed(text, _place(text, detail, byte))


def _place(text: str, detail: str, byte: re.Match[str] | None) -> int | None:
    character = _CHARACTER.search(detail)
    if character:
        return min(int(character[1]), len(text))
    if byte:
        return len(text.encode()[: int(byte[1])].decode("utf-8", errors="ignore"))
    for pattern in _NAMES:
        found = pattern.search(detail)
        at = text.find(f'"{found[1]}"') if found else -1
        if at >= 0:
            return at
    return None


def _pointed(text: str, at: int | None) -> Marked:
    """One line of the text around the place, and the caret. Control characters, line ends too, are shown as one sign each."""
    plain = _CONTROL.sub("\u00b7", text)
    if at is None:
        rest = len(plain) - 4 * _LINE
        lines = [plain[start : start + _LINE] for start in range(0, min(len(plain), 4 * _LINE), _LINE)]
        return Marked([*lines, f"... and {rest:,} characters more"] if rest > 0 else lines, None)
    start = max(0, at - _LINE // 2)
    end = min(len(plain), start + _LINE)
    before, after = ("..." if start else ""), ("..." if end < len(plain) else "")
    return Marked(
        [
            f"{before}{plain[start:end]}{after}",
            " " * (len(before) + at - start) + f"^ character {at:,} of {len(plain):,}",
        ],
        at,
    )


def _dump(value: bytes, at: int | None) -> Marked:
    """Rows of 16 bytes around the place, the byte itself in brackets."""
    row = (at or 0) // _ROW_BYTES
    first = max(0, row - _ROWS_AROUND // 2)
    lines = []
    if first:
        lines.append(f"... {first * _ROW_BYTES:,} bytes before")
    for start in range(first * _ROW_BYTES, min(len(value), (first + _ROWS_AROUND + 1) * _ROW_BYTES), _ROW_BYTES):
        piece = value[start : start + _ROW_BYTES]
        cells = "".join(f"[{byte:02x}]" if place == at else f" {byte:02x} " for place, byte in enumerate(piece, start=start))
        signs = "".join(chr(byte) if 32 <= byte < 127 else "\u00b7" for byte in piece)
        lines.append(f"{start:08x} {cells:<{4 * _ROW_BYTES}} {signs}")
    rest = len(value) - (first + _ROWS_AROUND + 1) * _ROW_BYTES
    if rest > 0:
        lines.append(f"... {rest:,} bytes more")
    return Marked(lines, at if at is not None and at < len(value) else None)


__all__ = ["Marked", "marked"]
