"""A schema registry that speaks Confluent's API, as a source of writer schemas; Apicurio, Karapace and Redpanda speak it too."""

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from urllib.parse import quote

from pipelines.backoff import Backoff
from pipelines.registry_http import Answer, Connections, NoAnswer
from pipelines.schema_references import MAX_DEPTH, inlined
from schemas.errors import ConfigError, Retryable
from schemas.xdr.options import DecodeOptions
from schemas.xdr.registry_options import RegistryOptions
from schemas.xdr.schema_source import UnknownSchema

FIRST_WAIT_S, LONGEST_WAIT_S = 0.2, 5.0
HIGHEST_ID = 2**31 - 1
"""Ids are positive integers of 32 bits: anything else in a damaged message is unknown without asking."""
MAX_UNKNOWN = 10_000
"""Unknown ids that are remembered at most; damaged messages may name any."""


class SchemaRegistry:
    """Schemas by id and by subject. A SchemaSource.

    Schemas are kept for good, since an id's schema never changes; unknown ids for `unknown_for_ms` only, since a schema may be
    registered later and a dead letter replayed. Pickles as its options: each process makes connections of its own.

    Every call repeats what nobody answers, with growing pauses, for `retry_for_ms`, and raises
        Retryable E221    when still nobody answers
        ConfigError E152  at once, when the registry refuses the login or TLS does not come about
    """

    def __init__(
        self,
        options: RegistryOptions,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.options = options
        self._clock = clock
        self._sleep = sleep
        self._connections: Connections | None = None
        self._schemas: dict[int, str] = {}
        self._unknown: dict[int, tuple[float, str]] = {}

    def __reduce__(self) -> tuple[type["SchemaRegistry"], tuple[RegistryOptions]]:
        return SchemaRegistry, (self.options,)

    def __repr__(self) -> str:
        return f"SchemaRegistry({', '.join(self.options.urls)})"

    def schema(self, schema_id: int) -> str:
        """The Avro schema of this id as JSON text, types of other schemas it refers to written out in it.

        Raises UnknownSchema when the registry has none of this id, or one that is not Avro; and as the class says.
        """
        known = self._schemas.get(schema_id)
        if known is None:
            self._raise_if_unknown(schema_id)
            try:
                known = self._schemas[schema_id] = self._fetched(schema_id)
            except UnknownSchema as unknown:
                if len(self._unknown) >= MAX_UNKNOWN:
                    self._unknown.clear()
                self._unknown[schema_id] = (self._clock() + self.options.unknown_for_ms / 1000, str(unknown))
                raise
        return known

    def register(self, subject: str, schema_text: str) -> int:
        """The id of an Avro schema under `subject`, which is made a version of it unless it is one. Safe to repeat.

        Raises ConfigError E153 when the registry refuses it: no valid schema, or not compatible with the subject's others.
        """
        path = f"/subjects/{quote(subject, safe='')}/versions"
        answer = self._ask("POST", path, {"schema": schema_text, "schemaType": "AVRO"}, lambda found: isinstance(_id(found), int))
        if answer.status != 200:
            raise ConfigError(
                "E153", f"the schema registry refuses a schema: {answer.words}", subject=subject, address=answer.url
            )
        schema_id: int = _id(answer)
        return schema_id

    def _raise_if_unknown(self, schema_id: int) -> None:
        if not 0 < schema_id <= HIGHEST_ID:
            raise UnknownSchema(f"schema id {schema_id} is out of range")
        remembered = self._unknown.get(schema_id)
        if remembered is not None:
            until, why = remembered
            if self._clock() < until:
                raise UnknownSchema(why)
            del self._unknown[schema_id]

    def _fetched(self, schema_id: int) -> str:
        answer = self._ask("GET", f"/schemas/ids/{schema_id}", None, _holds_schema)
        return self._self_contained(answer, f"schema {schema_id}", 0)

    def _self_contained(self, answer: Answer, name: str, depth: int) -> str:
        """The schema text of an answer, with the schemas it refers to, and those that they refer to, written out in it."""
        if answer.status != 200:
            raise UnknownSchema(f"the registry has no {name}")
        kind = answer.content.get("schemaType", "AVRO")
        if kind != "AVRO":
            raise UnknownSchema(f"{name} is of type {kind}, not Avro")
        text: str = answer.content["schema"]
        references = answer.content.get("references") or []
        if not references:
            return text
        if depth == MAX_DEPTH:
            raise UnknownSchema(f"{name} refers to schemas that refer to others, more than {MAX_DEPTH} deep")
        referred = []
        for reference in references:
            subject, version = reference["subject"], reference["version"]
            path = f"/subjects/{quote(str(subject), safe='')}/versions/{version}"
            found = self._ask("GET", path, None, _holds_schema)
            referred.append(self._self_contained(found, f"version {version} of {subject}", depth + 1))
        return inlined(text, referred)

    def _ask(self, method: str, path: str, content: Any, usable: Callable[[Answer], bool]) -> Answer:
        """An answer, if need be after some tries: one that says no, or a `usable` one."""
        began = self._clock()
        budget_s = self.options.retry_for_ms / 1000
        backoff = Backoff(FIRST_WAIT_S, LONGEST_WAIT_S)
        while True:
            try:
                if self._connections is None:
                    self._connections = Connections(self.options)
                answer = self._connections.ask(method, path, content)
                if answer.status != 200 or usable(answer):
                    return answer
                problem = f"{answer.url}: its answer is not what was asked for: is this a schema registry?"
            except NoAnswer as no:
                problem = str(no)
            wait_s = backoff.next_wait_s()
            if self._clock() + wait_s - began > budget_s:
                tried = f"{backoff.failures} tries" if backoff.failures > 1 else "one try"
                raise Retryable("E221", f"no answer from the schema registry after {tried}: {problem}")
            self._sleep(wait_s)


def _id(answer: Answer) -> Any:
    return answer.content.get("id") if isinstance(answer.content, dict) else None


def _holds_schema(answer: Answer) -> bool:
    return isinstance(answer.content, dict) and isinstance(answer.content.get("schema"), str)


def schema_source(options: DecodeOptions) -> SchemaRegistry | None:
    """Where a process asks for writer schemas by id; None when the messages name none."""
    return None if options.registry is None else SchemaRegistry(options.registry)


def registry_problem(options: RegistryOptions) -> str | None:
    """Why the registry cannot be used, found out by one real request to each address; None when all of them answer."""
    problems = []
    for url in options.urls:
        try:
            kinds = Connections(_of_one(options, url)).ask("GET", "/schemas/types").content
            if not (isinstance(kinds, list) and "AVRO" in kinds):
                problems.append(f"{url}: it does not say that it knows Avro schemas: is this a schema registry?")
        except NoAnswer as problem:
            problems.append(str(problem))
        except ConfigError as problem:
            problems.append(f"{url}: {problem.message}")
    return "; ".join(problems) or None


def _of_one(options: RegistryOptions, url: str) -> RegistryOptions:
    return replace(options, urls=(url,))


__all__ = ["SchemaRegistry", "registry_problem", "schema_source"]
