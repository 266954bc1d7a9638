"""POSIX regular expressions as Python patterns over bytes.

Flags as the client sends them: 1 extended, 2 ignore case, 4 newline is special; the client's 8 has no effect on a Linux server.
Source: wire protocol reference, section 7.1; IEEE Std 1003.1, chapter 9.
"""

import re
from functools import lru_cache
from typing import Final

from .errors import PARAMETER, ServerError

EXTENDED: Final = 1
IGNORE_CASE: Final = 2
NEWLINE: Final = 4

_CLASSES = {
    b"alpha": b"a-zA-Z",
    b"digit": b"0-9",
    b"alnum": b"a-zA-Z0-9",
    b"upper": b"A-Z",
    b"lower": b"a-z",
    b"space": rb"\t\n\v\f\r ",
    b"blank": rb"\t ",
    b"punct": rb"!-/:-@\[-`{-~",
    b"print": rb" -~",
    b"graph": rb"!-~",
    b"cntrl": rb"\x00-\x1f\x7f",
    b"xdigit": b"0-9a-fA-F",
}
_BASIC_OPERATORS = frozenset(b"(){}|+?")
_BACKSLASH, _STAR, _CARET, _DOLLAR, _DOT = b"\\"[0], b"*"[0], b"^"[0], b"$"[0], b"."[0]


@lru_cache(maxsize=64)
def compile_posix(pattern: bytes, flags: int) -> re.Pattern[bytes]:
    """Build a search pattern. Raises ServerError(4) when the expression is malformed."""
    translated = _translate(pattern, extended=bool(flags & EXTENDED), newline=bool(flags & NEWLINE))
    options = re.IGNORECASE if flags & IGNORE_CASE else re.NOFLAG
    if flags & NEWLINE:
        options |= re.MULTILINE
    else:
        options |= re.DOTALL
    try:
        return re.compile(translated, options)
    except re.error as error:
        raise ServerError(PARAMETER, f"regular expression: {error}") from None


def _translate(pattern: bytes, extended: bool, newline: bool) -> bytes:
    out = bytearray()
    at = 0
    starts = True
    """Whether the next byte begins an expression: a basic `*` is a literal there and a basic `^` an anchor."""
    while at < len(pattern):
        byte = pattern[at]
        at += 1
        begins, starts = starts, False
        if byte == _BACKSLASH:
            if at == len(pattern):
                raise ServerError(PARAMETER, "regular expression ends in a backslash")
            escaped = pattern[at]
            at += 1
            if not extended and escaped in _BASIC_OPERATORS:
                out.append(escaped)
                starts = escaped in b"(|"
            elif escaped in b"123456789" or escaped in b"wWsSbB":
                out += bytes((_BACKSLASH, escaped))
            else:
                out += re.escape(bytes((escaped,)))
        elif byte == b"["[0]:
            at = _bracket(pattern, at, out, newline)
        elif byte == _DOLLAR:
            ends = at == len(pattern) or pattern[at : at + 2] in (rb"\)", rb"\|")
            # Python's `$` would also match before a last newline.
            out += (b"$" if newline else rb"\Z") if extended or ends else rb"\$"
        elif byte == _CARET:
            out += b"^" if extended or begins else rb"\^"
            starts = begins
        elif byte == _STAR:
            out += rb"\*" if begins and not extended else b"*"
        elif byte == _DOT:
            out += b"."
        elif byte in _BASIC_OPERATORS:
            out += bytes((byte,)) if extended else re.escape(bytes((byte,)))
            starts = extended and byte in b"(|"
        else:
            out += re.escape(bytes((byte,)))
    return bytes(out)


def _bracket(pattern: bytes, at: int, out: bytearray, newline: bool) -> int:
    """Translate a bracket expression whose `[` was just read; gives the place after its `]`."""
    negated = pattern[at : at + 1] == b"^"
    at += negated
    body = bytearray()
    first = True
    while True:
        if at >= len(pattern):
            raise ServerError(PARAMETER, "regular expression has an open bracket")
        if pattern[at : at + 2] == b"[:":
            end = pattern.find(b":]", at)
            name = pattern[at + 2 : end] if end >= 0 else b""
            if name not in _CLASSES:
                raise ServerError(PARAMETER, f"regular expression names no character class at {at}")
            body += _CLASSES[name]
            at = end + 2
        elif pattern[at : at + 2] in (b"[.", b"[="):
            mark = pattern[at + 1 : at + 2]
            end = pattern.find(mark + b"]", at + 2)
            if end != at + 3:
                raise ServerError(PARAMETER, f"regular expression has an unknown collating element at {at}")
            body += re.escape(pattern[at + 2 : end])
            at = end + 2
        elif pattern[at] == b"]"[0] and not first:
            break
        else:
            byte = pattern[at : at + 1]
            body += byte if byte == b"-" and not first and pattern[at + 1 : at + 2] != b"]" else re.escape(byte)
            at += 1
        first = False
    if negated and newline:
        body += rb"\n"
    out += b"[" + (b"^" if negated else b"") + bytes(body) + b"]"
    return at + 1


__all__ = ["EXTENDED", "IGNORE_CASE", "NEWLINE", "compile_posix"]
