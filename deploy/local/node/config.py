"""The node's settings: what a namespace may be told, and how `name,option=value` is read."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

MAX_TTL_S: Final = 315_360_000
"""Ten years: the longest ttl a server takes."""
MAX_NAME_BYTES: Final = 31


@dataclass(slots=True)
class NamespaceConfig:
    """One namespace's settings; times in seconds, sizes in bytes. Names and meanings are the server's, save the last three.

    nsup_period_s:       how often expired records are removed; 0 never, and then a write with a ttl is refused (22).
    default_ttl_s:       for writes with ttl 0; 0 never expires.
    max_record_size:     stored size above which a write is refused (13).
    batch_max_rows:      rows a batch may have; 0 without limit.
    durable_deletes:     True takes durable deletes (as Enterprise does), False answers 25 (as Community does).
    delete_history_s:    how long deletes are remembered for change shippers.
    snapshot_log_bytes:  a log longer than this, and longer than the last snapshot, is followed by a new snapshot.
    """

    name: str
    nsup_period_s: int = 10
    default_ttl_s: int = 0
    max_record_size: int = 1 << 20
    batch_max_rows: int = 0
    durable_deletes: bool = False
    delete_history_s: int = 3600
    snapshot_log_bytes: int = 64 << 20

    def change(self, option: str, value: str) -> None:
        """Set one option by the server's name. Raises ValueError with what was wrong, changing nothing."""
        known = OPTIONS.get(option)
        if known is None:
            raise ValueError(f"namespace {self.name}: unknown option {option!r}; known: {', '.join(sorted(OPTIONS))}")
        attribute, highest = known
        if highest is None:
            if value not in ("true", "false"):
                raise ValueError(f"namespace {self.name}: {option} must be true or false, not {value!r}")
            setattr(self, attribute, value == "true")
            return
        number = seconds_or_bytes(value)
        if number is None or not 0 <= number <= highest:
            raise ValueError(f"namespace {self.name}: {option} must be 0..{highest}, not {value!r}")
        if option == "default-ttl" and number and not self.nsup_period_s:
            raise ValueError(f"namespace {self.name}: default-ttl needs an nsup-period above 0")
        if option == "nsup-period" and not number and self.default_ttl_s:
            raise ValueError(f"namespace {self.name}: nsup-period 0 needs default-ttl 0")
        setattr(self, attribute, number)

    def stated(self) -> dict[str, str]:
        """Every option by the server's name, as text."""
        values = {option: getattr(self, attribute) for option, (attribute, _) in OPTIONS.items()}
        return {option: str(value).lower() for option, value in values.items()}


OPTIONS: Final[dict[str, tuple[str, int | None]]] = {
    "nsup-period": ("nsup_period_s", 1 << 31),
    "default-ttl": ("default_ttl_s", MAX_TTL_S),
    "max-record-size": ("max_record_size", 8 << 20),
    "batch-max-requests": ("batch_max_rows", 1 << 31),
    "durable-deletes": ("durable_deletes", None),
    "delete-history": ("delete_history_s", 1 << 31),
    "snapshot-log-bytes": ("snapshot_log_bytes", 1 << 40),
}
"""The server's name -> (attribute, highest value, or None for a switch)."""

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


def seconds_or_bytes(value: str) -> int | None:
    """A number with the server's suffixes (`30`, `5m`, `1d`, `8M`); None when it is none."""
    number, unit = (value[:-1], _UNITS[value[-1]]) if value[-1:] in _UNITS else (value, 1)
    return int(number) * unit if number.isdecimal() and number.isascii() else None


def parse_namespace(given: str) -> NamespaceConfig:
    """`name[,option=value...]`. Raises ValueError."""
    name, *options = given.split(",")
    if not name or len(name.encode()) > MAX_NAME_BYTES or set(name) & set(":;=/\\ \t\n") or name.startswith("."):
        raise ValueError(f"namespace name {name!r}: 1 to {MAX_NAME_BYTES} bytes, without : ; = / \\ or blanks")
    config = NamespaceConfig(name)
    for option in options:
        key, equals, value = option.partition("=")
        if not equals:
            raise ValueError(f"namespace {name}: {option!r} is not option=value")
        config.change(key, value)
    return config


@dataclass(slots=True, frozen=True)
class NodeConfig:
    """Where the node listens and keeps its data.

    port:     0 picks a free one; the chosen port goes to standard output and into the pid file's second line.
    security: what a client with credentials is told: `off` (52, it carries on) or `refuse` (51, as Community does).
    """

    data: Path
    namespaces: tuple[NamespaceConfig, ...]
    host: str = "127.0.0.1"
    port: int = 3000
    name: str = "BB9EMBEDDED0001"
    cluster_name: str = ""
    security: str = "off"
    advertise: str = ""
