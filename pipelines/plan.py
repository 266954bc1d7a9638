"""Spark's plan of a flow's lanes, made without reading a message: from Kafka to events, where the outputs take over.

A mirror makes the events and writes them in one step of the Python workers; a history gets them as rows.
"""

import io
from contextlib import redirect_stdout

from pipelines.decoding import decoded
from pipelines.flow.explain import secrets_of
from pipelines.flow.model import Flow
from pipelines.flow.secrets import MASK
from pipelines.session import build_session, close_session
from pipelines.source import kafka_stream

_MASTER = "local[1]"
"""A plan does not depend on where it would run; no cluster is asked for anything."""


def lane_plans(flow: Flow) -> dict[str, str]:
    """The physical plan of every lane by name, as Spark prints it. Starts a JVM and stops it again; no broker is asked.

    Should a secret have found its way into a plan, it is masked. Raises ConfigError E110 without Java or jars.
    """
    session = build_session(f"millrace explain {flow.name}", flow.spark.overrides(), _MASTER)
    try:
        plans = {}
        for lane in flow.lanes:
            printed = io.StringIO()
            with redirect_stdout(printed):
                decoded(kafka_stream(session, flow, lane), flow.decode_options()).explain(mode="formatted")
            plans[lane] = _without(printed.getvalue(), secrets_of(flow))
        return plans
    finally:
        close_session(session)


def _without(text: str, secrets: list[str]) -> str:
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, MASK)
    return text


__all__ = ["lane_plans"]
