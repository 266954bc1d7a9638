"""The registry client against a real HTTP server that answers as each test says."""

import io
import json
import pickle
from base64 import b64encode
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import fastavro
import pytest

from deploy.local import ports
from pipelines.schema_registry import SchemaRegistry, registry_problem
from schemas.errors import ConfigError, MillraceError, Retryable
from schemas.xdr.registry_options import RegistryOptions
from schemas.xdr.schema_source import UnknownSchema
from tests.support.registry_server import UNKNOWN, Certificates, RegistryServer, Said, make_certificates, registry_server

TEXT = '{"type": "record", "name": "A", "fields": []}'
HIDDEN = "hush-hush-4711"


class Clock:
    """Time that passes when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture
def server() -> Iterator[RegistryServer]:
    with registry_server() as made:
        yield made


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("tls"))


def client(server: RegistryServer | str, clock: Clock | None = None, **options: Any) -> SchemaRegistry:
    url = server if isinstance(server, str) else server.url
    clock = clock or Clock()
    return SchemaRegistry(RegistryOptions(urls=(url,), **options), clock=clock, sleep=clock.sleep)


def all_text(error: MillraceError) -> str:
    """Everything of an error that could be shown, its causes included."""
    seen: list[str] = []
    link: BaseException | None = error
    while link is not None:
        seen += [str(link), repr(link), repr(link.args), repr(getattr(link, "context", ""))]
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)
    return "\n".join(seen)


def test_a_schema_is_fetched_once_and_kept(server: RegistryServer) -> None:
    server.schema(7, TEXT)
    registry = client(server)
    assert [registry.schema(7), registry.schema(7)] == [TEXT, TEXT]
    assert server.paths() == ["/api/schemas/ids/7"]
    assert "Authorization" not in server.asked[0].headers


def test_an_unknown_id_is_remembered_for_a_short_time_only(server: RegistryServer, clock: Clock) -> None:
    server.answer("/schemas/ids/7", Said(404, UNKNOWN), Said(200, {"schema": TEXT}))
    registry = client(server, clock, unknown_for_ms=10_000)
    for _ in range(3):
        with pytest.raises(UnknownSchema, match="the registry has no schema 7"):
            registry.schema(7)
    assert len(server.asked) == 1 and clock.slept == []
    clock.now += 10.1
    assert registry.schema(7) == TEXT


@pytest.mark.parametrize("schema_id", [0, -1, 2**31])
def test_an_id_no_registry_can_have_is_unknown_without_asking(server: RegistryServer, schema_id: int) -> None:
    with pytest.raises(UnknownSchema, match="out of range"):
        client(server).schema(schema_id)
    assert server.asked == []


def test_a_schema_that_is_not_avro_cannot_be_read(server: RegistryServer) -> None:
    server.schema(7, "syntax = 'proto3';", schemaType="PROTOBUF")
    with pytest.raises(UnknownSchema, match="PROTOBUF"):
        client(server).schema(7)


@pytest.mark.parametrize(
    "trouble",
    [
        Said(500, {"error_code": 50001, "message": "backend away"}),
        Said(429, b"slow down"),
        Said(503, b""),
        Said(404, b"page not found"),
        Said(404, {"error_code": 404, "message": "HTTP 404 Not Found"}),
        Said(302, b""),
        Said(200, b"<html>log in</html>"),
        Said(200, ["no schema"]),
    ],
    ids=lambda said: f"{said.status}-{str(said.content)[:20]}",
)
def test_what_may_pass_is_tried_again(server: RegistryServer, clock: Clock, trouble: Said) -> None:
    """Also answers that come from something that is no registry: such a message must not become a dead letter."""
    server.answer("/schemas/ids/7", trouble, trouble, Said(200, {"schema": TEXT}))
    assert client(server, clock).schema(7) == TEXT
    assert len(clock.slept) == 2 and 0.1 <= clock.slept[0] <= 0.2 and 0.2 <= clock.slept[1] <= 0.4


def test_an_answer_that_takes_too_long_is_asked_for_again(server: RegistryServer, clock: Clock) -> None:
    server.answer("/schemas/ids/7", Said(200, {"schema": "late"}, delay_s=1.0), Said(200, {"schema": TEXT}))
    assert client(server, clock, timeout_ms=100).schema(7) == TEXT
    assert len(clock.slept) == 1


def test_when_nobody_answers_the_budget_ends_it(clock: Clock) -> None:
    port = ports.free_ports(1)[0]
    with pytest.raises(Retryable, match=r"E221.*after \d+ tries.*refused") as caught:
        client(f"http://127.0.0.1:{port}", clock, retry_for_ms=20_000).schema(7)
    assert 15 < sum(clock.slept) <= 20
    assert isinstance(pickle.loads(pickle.dumps(caught.value)), Retryable)


def test_a_registry_that_came_back_is_asked_anew(server: RegistryServer, clock: Clock) -> None:
    """What nobody answered is not taken for unknown."""
    server.answer("/schemas/ids/7", Said(500, {}), Said(200, {"schema": TEXT}))
    registry = client(server, clock, retry_for_ms=1)
    with pytest.raises(Retryable, match="after one try"):
        registry.schema(7)
    assert registry.schema(7) == TEXT


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize("login", [{"username": "reader", "password": HIDDEN}, {"token": HIDDEN}], ids=["basic", "bearer"])
def test_a_refused_login_stops_at_once_and_shows_no_secret(
    server: RegistryServer, clock: Clock, status: int, login: dict[str, str]
) -> None:
    server.answer("/schemas/ids/7", Said(status, {"error_code": status, "message": "no"}))
    registry = client(server, clock, **login)
    with pytest.raises(ConfigError, match=f"E152.*{status}") as caught:
        registry.schema(7)
    assert clock.slept == []
    encoded = b64encode(f"reader:{HIDDEN}".encode()).decode()
    shown = f"{all_text(caught.value)} {registry!r} {registry.options!r} {registry_problem(registry.options)}"
    assert HIDDEN not in shown and encoded not in shown


def test_basic_and_bearer_logins_arrive(server: RegistryServer) -> None:
    server.schema(7, TEXT)
    client(server, username="läser", password="pass:wörd").schema(7)
    client(server, token="abc.def-123").schema(7)
    sent = [asked.headers["Authorization"] for asked in server.asked]
    assert sent == ["Basic " + b64encode("läser:pass:wörd".encode()).decode(), "Bearer abc.def-123"]


def test_a_token_that_no_header_may_hold_is_refused_without_showing_it(server: RegistryServer) -> None:
    with pytest.raises(ConfigError, match="E152") as caught:
        client(server, token=f"{HIDDEN}\n").schema(7)
    assert HIDDEN not in all_text(caught.value) and server.asked == []


def test_a_login_is_not_carried_to_where_an_answer_points(server: RegistryServer, clock: Clock) -> None:
    with registry_server() as elsewhere, pytest.MonkeyPatch.context() as patch:
        patch.setattr("http.server.BaseHTTPRequestHandler.end_headers", _with_location(elsewhere.url + "/schemas/ids/7"))
        server.answer("/schemas/ids/7", Said(307, b""))
        with pytest.raises(Retryable, match="307"):
            client(server, clock, token=HIDDEN, retry_for_ms=1).schema(7)
        assert elsewhere.asked == [] and len(server.asked) == 1


def _with_location(url: str) -> Any:
    plain = BaseHTTPRequestHandler.end_headers

    def end_headers(handler: BaseHTTPRequestHandler) -> None:
        handler.send_header("Location", url)
        plain(handler)

    return end_headers


def test_each_address_is_tried_and_the_one_that_answers_is_kept(server: RegistryServer, clock: Clock) -> None:
    server.schema(7, TEXT)
    server.schema(8, TEXT)
    with registry_server() as broken:
        broken.answer("/schemas/ids/7", Said(500, {}))
        registry = SchemaRegistry(RegistryOptions((broken.url, server.url)), clock=clock, sleep=clock.sleep)
        assert registry.schema(7) == registry.schema(8) == TEXT
        assert broken.paths() == ["/api/schemas/ids/7"] and len(server.asked) == 2
    assert clock.slept == []


def test_register_gives_the_id_and_sends_the_schema(server: RegistryServer) -> None:
    path = "/subjects/xdr%2Fpay%20ments-value/versions"
    server.answer(path, Said(200, {"id": 12}))
    assert client(server).register("xdr/pay ments-value", TEXT) == 12
    (asked,) = server.asked
    assert (asked.method, asked.path, asked.content) == ("POST", "/api" + path, {"schema": TEXT, "schemaType": "AVRO"})
    assert asked.headers["Content-Type"] == "application/vnd.schemaregistry.v1+json"


@pytest.mark.parametrize("status", [409, 422])
def test_a_schema_the_registry_refuses_is_an_error_in_its_words(server: RegistryServer, clock: Clock, status: int) -> None:
    server.answer("/subjects/s/versions", Said(status, {"error_code": status, "message": "is incompatible"}))
    with pytest.raises(ConfigError, match=r"E153.*is incompatible"):
        client(server, clock).register("s", "{}")
    assert clock.slept == []


def test_pickles_as_its_options_and_works_again(server: RegistryServer) -> None:
    server.schema(7, TEXT)
    registry = client(server, token="t")
    registry.schema(7)
    again: SchemaRegistry = pickle.loads(pickle.dumps(registry))
    assert again.options == registry.options
    assert again.schema(7) == TEXT
    assert len(server.asked) == 2, "another process asks for itself"


def test_tls_with_an_authority_of_ones_own(certificates: Certificates) -> None:
    with registry_server(certificates.server_context()) as server:
        server.schema(7, TEXT)
        assert client(server, ca_file=str(certificates.authority)).schema(7) == TEXT
        clock = Clock()
        with pytest.raises(ConfigError, match=r"E152.*certificate is not trusted"):
            client(server, clock).schema(7)
        assert clock.slept == []


def test_a_name_the_certificate_does_not_carry_is_refused(certificates: Certificates) -> None:
    with registry_server(certificates.server_context()) as server, pytest.raises(ConfigError, match=r"E152.*trusted.*localhost"):
        client(server.url.replace("127.0.0.1", "localhost"), ca_file=str(certificates.authority)).schema(7)


@pytest.mark.parametrize("key", ["client_key", "locked_key"])
def test_a_clients_certificate_is_shown_when_asked_for(certificates: Certificates, key: str) -> None:
    with registry_server(certificates.server_context(clients=True)) as server:
        server.schema(7, TEXT)
        trusted = {"ca_file": str(certificates.authority)}
        mine = {"certificate_file": str(certificates.client), "key_file": str(getattr(certificates, key))}
        password = {"key_password": "opener"} if key == "locked_key" else {}
        assert client(server, **trusted, **mine, **password).schema(7) == TEXT
        # The server's word about it may be lost when it closes the connection at once.
        with pytest.raises(MillraceError, match=r"E152.*TLS is refused.*CERTIFICATE|E221.*client's certificate\?"):
            client(server, retry_for_ms=1, **trusted).schema(7)
        assert len(server.asked) == 1


def test_files_for_tls_that_cannot_be_used_are_named(certificates: Certificates, tmp_path: Path) -> None:
    url = "https://127.0.0.1:1"
    with pytest.raises(ConfigError, match=r"E152.*No such file.*nowhere\.pem"):
        client(url, ca_file=str(tmp_path / "nowhere.pem")).schema(7)
    with pytest.raises(ConfigError, match=r"E152.*client\.pem") as caught:
        locked = {"certificate_file": str(certificates.client), "key_file": str(certificates.locked_key)}
        client(url, **locked, key_password=HIDDEN).schema(7)
    assert HIDDEN not in all_text(caught.value)
    with pytest.raises(ConfigError, match="E152"):
        client(url, **locked).schema(7)


def test_https_to_a_plain_server_is_told(server: RegistryServer) -> None:
    with pytest.raises(ConfigError, match=r"E152.*TLS is refused"):
        client(server.url.replace("http:", "https:")).schema(7)


def test_a_problem_is_found_by_a_real_request_to_every_address(server: RegistryServer) -> None:
    assert registry_problem(RegistryOptions((server.url,))) is not None, "404: no registry"
    server.answer("/schemas/types", Said(200, ["JSON", "AVRO"]))
    assert registry_problem(RegistryOptions((server.url,))) is None
    port = ports.free_ports(1)[0]
    assert f"127.0.0.1:{port}" in str(registry_problem(RegistryOptions((server.url, f"http://127.0.0.1:{port}"))))
    server.answer("/schemas/types", Said(200, {}))
    assert "is this a schema registry?" in str(registry_problem(RegistryOptions((server.url,))))


def test_types_of_schemas_referred_to_are_written_out(server: RegistryServer) -> None:
    money = {"type": "record", "name": "Money", "namespace": "shop", "fields": [{"name": "currency", "type": "Currency"}]}
    currency = {"type": "enum", "name": "shop.Currency", "symbols": ["EUR", "CHF"]}
    order = {
        "type": "record",
        "name": "Order",
        "namespace": "shop",
        "fields": [{"name": "a", "type": ["null", "Money"]}, {"name": "b", "type": {"type": "array", "items": "shop.Money"}}],
    }
    refer = [{"name": "shop.Currency", "subject": "cur/rency", "version": 3}]
    server.schema(7, json.dumps(order), references=[{"name": "shop.Money", "subject": "money", "version": 1}])
    server.answer("/subjects/money/versions/1", Said(200, {"schema": json.dumps(money), "references": refer}))
    server.answer("/subjects/cur%2Frency/versions/3", Said(200, {"schema": json.dumps(currency)}))
    whole = json.loads(client(server).schema(7))
    parsed = fastavro.parse_schema(whole)
    stream = io.BytesIO()
    fastavro.schemaless_writer(stream, parsed, {"a": {"currency": "EUR"}, "b": [{"currency": "CHF"}]})
    assert stream.getvalue() == bytes([2, 0, 2, 2, 0])
    assert whole["fields"][0]["type"][1]["name"] == "shop.Money" and whole["fields"][1]["type"]["items"] == "shop.Money"


def test_schemas_that_refer_in_a_circle_end_as_unknown(server: RegistryServer) -> None:
    circle = [{"name": "A", "subject": "a", "version": 1}]
    server.schema(7, TEXT, references=circle)
    server.answer("/subjects/a/versions/1", Said(200, {"schema": TEXT, "references": circle}))
    with pytest.raises(UnknownSchema, match="deep"):
        client(server).schema(7)
