"""Environment values in a flow file: `${NAME}`, `${NAME:-default}`, and `$$` for a dollar sign before a brace."""

import re
from collections.abc import Mapping

_REFERENCE = re.compile(r"\$\$(?=\{)|\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>[^}]*))?\}|(?P<bad>\$\{)")


class Interpolated(str):
    """Text that holds values of the environment. `written` is what stands in the file: the only form errors may show."""

    written: str

    def __new__(cls, value: str, written: str) -> "Interpolated":
        """`value` with the text it was made from."""
        text = super().__new__(cls, value)
        text.written = written
        return text

    def __reduce__(self) -> tuple[type["Interpolated"], tuple[str, str]]:
        return Interpolated, (str(self), self.written)


class MissingVariables(ValueError):
    """Names of the environment that are not set and have no default; `malformed` when a reference is not closed or named."""

    def __init__(self, names: list[str], malformed: bool) -> None:
        super().__init__(names, malformed)
        self.names = names
        self.malformed = malformed


def interpolate(text: str, environment: Mapping[str, str]) -> str:
    """`text` with its references replaced; an `Interpolated` when there was one, else a plain string.

    A default counts when the variable is unset or empty. `$${` stands for `${`. Values are taken as they are:
    never looked through again.
    Raises MissingVariables with every name that is missing.
    """
    if "${" not in text:
        return text
    missing: list[str] = []
    malformed = referenced = False

    def replace(match: re.Match[str]) -> str:
        nonlocal malformed, referenced
        if match["bad"]:
            malformed = True
            return ""
        name = match["name"]
        if name is None:
            return "$"
        referenced = True
        value = environment.get(name)
        if match["default"] is not None:
            return value or match["default"]
        if value is None:
            missing.append(name)
            return ""
        return value

    result = _REFERENCE.sub(replace, text)
    if missing or malformed:
        raise MissingVariables(list(dict.fromkeys(missing)), malformed)
    return Interpolated(result, text) if referenced else result


__all__ = ["Interpolated", "MissingVariables", "interpolate"]
