"""Rules about Aerospike clusters: login, TLS, time-outs, and what a mirror needs to be exact."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.flow.aerospike import AerospikeCluster
from pipelines.flow.aerospike_writes import AerospikeWrites
from pipelines.flow.locations import same_hosts
from pipelines.flow.outputs import AerospikeMirror
from pipelines.flow.places import Loc, dotted
from pipelines.flow.rule import Broken, placed_outputs
from schemas.bins import MAX_SET_NAME_BYTES

if TYPE_CHECKING:
    from pipelines.flow.model import Flow


def _mirrors(flow: "Flow") -> Iterator[tuple[Loc, AerospikeMirror]]:
    return ((loc, output) for loc, _, output in placed_outputs(flow) if isinstance(output, AerospikeMirror))


def _writers(flow: "Flow") -> Iterator[tuple[Loc, AerospikeWrites]]:
    return ((loc, output) for loc, _, output in placed_outputs(flow) if isinstance(output, AerospikeWrites))


def _clusters(flow: "Flow") -> Iterator[tuple[Loc, AerospikeCluster]]:
    yield from _writers(flow)
    if flow.reconcile:
        yield ("reconcile", "source"), flow.reconcile.source


def mirrors_get_what_they_need(flow: "Flow") -> Iterator[Broken]:
    """A mirror holds one namespace's records, and shares its namespace with nobody."""
    namespaces = sorted({entry.namespace for entry in flow.records})
    seen: list[tuple[Loc, AerospikeMirror]] = []
    for loc, mirror in _mirrors(flow):
        if len(namespaces) > 1:
            yield Broken(
                (*loc, "namespace"),
                f"{dotted(loc)!r} would mix records of the namespaces {', '.join(namespaces)}: a digest is unique "
                "in one namespace only",
                "Make one flow per namespace.",
                (("records",),),
            )
        for entry in flow.records:
            if mirror.tombstone_set in (entry.sets or ()):
                yield Broken(
                    (*loc, "tombstone_set"),
                    f"tombstone set {mirror.tombstone_set!r} is also a set of 'records'",
                    "Choose another name.",
                    (("records",),),
                )
        if len(mirror.tombstone_set.encode()) > MAX_SET_NAME_BYTES:
            yield Broken((*loc, "tombstone_set"), f"set name is longer than {MAX_SET_NAME_BYTES} bytes", "Choose a shorter name.")
        for other_loc, other in seen:
            if mirror.namespace == other.namespace and same_hosts(mirror.addresses, other.addresses):
                yield Broken(
                    (*loc, "namespace"),
                    f"{dotted(loc)!r} and {dotted(other_loc)!r} write the same namespace {mirror.namespace!r}",
                    "Keep one of them.",
                    (other_loc,),
                )
        seen.append((loc, mirror))
        if flow.reconcile:
            source = flow.reconcile.source
            if mirror.namespace == source.namespace and same_hosts(mirror.addresses, source.addresses):
                yield Broken(
                    (*loc, "namespace"),
                    f"{dotted(loc)!r} writes namespace {mirror.namespace!r} of the cluster it mirrors: its writes "
                    "would come back as changes, for ever",
                    "Mirror into another namespace or cluster.",
                    (("reconcile", "source"), (*loc, "hosts")),
                )


