"""Secrets as a type: a value that prints as `***` wherever it goes, and is read only where it is handed over."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import GetCoreSchemaHandler
from pydantic_core import PydanticCustomError, core_schema

MASK = "***"
SENSITIVE = re.compile(r"(?i)secret|passw|passphrase|token|access[._]?key|jaas|credential|keyfile_pw")
"""Option names whose values are secret whatever their type."""


class Secret:
    """A value that never appears in repr, str, JSON, errors or `millrace explain`. Only `reveal` gives it.

    In a flow file: `${NAME}` from the environment, or `{file: /path}` (read when the flow is loaded, last line end dropped).
    In Python: `Secret("value")`, `Secret.from_file(path)`, or a plain string. Survives pickling, since workers need it.
    """

    __slots__ = ("_literal", "_value")

    def __init__(self, value: str, *, literal: bool = False) -> None:
        self._value = value
        self._literal = literal

    @classmethod
    def from_file(cls, path: str | Path) -> "Secret":
        """The text of a mounted file without its last line end. Raises OSError or UnicodeDecodeError when it cannot be read."""
        return cls(Path(path).read_text(encoding="utf-8").removesuffix("\n").removesuffix("\r"))

    def reveal(self) -> str:
        """The value itself, for the call that needs it."""
        return self._value

    @property
    def literal(self) -> bool:
        """Whether it stood in the flow file as it is, where a version control system would keep it."""
        return self._literal

    def __repr__(self) -> str:
        return f"Secret('{MASK}')"

    def __str__(self) -> str:
        return MASK

    def __format__(self, spec: str) -> str:
        return format(MASK, spec)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)

    def __reduce__(self) -> tuple[Callable[..., "Secret"], tuple[str]]:
        return Secret, (self._value,)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        return core_schema.no_info_plain_validator_function(
            secret_from,
            serialization=core_schema.plain_serializer_function_ser_schema(lambda _: MASK),
        )


def secret_from(value: object) -> Secret:
    """A Secret from what a flow may say: text, `{file: path}`, or a Secret. Errors never carry the value."""
    if isinstance(value, Secret):
        return value
    if isinstance(value, str):
        return Secret(str(value), literal=not hasattr(value, "written"))
    if isinstance(value, dict) and set(value) == {"file"} and isinstance(value["file"], str):
        path = str(value["file"])
        try:
            return Secret.from_file(path)
        except OSError as error:
            message = f"the secret's file {path} cannot be read: {error.strerror}"
        except UnicodeDecodeError:
            message = f"the secret's file {path} is not UTF-8 text"
        raise PydanticCustomError("secret_file", "{message}", {"message": message})
    raise PydanticCustomError("secret", "expected a secret: ${NAME} from the environment, or {file: /path}")


def is_sensitive(name: object) -> bool:
    """Whether an option of this name must not be shown."""
    return isinstance(name, str) and SENSITIVE.search(name) is not None


__all__ = ["MASK", "Secret", "is_sensitive", "secret_from"]
