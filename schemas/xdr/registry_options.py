"""How workers reach a schema registry: addresses, login, TLS, patience; plain picklable data, secrets out of `repr`."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class RegistryOptions:
    """A schema registry that speaks Confluent's API, and how hard it is tried.

    urls:        addresses of the API, path included; each is tried in turn until one answers.
    username, password: for basic authentication; token: for bearer authentication. One of both, or none.
    ca_file, certificate_file, key_file, key_password: PEM files for TLS; without ca_file the system's authorities are trusted.
    timeout_ms:     for a connection, and for an answer.
    retry_for_ms:   how long a question is repeated, with pauses, while nobody answers it.
    unknown_for_ms: how long an id that the registry does not know is taken as unknown without asking again.
    """

    urls: tuple[str, ...]
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)
    ca_file: str | None = None
    certificate_file: str | None = None
    key_file: str | None = None
    key_password: str | None = field(default=None, repr=False)
    timeout_ms: int = 5_000
    retry_for_ms: int = 30_000
    unknown_for_ms: int = 10_000


def sendable(token: str) -> bool:
    """Whether a bearer token can stand in a header: visible ASCII characters, at least one."""
    return bool(token) and all("!" <= character <= "~" for character in token)


__all__ = ["RegistryOptions", "sendable"]
