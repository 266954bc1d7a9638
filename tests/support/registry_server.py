"""A small HTTP or HTTPS server that answers as a test says, in the place of a schema registry, and certificates made for it."""

import json
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

UNKNOWN = {"error_code": 40403, "message": "Schema not found"}


class Said(NamedTuple):
    """One answer: content as JSON, or as bytes when it is bytes."""

    status: int
    content: Any
    delay_s: float = 0.0


class Asked(NamedTuple):
    """One request."""

    method: str
    path: str
    headers: dict[str, str]
    content: Any


@dataclass
class RegistryServer:
    """answers: by path; each is given once, the last one for ever. asked: every request in order."""

    url: str = ""
    answers: dict[str, list[Said]] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)

    def answer(self, path: str, *answers: Said) -> None:
        """What to answer at `path`."""
        self.answers[path] = list(answers)

    def schema(self, schema_id: int, text: str, **more: Any) -> None:
        """Have a schema."""
        self.answer(f"/schemas/ids/{schema_id}", Said(200, {"schema": text, **more}))

    def paths(self) -> list[str]:
        """The paths asked for, in order."""
        return [each.path for each in self.asked]

    def next_answer(self, path: str) -> Said:
        """What comes now."""
        left = self.answers.get(path, [Said(404, UNKNOWN)])
        return left.pop(0) if len(left) > 1 else left[0]


@contextmanager
def registry_server(tls: ssl.SSLContext | None = None) -> Iterator[RegistryServer]:
    """A server on a free port of this machine."""
    made = RegistryServer()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._reply(None)

        def do_POST(self) -> None:
            self._reply(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

        def _reply(self, content: Any) -> None:
            made.asked.append(Asked(self.command, self.path, dict(self.headers), content))
            said = made.next_answer(self.path)
            time.sleep(said.delay_s)
            data = said.content if isinstance(said.content, bytes) else json.dumps(said.content).encode()
            try:
                self.send_response(said.status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)
            except OSError:
                pass  # the client has given up waiting

        def log_message(self, *_: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        def handle_error(self, *_: Any) -> None:
            pass  # handshakes that fail are what some tests are about

    server = Server(("127.0.0.1", 0), Handler)
    if tls is not None:
        # The handshake in the connection's own thread: one that never ends must not hold up the others.
        server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    made.url = f"http{'s' if tls else ''}://127.0.0.1:{server.server_port}/api"
    made.answers = _Under("/api", made.answers)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield made
    finally:
        server.shutdown()
        server.server_close()


class _Under(dict[str, list[Said]]):
    """Answers at paths under a prefix, which requests have and tests leave out."""

    def __init__(self, prefix: str, given: dict[str, list[Said]]) -> None:
        super().__init__(given)
        self.prefix = prefix

    def get(self, path: str, default: Any = None) -> Any:
        return super().get(path.removeprefix(self.prefix), default)


@dataclass(frozen=True)
class Certificates:
    """PEM files: an authority, and a server's and a client's certificate and key signed by it; one key with password `opener`."""

    authority: Path
    server: Path
    server_key: Path
    client: Path
    client_key: Path
    locked_key: Path

    def server_context(self, *, clients: bool = False) -> ssl.SSLContext:
        """For the server; clients: refuse clients without a certificate."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(self.server, self.server_key)
        if clients:
            context.load_verify_locations(self.authority)
            context.verify_mode = ssl.CERT_REQUIRED
        return context


def make_certificates(folder: Path) -> Certificates:
    """Certificates for a day, made with openssl, which Java's packages bring."""
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    _openssl(folder, "req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.pem", "-days", "1", "-subj", "/CN=Test authority")
    (folder / "names").write_text("subjectAltName=IP:127.0.0.1\n")
    for name in ("server", "client"):
        _openssl(folder, "req", *key, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
        signed = ["-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "1", "-extfile", "names"]
        _openssl(folder, "x509", "-req", "-in", f"{name}.csr", "-out", f"{name}.pem", *signed)
    _openssl(folder, "pkcs8", "-topk8", "-in", "client.key", "-out", "locked.key", "-passout", "pass:opener")
    return Certificates(*(folder / f for f in ("ca.pem", "server.pem", "server.key", "client.pem", "client.key", "locked.key")))


def _openssl(folder: Path, *arguments: str) -> None:
    done = subprocess.run(["openssl", *arguments], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"openssl {arguments[0]}: {done.stderr}"


__all__ = ["Asked", "Certificates", "RegistryServer", "Said", "UNKNOWN", "make_certificates", "registry_server"]
