"""How a flow reaches an Aerospike cluster: addresses, login, TLS, time-outs. Shared by mirrors and by `reconcile`."""

import re
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_core import PydanticCustomError

from pipelines.flow.base import Bool, Int, StrictModel, Text, split_commas
from pipelines.flow.secrets import Secret
from sinks.aerospike.config import ClientConfig

_HOST = re.compile(r"^(?P<host>\[[0-9A-Fa-f:.]+\]|[^:\[\]\s]+)(?::(?P<tls>[^:\s]+))?:(?P<port>\d{1,5})$")


class Address(NamedTuple):
    """A seed node. `tls_name` is the name its certificate must carry, or None."""

    host: str
    port: int
    tls_name: str | None


def parse_address(text: str) -> Address | None:
    """`host:port` or `host:tls_name:port` (IPv6 in brackets), or None when it is neither."""
    match = _HOST.match(text)
    if not match or not 0 < int(match["port"]) < 65_536:
        return None
    return Address(match["host"].strip("[]"), int(match["port"]), match["tls"])


def _address(text: str) -> str:
    if parse_address(text) is None:
        raise PydanticCustomError("address", "expected host:port or host:tls_name:port")
    return text


Addresses = Annotated[tuple[Annotated[Text, AfterValidator(_address)], ...], BeforeValidator(split_commas)]


def _rack_ids(value: Any) -> Any:
    return (value,) if isinstance(value, int) and not isinstance(value, bool) else value


class Tls(StrictModel):
    """TLS to Aerospike, in the Aerospike client's own terms."""

    summary: ClassVar[str] = "TLS to Aerospike. Files must lie on every machine that runs the flow."

    enable: Bool = Field(default=False, description="Use TLS. Hosts are then written host:tls_name:port.")
    cafile: Text | None = Field(default=None, description="File of trusted certificate authorities, PEM.")
    capath: Text | None = Field(default=None, description="Folder of trusted certificate authorities.")
    certfile: Text | None = Field(default=None, description="This client's certificate, PEM; for mutual TLS.")
    keyfile: Text | None = Field(default=None, description="This client's private key, PEM.")
    keyfile_password: Secret | None = Field(default=None, description="Password of `keyfile`.")
    cipher_suite: Text | None = Field(default=None, description="Allowed ciphers, as OpenSSL writes them.")
    protocols: Text | None = Field(default=None, description="Allowed protocols, such as `TLSv1.2`.")
    crl_check: Bool = Field(default=False, description="Refuse revoked server certificates.")
    crl_check_all: Bool = Field(default=False, description="Refuse revoked certificates anywhere in the chain.")
    cert_blacklist: Text | None = Field(default=None, description="File of refused certificate serials.")
    for_login_only: Bool = Field(default=False, description="Use TLS for the login only.")

    FILES: ClassVar[tuple[str, ...]] = ("cafile", "capath", "certfile", "keyfile", "cert_blacklist")

    def for_client(self) -> dict[str, Any]:
        """The client's `tls` dictionary with the password revealed; empty when TLS is off."""
        if not self.enable:
            return {}
        given = {name: getattr(self, name) for name in (*self.FILES, "cipher_suite", "protocols")}
        flags = {name: True for name in ("crl_check", "crl_check_all", "for_login_only") if getattr(self, name)}
        password = {"keyfile_pw": self.keyfile_password.reveal()} if self.keyfile_password else {}
        return {"enable": True, **{name: value for name, value in given.items() if value is not None}, **flags, **password}


class AerospikeCluster(StrictModel):
    """A namespace of a cluster, and how to reach it."""

    hosts: Addresses = Field(
        min_length=1, description="Seed nodes, host:port or host:tls_name:port.", examples=[["127.0.0.1:3000"]]
    )
    namespace: Text = Field(max_length=31, description="Namespace.", examples=["mirror"])
    user: Text | None = Field(default=None, description="User name, where the cluster has security on.")
    password: Secret | None = Field(default=None, description="Password of `user`.")
    auth_mode: Literal["internal", "external", "external_insecure", "pki"] = Field(
        default="internal",
        description="Who checks the login: Aerospike, LDAP behind it (external), LDAP without TLS (external_insecure), or the "
        "client certificate (pki).",
    )
    tls: Tls = Field(default_factory=Tls, description="TLS; see its own table.")
    use_services_alternate: Bool = Field(
        default=False, description="Use the nodes' alternate addresses, for clients outside their network."
    )
    rack_ids: Annotated[tuple[Int, ...], BeforeValidator(_rack_ids)] = Field(
        default=(), description="Racks near the workers, nearest first; reads prefer them."
    )
    compression: Bool = Field(default=False, description="Compress requests (Enterprise servers).")
    connect_timeout_ms: Int = Field(default=1_000, ge=1, le=600_000, description="Time for a new connection.")
    socket_timeout_ms: Int = Field(default=2_000, ge=1, le=600_000, description="Time for one network wait.")
    total_timeout_ms: Int = Field(default=5_000, ge=1, le=600_000, description="Time for one call.")
    max_connections_per_node: Int = Field(
        default=100, ge=1, le=10_000, description="Connections of one worker process to one node."
    )

    @property
    def addresses(self) -> tuple[Address, ...]:
        """The seed nodes, parsed."""
        return tuple(address for host in self.hosts if (address := parse_address(host)) is not None)

    def client(self) -> ClientConfig:
        """What the sink's connection takes, secrets revealed."""
        return ClientConfig(
            hosts=tuple((a.host, a.port, a.tls_name) for a in self.addresses),
            user=self.user,
            password=self.password.reveal() if self.password else None,
            auth_mode=self.auth_mode,
            tls=tuple(sorted(self.tls.for_client().items())),
            use_services_alternate=self.use_services_alternate,
            rack_ids=self.rack_ids,
            compression=self.compression,
            connect_timeout_ms=self.connect_timeout_ms,
            socket_timeout_ms=self.socket_timeout_ms,
            total_timeout_ms=self.total_timeout_ms,
            max_connections_per_node=self.max_connections_per_node,
        )


__all__ = ["Address", "AerospikeCluster", "Tls", "parse_address"]