def cluster_options_agree(flow: "Flow") -> Iterator[Broken]:
    """Login, TLS and time-outs of every cluster."""
    for loc, cluster in _clusters(flow):
        yield from _login(loc, cluster)
        yield from _tls(loc, cluster)
        if cluster.socket_timeout_ms > cluster.total_timeout_ms:
            yield Broken(
                (*loc, "socket_timeout_ms"),
                f"'{dotted(loc)}.socket_timeout_ms' ({cluster.socket_timeout_ms}) is more than "
                f"total_timeout_ms ({cluster.total_timeout_ms})",
                "One network wait is part of a call: lower it, or raise total_timeout_ms.",
                ((*loc, "total_timeout_ms"),),
            )
    for loc, output in _writers(flow):
        if output.total_timeout_ms > output.batch_timeout_s * 1000:
            yield Broken(
                (*loc, "total_timeout_ms"),
                f"'{dotted(loc)}.total_timeout_ms' ({output.total_timeout_ms}) is more than "
                f"batch_timeout_s ({output.batch_timeout_s:g})",
                "A call is part of a micro-batch: lower it, or raise batch_timeout_s.",
                ((*loc, "batch_timeout_s"), (*loc, "socket_timeout_ms")),
            )
        if output.first_backoff_ms > output.max_backoff_ms:
            yield Broken(
                (*loc, "first_backoff_ms"),
                f"first_backoff_ms ({output.first_backoff_ms}) is more than max_backoff_ms ({output.max_backoff_ms})",
                "Lower it.",
                ((*loc, "max_backoff_ms"),),
            )


def _login(loc: Loc, cluster: AerospikeCluster) -> Iterator[Broken]:
    mode, user, password = (*loc, "auth_mode"), (*loc, "user"), (*loc, "password")
    if cluster.auth_mode == "pki":
        if cluster.password is not None:
            yield Broken(
                password, "a password is given with auth_mode pki", "The client certificate is the login: leave it out.", (mode,)
            )
        if not (cluster.tls.enable and cluster.tls.certfile):
            yield Broken(
                mode, "auth_mode pki needs tls.enable and tls.certfile", "Give the client certificate.", ((*loc, "tls"),)
            )
        return
    if cluster.user is not None and cluster.password is None:
        yield Broken(
            user, f"'{dotted(loc)}.user' is given without a password", "Add password: ${NAME} or {file: /path}.", (password,)
        )
    if cluster.password is not None and cluster.user is None:
        yield Broken(
            password, f"'{dotted(loc)}.password' is given without a user", "Add user, or leave the password out.", (user,)
        )
    if cluster.auth_mode != "internal" and cluster.user is None:
        yield Broken(mode, f"auth_mode {cluster.auth_mode} needs user and password", "Add both.", (user, password))
    if cluster.auth_mode == "external" and not cluster.tls.enable:
        yield Broken(
            mode,
            "auth_mode external sends the password in clear without TLS",
            "Set tls.enable, or auth_mode external_insecure if that is meant.",
            ((*loc, "tls"),),
        )


def _tls(loc: Loc, cluster: AerospikeCluster) -> Iterator[Broken]:
    tls = cluster.tls
    here = (*loc, "tls")
    given = [name for name in type(tls).model_fields if name != "enable" and getattr(tls, name) not in (None, False)]
    if given and not tls.enable:
        yield Broken(
            (*here, given[0]),
            f"'{dotted(here)}.{given[0]}' is given but TLS is off",
            "Set tls.enable: true, or leave it out.",
            ((*here, "enable"),),
        )
        return
    if tls.keyfile_password and not tls.keyfile:
        yield Broken(
            (*here, "keyfile_password"), "keyfile_password is given without keyfile", "Add keyfile.", ((*here, "keyfile"),)
        )
    if (tls.certfile is None) != (tls.keyfile is None):
        present, absent = ("certfile", "keyfile") if tls.certfile else ("keyfile", "certfile")
        yield Broken(
            (*here, present), f"{present} is given without {absent}", f"Mutual TLS needs both: add {absent}.", ((*here, absent),)
        )
    for name in tls.FILES:
        path = getattr(tls, name)
        if path is not None and not (Path(path).is_dir() if name == "capath" else Path(path).is_file()):
            kind = "folder" if name == "capath" else "file"
            yield Broken((*here, name), f"'{dotted(here)}.{name}': there is no {kind} {path}", "Check the path.")
    for index, address in enumerate(cluster.addresses):
        if address.tls_name and not tls.enable:
            yield Broken(
                (*loc, "hosts", index),
                f"host {cluster.hosts[index]!r} has a TLS name but TLS is off",
                "Set tls.enable: true, or write host:port.",
                ((*here, "enable"),),
            )


__all__ = ["cluster_options_agree", "mirrors_get_what_they_need"]
