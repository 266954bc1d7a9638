"""Rules about the schema registry of a flow: which formats ask one, which options go together."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.flow.places import Loc
from pipelines.flow.rule import Broken
from schemas.xdr.registry_options import sendable

if TYPE_CHECKING:
    from pipelines.flow.model import Flow
    from pipelines.flow.registry import Registry

NEEDED_BY: frozenset[str] = frozenset({"kafka-avro"})
"""Formats whose messages name their schemas by number, always."""
ASKED_BY: frozenset[str] = NEEDED_BY | {"auto"}

_PLACE: Loc = ("source", "registry")
_FORMAT: Loc = ("source", "format")


def registry_fits_format(flow: "Flow") -> Iterator[Broken]:
    """A registry is there where messages name schemas by number, and only there."""
    source = flow.source
    if source.registry is None and source.format in NEEDED_BY:
        yield Broken(
            _FORMAT,
            f"format {source.format!r} needs 'source.registry': its messages name their schemas by number",
            "Give source.registry.urls, with the path of the registry's API.",
            (_PLACE,),
        )
    if source.registry is not None and source.format not in ASKED_BY:
        yield Broken(
            _PLACE,
            f"'source.registry' belongs to {' and '.join(sorted(ASKED_BY, reverse=True))}; the format is {source.format!r}",
            "Leave it out: messages of this format name no schema by number.",
            (_FORMAT,),
        )


def registry_options_agree(flow: "Flow") -> Iterator[Broken]:
    """A login is whole and of one kind, and options for TLS have an address with TLS."""
    registry = flow.source.registry
    if registry is not None:
        yield from _login(registry)
        yield from _tls(registry)


def _login(registry: "Registry") -> Iterator[Broken]:
    if registry.password is not None and registry.username is None:
        yield Broken((*_PLACE, "password"), "'source.registry.password' is given without 'username'", "Give the user's name.")
    if registry.username is not None and registry.password is None:
        yield Broken((*_PLACE, "username"), "'source.registry.username' is given without 'password'", "Give the password.")
    if registry.username is not None and ":" in registry.username:
        yield Broken(
            (*_PLACE, "username"),
            "'source.registry.username' holds ':', which ends a user name in basic authentication",
            "Use another user.",
        )
    if registry.token is not None and registry.username is not None:
        yield Broken(
            (*_PLACE, "token"),
            "'source.registry.token' and 'username' are two logins",
            "Keep the one the registry asks for.",
            ((*_PLACE, "username"),),
        )
    if registry.token is not None and not sendable(registry.token.reveal()):
        yield Broken(
            (*_PLACE, "token"),
            "'source.registry.token' is empty or holds characters that no HTTP header may: blanks, line ends, letters not ASCII",
            "Give the token alone, without 'Bearer' before it.",
        )


def _tls(registry: "Registry") -> Iterator[Broken]:
    certificate: tuple[Loc, ...] = ((*_PLACE, "certificate_file"),)
    for name in ("key_file", "key_password"):
        if getattr(registry, name) is not None and registry.certificate_file is None:
            message = f"'source.registry.{name}' is given without 'certificate_file'"
            yield Broken((*_PLACE, name), message, "Give the certificate the key belongs to.", certificate)
    for name in registry.FILES:
        file = getattr(registry, name)
        if file is None:
            continue
        if not any(url.startswith("https:") for url in registry.urls):
            yield Broken(
                (*_PLACE, name),
                f"'source.registry.{name}' is for TLS, but no address begins with https:",
                "Write https: where the registry has TLS, or leave the file out.",
                ((*_PLACE, "urls"),),
            )
        elif not Path(file).is_file():
            yield Broken((*_PLACE, name), f"no file {file}, for 'source.registry.{name}'", "Check the path.")


__all__ = ["ASKED_BY", "NEEDED_BY", "registry_fits_format", "registry_options_agree"]
