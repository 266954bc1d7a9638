"""Info commands: text in, text out (wire protocol reference, 2).

The client's own (connect, tend) and those operators use. Errors are values: `ERROR:<code>:<text>`.
"""

import base64
import hashlib
import time
from collections.abc import Callable, Mapping

from deploy.local.node import wire
from deploy.local.node.config import NodeConfig
from deploy.local.node.hooks import InfoHandler
from deploy.local.node.namespace import PARTITIONS, Namespace, now_ms
from deploy.local.node.sindex import INDEX_TYPES, PARTICLE_OF_TYPE, Definition, SecondaryIndex, indexed_values

BUILD = "8.1.1.2"
EDITION = "Aerospike Community Edition"
FEATURES = "batch-any;batch-index;cdt-list;cdt-map;pipelining;pquery;pscans;query-show;replicas;sindex-exists;truncate-namespace"
ALL_PARTITIONS = base64.b64encode(b"\xff" * (PARTITIONS // 8)).decode()
UNRECOGNIZED = "ERROR:4:unrecognized command"
OWN_PREFIX = "millrace-"


class InfoError(Exception):
    """Answered as `ERROR:<code>:<text>`."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(f"ERROR:{code}:{text}")


class Info:
    """Answers info requests about a node's namespaces.

    address: `host:port` under which clients reach the node; set once it listens.
    """

    def __init__(self, config: NodeConfig, namespaces: Mapping[str, Namespace]) -> None:
        self.config = config
        self.namespaces = namespaces
        self.address = ""
        self.connections: Callable[[], int] = lambda: 0
        self._started = time.monotonic()
        self._handlers: dict[str, InfoHandler] = {}
        own = {name.removeprefix("_do_").replace("_", "-"): getattr(self, name) for name in dir(self) if name.startswith("_do_")}
        self._commands: dict[str, Callable[[Mapping[str, str]], str]] = own
        replicas = ";".join(f"{name}:0,1,{ALL_PARTITIONS}" for name in namespaces)
        self._constant = {
            "node": config.name,
            "build": BUILD,
            "edition": EDITION,
            "version": f"{EDITION} build {BUILD}",
            "status": "ok",
            "features": FEATURES,
            "partitions": str(PARTITIONS),
            "partition-generation": "0",
            "peers-generation": "0",
            "rebalance-generation": "0",
            "rack-ids": "ERROR:25:enterprise-only",
            "replicas": replicas,
            "namespaces": ";".join(namespaces),
            "cluster-name": config.cluster_name or "null",
            "cluster-stable": hashlib.sha1(config.name.encode()).hexdigest()[:12].upper(),
            "peers-clear-std": "0,3000,[]",
            "peers-clear-alt": "0,3000,[]",
            "peers-tls-std": "0,3000,[]",
            "udf-list": "",
        }

    def register(self, name: str, handler: InfoHandler) -> None:
        """Answer `name`, which begins with `millrace-`, with `handler`. Raises ValueError for another name or one taken."""
        if not name.startswith(OWN_PREFIX) or name in self._handlers:
            raise ValueError(f"info command {name!r} must begin with {OWN_PREFIX} and not be registered yet")
        self._handlers[name] = handler

    def answer(self, body: bytes) -> bytes:
        """The reply body for a request body: one line per command, in order."""
        lines = []
        for request in body.decode("utf-8", "surrogateescape").split("\n"):
            if request:
                lines.append(f"{request}\t{self.one(request)}\n")
        return "".join(lines).encode("utf-8", "surrogateescape")

    def one(self, request: str) -> str:
        """The value for one command."""
        name, colon, given = request.partition(":")
        if not colon and "/" in name:
            name, _, given = name.partition("/")
            return self._path(name, given)
        if name in self._constant:
            return self._constant[name]
        arguments = dict(pair.partition("=")[::2] for pair in given.split(";") if pair)
        command = self._handlers.get(name) or self._commands.get(name)
        if command is None:
            return UNRECOGNIZED
        try:
            return command(arguments)
        except InfoError as error:
            return str(error)
        except ValueError as error:
            return f"ERROR:4:{error}"

    def _path(self, name: str, given: str) -> str:
        """The older forms with slashes."""
        if name == "namespace":
            return self._namespace_stated(given)
        if name == "sets":
            namespace, _, set_name = given.partition("/")
            return self._sets(namespace, set_name)
        if name == "sindex":
            return self._do_sindex_list({"namespace": given.partition("/")[0]})
        if name == "get-config":
            return UNRECOGNIZED
        return UNRECOGNIZED

    def _named(self, arguments: Mapping[str, str], *, missing: int = wire.NO_NAMESPACE) -> Namespace:
        name = arguments.get("namespace") or arguments.get("ns") or arguments.get("id")
        if not name:
            raise InfoError(missing, "missing 'namespace'")
        if name not in self.namespaces:
            raise InfoError(wire.NO_NAMESPACE, f"unknown namespace {name}")
        return self.namespaces[name]

    # ------------------------------------------------------------------ statistics
    def _do_service_clear_std(self, arguments: Mapping[str, str]) -> str:
        return self.config.advertise or self.address

    def _do_service_clear_alt(self, arguments: Mapping[str, str]) -> str:
        return self.config.advertise or self.address

    def _do_service(self, arguments: Mapping[str, str]) -> str:
        return self.config.advertise or self.address

    def _do_user_agent_set(self, arguments: Mapping[str, str]) -> str:
        return "ok"

    def _do_statistics(self, arguments: Mapping[str, str]) -> str:
        stated = {
            "cluster_size": 1,
            "cluster_integrity": "true",
            "cluster_is_member": "true",
            "uptime": int(time.monotonic() - self._started),
            "client_connections": self.connections(),
            "objects": sum(namespace.objects for namespace in self.namespaces.values()),
            "tombstones": 0,
        }
        return ";".join(f"{key}={value}" for key, value in stated.items())

    def _namespace_stated(self, name: str) -> str:
        namespace = self.namespaces.get(name)
        if namespace is None:
            return "type=unknown"
        stated: dict[str, object] = {
            "ns_cluster_size": 1,
            "effective_replication_factor": 1,
            "replication-factor": 1,
            "objects": namespace.objects,
            "master_objects": namespace.objects,
            "tombstones": 0,
            "master_tombstones": 0,
            "expired_objects": namespace.expired_objects,
            "evicted_objects": 0,
            "truncate_lut": namespace.truncated_ms.get("", 0),
            "stop_writes": "false",
            "strong-consistency": "false",
            "storage-engine": "memory",
            "sindexes": len(namespace.indexes),
            "millrace_log_bytes": namespace.log.log_bytes,
            "millrace_snapshot_bytes": namespace.log.snapshot_bytes,
            "millrace_remembered_deletes": len(namespace.deleted),
        }
        return ";".join(f"{key}={value}" for key, value in (stated | namespace.config.stated()).items())

    def _do_sets(self, arguments: Mapping[str, str]) -> str:
        return "".join(self._sets(name, "") for name in self.namespaces)

    def _sets(self, name: str, set_name: str) -> str:
        namespace = self.namespaces.get(name)
        if namespace is None:
            return "ns_type=unknown"
        if set_name:
            return self._set_row(namespace, set_name) if set_name in namespace.set_objects else ""
        return "".join(f"ns={name}:set={one}:{self._set_row(namespace, one)}" for one in namespace.set_objects if one)

    def _set_row(self, namespace: Namespace, name: str) -> str:
        used = sum(record.size_bound for part in namespace.partitions for record in part.values() if record.set_name == name)
        indexes = sum(index.definition.set_name == name for index in namespace.indexes.values())
        return (
            f"objects={namespace.set_objects[name]}:tombstones=0:data_used_bytes={used}"
            f":truncate_lut={namespace.truncated_ms.get(name, 0)}:sindexes={indexes}:index_populating=false:truncating=false"
            ":default-read-touch-ttl-pct=0:default-ttl=0:disable-eviction=false:enable-index=false"
            ":stop-writes-count=0:stop-writes-size=0;"
        )

    # ------------------------------------------------------------------ configuration
    def _do_get_config(self, arguments: Mapping[str, str]) -> str:
        if arguments.get("context") != "namespace":
            raise InfoError(wire.PARAMETER, "only context=namespace")
        return ";".join(f"{key}={value}" for key, value in self._named(arguments).config.stated().items())

    def _do_set_config(self, arguments: Mapping[str, str]) -> str:
        if arguments.get("context") != "namespace":
            raise InfoError(wire.PARAMETER, "only context=namespace")
        namespace = self._named(arguments)
        options = {key: value for key, value in arguments.items() if key not in ("context", "id", "namespace", "ns")}
        if not options:
            raise InfoError(wire.PARAMETER, "no option given")
        for option, value in options.items():
            namespace.config.change(option, value)
        return "ok"

    # ------------------------------------------------------------------ truncation
    def _do_truncate(self, arguments: Mapping[str, str]) -> str:
        namespace = self._named(arguments)
        if not arguments.get("set"):
            raise InfoError(wire.PARAMETER, "missing 'set'")
        namespace.truncate(arguments["set"], _before_ms(arguments))
        return "ok"

    def _do_truncate_namespace(self, arguments: Mapping[str, str]) -> str:
        self._named(arguments).truncate("", _before_ms(arguments))
        return "ok"

    # ------------------------------------------------------------------ secondary indexes
    def _do_sindex_create(self, arguments: Mapping[str, str]) -> str:
        namespace = self._named(arguments)
        name = arguments.get("indexname")
        bin_name, kind = arguments.get("bin"), arguments.get("type", "")
        if "indexdata" in arguments:
            bin_name, _, kind = arguments["indexdata"].partition(",")
        index_type = arguments.get("indextype", "default").lower()
        if not name or not bin_name:
            raise InfoError(wire.PARAMETER, "missing 'indexname' or 'bin'")
        if arguments.get("context") or arguments.get("exp") or kind.upper() == "GEO2DSPHERE":
            raise InfoError(wire.UNSUPPORTED, "this node has no index on elements, expressions or GeoJSON")
        if kind.lower() not in PARTICLE_OF_TYPE or index_type not in INDEX_TYPES:
            raise InfoError(wire.PARAMETER, f"unknown index type {kind} {index_type}")
        index = SecondaryIndex(name, Definition(arguments.get("set", ""), bin_name, kind.lower(), index_type))
        present = namespace.indexes.get(name)
        if present is not None and present != index:
            raise InfoError(200, f"index {name} exists with another definition")
        if present is None:
            namespace.create_index(index)
        return "ok"

    def _do_sindex_delete(self, arguments: Mapping[str, str]) -> str:
        namespace = self._named(arguments)
        if not arguments.get("indexname"):
            raise InfoError(wire.PARAMETER, "missing 'indexname'")
        namespace.delete_index(arguments["indexname"])
        return "ok"

    def _do_sindex_exists(self, arguments: Mapping[str, str]) -> str:
        return str(arguments.get("indexname") in self._named(arguments).indexes).lower()

    def _do_sindex_list(self, arguments: Mapping[str, str]) -> str:
        shown = [self._named(arguments)] if arguments.get("namespace") or arguments.get("ns") else self.namespaces.values()
        return ";".join(index.stated(namespace.name) for namespace in shown for index in namespace.indexes.values())

    def _do_sindex_stat(self, arguments: Mapping[str, str]) -> str:
        namespace = self._named(arguments)
        index = namespace.indexes.get(arguments.get("indexname", ""))
        if index is None:
            raise InfoError(wire.INDEX_NOT_FOUND, "no index")
        set_name, bin_name, kind, index_type = index.definition
        particle_type, position = PARTICLE_OF_TYPE[kind], INDEX_TYPES.index(index_type)
        values: set[bytes] = set()
        entries = records = 0
        for part in namespace.partitions:
            for record in part.values():
                if not set_name or record.set_name == set_name:
                    found = list(indexed_values(record.bins.get(bin_name), particle_type, position))
                    entries += len(found)
                    records += bool(found)
                    values.update(found)
        return (
            f"entries={entries};used_bytes={entries * 16};entries_per_bval={entries // max(1, len(values))}"
            f";entries_per_rec={entries // max(1, records)};load_pct=100;load_time=0;stat_gc_recs=0"
        )

    def _do_query_show(self, arguments: Mapping[str, str]) -> str:
        wanted = arguments.get("id") or arguments.get("trid")
        rows = [
            f"trid={job.number}:ns={namespace.name}:set={job.set_name}:job-type=background-ops"
            f":status={'done(ok)' if job.partitions_done == PARTITIONS else 'active(ok)'}"
            f":job-progress={100 * job.partitions_done / PARTITIONS:.2f}:recs-succeeded={job.succeeded}"
            f":recs-failed={job.failed}:recs-filtered-bins={job.filtered}"
            for namespace in self.namespaces.values()
            for job in namespace.jobs.values()
            if not wanted or str(job.number) == wanted
        ]
        if wanted and not rows:
            raise InfoError(wire.NOT_FOUND, "job not found")
        return ";".join(rows)


def _before_ms(arguments: Mapping[str, str]) -> int | None:
    """The truncation's threshold; None for now."""
    given = arguments.get("lut", "")
    if not given or given == "0" or given == "now":
        return None
    if not given.isdecimal():
        raise InfoError(wire.PARAMETER, f"bad 'lut' {given}")
    before_ms = int(given) // 1_000_000
    if before_ms > now_ms():
        raise InfoError(wire.PARAMETER, "would truncate in the future")
    return before_ms
