"""Where a flow asks for the schemas that messages name by number: addresses, login, TLS, patience."""

from typing import Annotated, ClassVar
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_core import PydanticCustomError

from pipelines.flow.base import Int, StrictModel, Text, split_commas
from pipelines.flow.secrets import Secret
from schemas.xdr.registry_options import RegistryOptions


def _url(text: str) -> str:
    """An address that is shown everywhere, so nothing secret may be in it; refusals do not repeat it."""
    try:
        parts = urlsplit(text)
        fits = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        fits = False
    if not fits or any(mark in text for mark in "?# \t\n"):
        raise PydanticCustomError(
            "registry_url", "expected http://host:port/path or https://host:port/path, and nothing after it"
        )
    if "@" in parts.netloc:
        raise PydanticCustomError("registry_url", "an address must not hold a login: give username and password")
    return text.rstrip("/")


Urls = Annotated[tuple[Annotated[Text, AfterValidator(_url)], ...], BeforeValidator(split_commas)]


class Registry(StrictModel):
    """A schema registry that speaks Confluent's API."""

    summary: ClassVar[str] = (
        "A schema registry with Confluent's API, asked for the schemas that messages name by number. Each is asked for once per "
        "worker process. Files must lie on every machine that runs the flow. Proxies named in the environment are not used."
    )

    urls: Urls = Field(
        min_length=1,
        description="Addresses of the API, its path included; tried in turn. Apicurio's is `http://host:port/apis/ccompat/v7`.",
        examples=[["http://127.0.0.1:8081"]],
    )
    username: Text | None = Field(default=None, description="User name, for basic authentication.")
    password: Secret | None = Field(default=None, description="Password of `username`.")
    token: Secret | None = Field(default=None, description="Token, for bearer authentication.")
    ca_file: Text | None = Field(
        default=None, description="File of trusted certificate authorities, PEM; those of the system when absent."
    )
    certificate_file: Text | None = Field(default=None, description="This client's certificate, PEM; for mutual TLS.")
    key_file: Text | None = Field(default=None, description="This client's private key, PEM; in `certificate_file` when absent.")
    key_password: Secret | None = Field(default=None, description="Password of the private key.")
    timeout_ms: Int = Field(default=5_000, ge=1, le=600_000, description="Time for a connection, and for an answer.")
    retry_for_ms: Int = Field(
        default=30_000,
        ge=0,
        le=3_600_000,
        description="How long a question that nobody answers is repeated before the lane fails and starts again after a pause. "
        "No message is given up for it.",
    )
    unknown_for_ms: Int = Field(
        default=10_000,
        ge=0,
        le=3_600_000,
        description="How long a schema the registry does not know is taken as unknown without asking again.",
    )

    FILES: ClassVar[tuple[str, ...]] = ("ca_file", "certificate_file", "key_file")

    def client_options(self) -> RegistryOptions:
        """What the client in each worker takes, secrets revealed."""
        return RegistryOptions(
            urls=self.urls,
            username=self.username,
            password=self.password.reveal() if self.password else None,
            token=self.token.reveal() if self.token else None,
            ca_file=self.ca_file,
            certificate_file=self.certificate_file,
            key_file=self.key_file,
            key_password=self.key_password.reveal() if self.key_password else None,
            timeout_ms=self.timeout_ms,
            retry_for_ms=self.retry_for_ms,
            unknown_for_ms=self.unknown_for_ms,
        )

    def secrets(self) -> list[Secret]:
        """Those that are given."""
        return [secret for secret in (self.password, self.token, self.key_password) if secret]


__all__ = ["Registry"]
