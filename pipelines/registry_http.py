"""Requests to a schema registry: several addresses in turn, TLS, basic or bearer authentication, and what an answer means.

urllib3 alone, which other packages bring anyway: Confluent's client needs six packages more (httpx2, authlib and what they bring)
for two requests, and requests would take logins from ~/.netrc and proxies from the environment unasked.
"""

import json
import re
import ssl
from base64 import b64encode
from typing import Any, NamedTuple

import urllib3
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    NameResolutionError,
    NewConnectionError,
    ReadTimeoutError,
    SSLError,
)

from schemas.errors import ConfigError
from schemas.xdr.registry_options import RegistryOptions, sendable

CONTENT_TYPE = "application/vnd.schemaregistry.v1+json"
NOT_FOUND_CODES = frozenset({40401, 40402, 40403})
"""Confluent's error codes for "no such subject, version, schema". A 404 without one is no registry's: a wrong path, a proxy."""
_REFUSED_TLS = ("CERTIFICATE", "UNKNOWN_CA", "HANDSHAKE_FAILURE", "WRONG_VERSION_NUMBER")
"""Reasons of TLS failures that no retry mends, as OpenSSL names them."""
_MAX_WORDS = 200


class NoAnswer(Exception):
    """No address gave an answer that can be used; it may another time. Its text says why, address by address."""


class Answer(NamedTuple):
    """What a registry answers. error_code: the registry's own, 0 in an answer without one."""

    url: str
    status: int
    content: Any
    error_code: int = 0

    @property
    def unknown(self) -> bool:
        """Whether the registry says that it does not have what was asked for."""
        return self.status == 404 and self.error_code in NOT_FOUND_CODES

    @property
    def words(self) -> str:
        """The registry's own words about an error, shortened."""
        said = self.content.get("message") if isinstance(self.content, dict) else None
        return " ".join(str(said or "").split())[:_MAX_WORDS]


class Connections:
    """Connections of this process to one registry. Made when first used; never pickled, never shared with a forked child.

    Raises ConfigError E152 when a file for TLS cannot be used.
    """

    def __init__(self, options: RegistryOptions) -> None:
        self._urls = [url.rstrip("/") for url in options.urls]
        self._headers = {"Accept": f"{CONTENT_TYPE}, application/json", "User-Agent": "millrace", **_authorization(options)}
        timeout_s = options.timeout_ms / 1000
        self._shows_certificate = options.certificate_file is not None
        self._timeout = urllib3.Timeout(connect=timeout_s, read=timeout_s)
        self._pool = urllib3.PoolManager(
            ssl_context=_tls(options) if any(url.startswith("https:") for url in self._urls) else None,
            # Redirects are not followed: a login goes only where the flow says.
            retries=False,
        )

    def ask(self, method: str, path: str, content: Any = None) -> Answer:
        """The first usable answer of the addresses; the one that gave it is asked first from then on.

        path: from the API's root on, with a leading slash. content: sent as JSON.
        Raises: NoAnswer when none can be used (away, overloaded, or something that is no registry); ConfigError E152 when one
                refuses the login, or the certificates of either side do not fit.
        """
        problems = []
        for url in list(self._urls):
            try:
                answer = self._ask(url, method, path, content)
            except NoAnswer as problem:
                problems.append(f"{url}: {problem}")
                continue
            self._urls.remove(url)
            self._urls.insert(0, url)
            return answer
        raise NoAnswer("; ".join(problems))

    def _ask(self, url: str, method: str, path: str, content: Any) -> Answer:
        headers, body = self._headers, None
        if content is not None:
            headers, body = {**headers, "Content-Type": CONTENT_TYPE}, json.dumps(content).encode()
        try:
            response = self._pool.request(method, url + path, body=body, headers=headers, timeout=self._timeout, redirect=False)
        except SSLError as error:
            raise self._tls_problem(url, error) from None
        except HTTPError as error:
            raise NoAnswer(_words(error) or self._broken(url, type(error).__name__)) from None
        if response.status in (401, 403):
            why = "the login is not valid" if response.status == 401 else "the user has no right to this"
            raise ConfigError("E152", f"the schema registry answers {response.status}: {why}", address=url)
        return _judged(url, response.status, response.data)

    def _broken(self, url: str, how: str) -> str:
        """A connection that ended by itself: a server that misses the client's certificate may just close it."""
        hint = "; does it ask for a client's certificate?" if url.startswith("https:") and not self._shows_certificate else ""
        return f"the connection broke off ({how}){hint}"

    def _tls_problem(self, url: str, error: SSLError) -> Exception:
        cause: object = error.args[0] if error.args else error
        reason = str(getattr(cause, "reason", None) or cause)
        if isinstance(cause, ssl.SSLCertVerificationError):
            why = f"its certificate is not trusted ({cause.verify_message})"
        elif any(word in reason.upper() for word in _REFUSED_TLS):
            why = f"TLS is refused ({reason})"
        else:
            return NoAnswer(self._broken(url, reason))
        return ConfigError("E152", f"no TLS connection to the schema registry: {why}", address=url)


def _judged(url: str, status: int, data: bytes) -> Answer:
    """The answer, when it is a registry's; NoAnswer for what another time may be answered better."""
    try:
        content = json.loads(data)
    except ValueError:
        content = None
    code = content.get("error_code") if isinstance(content, dict) else None
    answer = Answer(url, status, content, code if isinstance(code, int) else 0)
    if (status == 200 and content is not None) or answer.unknown or status in (409, 422):
        return answer
    if status == 200:
        raise NoAnswer("answers 200, but not in JSON: is this the registry's address?")
    if status == 404 or 300 <= status < 400:
        raise NoAnswer(f"answers {status}, and not as a schema registry does: is the path of the address right?")
    raise NoAnswer(f"answers {status}" + (f" ({answer.words})" if answer.words else ""))


def _authorization(options: RegistryOptions) -> dict[str, str]:
    if options.token is not None:
        # An HTTP library would quote a header it cannot send in its error, and so the token.
        if not sendable(options.token):
            raise ConfigError("E152", "the schema registry's token holds characters that no HTTP header may hold")
        return {"Authorization": f"Bearer {options.token}"}
    if options.username is not None:
        login = f"{options.username}:{options.password or ''}".encode()
        return {"Authorization": f"Basic {b64encode(login).decode()}"}
    return {}


def _tls(options: RegistryOptions) -> ssl.SSLContext:
    file = options.ca_file
    try:
        context = ssl.create_default_context(cafile=file)
        file = options.certificate_file
        if file is not None:
            # A callback in every case: without one, OpenSSL asks for the password of an encrypted key on the terminal.
            context.load_cert_chain(file, options.key_file, lambda: options.key_password or "")
    except (OSError, ValueError) as error:
        why = getattr(error, "reason", None) or getattr(error, "strerror", None) or type(error).__name__
        raise ConfigError("E152", f"a file for TLS to the schema registry cannot be used: {why}", file=file) from None
    return context


def _words(error: HTTPError) -> str | None:
    """Why there is no connection or no answer, in few words; None when a connection broke off."""
    if isinstance(error, NameResolutionError):
        return "the host's name is not known"
    if isinstance(error, NewConnectionError):
        return re.sub(r"^\[Errno \d+\] ", "", str(error).rpartition(": ")[2]).lower()
    if isinstance(error, ConnectTimeoutError):
        return "no connection in time"
    if isinstance(error, ReadTimeoutError):
        return "no answer in time"
    return None


__all__ = ["Answer", "Connections", "NoAnswer"]
