"""Ask a node an info command over a plain socket: no client, no tending, one answer. (wire protocol reference, 1.1 and 2)"""

import socket

from schemas.errors import ConfigError, Retryable

HEADER_BYTES = 8
MAX_REPLY_BYTES = 16 * 1024 * 1024


def ask(address: str, command: str, timeout_s: float = 5.0) -> str:
    """The value the node at `address` (host:port) answers to `command`.

    Raises Retryable E210 when it does not answer, ConfigError E144 with the node's words when it answers an error.
    """
    host, _, port = address.rpartition(":")
    body = command.encode() + b"\n"
    try:
        with socket.create_connection((host, int(port)), timeout_s) as connection:
            connection.sendall(b"\x02\x01" + len(body).to_bytes(6, "big") + body)
            size = int.from_bytes(_exactly(connection, HEADER_BYTES)[2:], "big")
            if size > MAX_REPLY_BYTES:
                raise OSError(f"reply of {size} bytes: no Aerospike node there")
            reply = _exactly(connection, size).decode("utf-8", "surrogateescape")
    except (OSError, ValueError) as error:
        raise Retryable("E210", f"{address} does not answer {command.partition(':')[0]!r}: {error}") from error
    value = reply.partition("\t")[2].rstrip("\n")
    if value.startswith(("ERROR", "FAIL")):
        raise ConfigError("E144", value.split(":", 2)[-1], node=address, command=command)
    return value


def rows(text: str) -> list[dict[str, str]]:
    """`k=v:k=v;k=v:k=v`, the form of tables in info answers, as one dictionary per row."""
    return [dict(pair.partition("=")[::2] for pair in row.split(":")) for row in text.split(";") if row]


def _exactly(connection: socket.socket, size: int) -> bytes:
    found = bytearray()
    while len(found) < size:
        piece = connection.recv(size - len(found))
        if not piece:
            raise OSError("connection closed")
        found += piece
    return bytes(found)


__all__ = ["ask", "rows"]
