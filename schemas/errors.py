"""What can go wrong, as one drawn tree.

MillraceError                     root; has .code, .context and .remedy; the code names an entry of docs/errors.md
|- ConfigError        E1xx        stop before starting; exit status 2
|- Retryable          E2xx        nothing happened; safe to repeat
|- InDoubt            E3xx        may have happened; repeat only where the write is idempotent
`- Terminal           E4xx        repeating cannot help: refuse, or dead-letter the record

Errors cross from Spark's workers to the driver, so they survive pickling.
Shape after httpx's exception tree and pyiceberg's CommitStateUnknown (unknown is a third result).
"""

from typing import ClassVar

from schemas.error_codes import CATALOGUE


class MillraceError(Exception):
    """Anything Millrace refuses or cannot do. Subclasses say whether repeating helps.

    code:    stable, listed in `schemas.error_codes`; never reused for another meaning.
    message: what failed, with the values, in plain words; never a secret.
    context: where (file, line, topic, partition, offset, batch_id, output ...), printed after the message.
    remedy:  what to do about it; the catalogue's text unless the raiser knows better.
    """

    family: ClassVar[str] = ""

    def __init__(self, code: str, message: str, *, remedy: str | None = None, **context: object) -> None:
        kind = CATALOGUE[code]
        if not code.startswith(self.family):
            raise ValueError(f"{code} does not belong to {type(self).__name__}")
        super().__init__(message)
        self.code = code
        self.message = message
        self.context = context
        self.remedy = remedy or kind.remedy

    def __str__(self) -> str:
        where = " ".join(f"{key}={value}" for key, value in sorted(self.context.items()))
        return f"[{self.code}] {self.message}" + (f" ({where})" if where else "")

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), self.code, self.message, self.remedy, self.context)


def _rebuild(kind: type[MillraceError], code: str, message: str, remedy: str, context: dict[str, object]) -> MillraceError:
    return kind(code, message, remedy=remedy, **context)


class ConfigError(MillraceError):
    """Something written by a person is wrong; nothing was started. Exit status 2."""

    family = "E1"


class Retryable(MillraceError):
    """Nothing happened and repeating is safe; the runner restarts with back-off."""

    family = "E2"


class InDoubt(MillraceError):
    """The call may have taken effect. Safe to repeat only where the write is idempotent."""

    family = "E3"


class Terminal(MillraceError):
    """Repeating cannot help; the flow stops and says what a person must decide."""

    family = "E4"
