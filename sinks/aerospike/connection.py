"""One connected client per cluster and worker process: made on first use, shared by every batch after it."""

import atexit
import os
import threading
from typing import Any

import aerospike
from aerospike import exception as ex

from schemas.errors import ConfigError, Retryable
from sinks.aerospike.config import ClientConfig

_lock = threading.Lock()
_clients: dict[tuple[int, ClientConfig], Any] = {}

_TLS_ERROR = -9
_SETUP_ERRORS = (ex.AdminError, ex.InvalidHostError, ex.ParamError)


def client_for(config: ClientConfig) -> Any:
    """This process's client for `config`, connected.

    Raises: ConfigError E120 for refused credentials or TLS, Retryable E210 when no node answers.
    The process id is part of the cache's key, so a forked worker never shares its parent's sockets.
    """
    key = (os.getpid(), config)
    with _lock:
        client = _clients.get(key)
        if client is None:
            client = _clients[key] = _connect(config)
        return client


def _connect(config: ClientConfig) -> Any:
    where = ",".join(f"{host}:{port}" for host, port, _ in config.hosts)
    try:
        return aerospike.client(config.for_client()).connect()
    except _SETUP_ERRORS as error:
        raise ConfigError("E120", f"Aerospike refused the connection: {error.msg} (code {error.code})", hosts=where) from None
    except ex.AerospikeError as error:
        if error.code == _TLS_ERROR:
            raise ConfigError("E120", f"TLS to Aerospike failed: {error.msg}", hosts=where) from None
        raise Retryable("E210", f"no Aerospike node answered: {error.msg} (code {error.code})", hosts=where) from None


def forget_client(config: ClientConfig) -> None:
    """Close and drop this process's client for `config`; the next `client_for` connects anew."""
    with _lock:
        client = _clients.pop((os.getpid(), config), None)
    if client is not None:
        client.close()


@atexit.register
def _close_all() -> None:
    with _lock:
        for (pid, _), client in list(_clients.items()):
            if pid == os.getpid():
                client.close()
        _clients.clear()


__all__ = ["client_for", "forget_client"]
