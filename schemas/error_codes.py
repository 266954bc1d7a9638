"""Every error code, once: the source of docs/errors.md and of the remedies printed with an error.

A code is never reused for another meaning. Keep the entries sorted by code.
"""

from typing import NamedTuple


class ErrorKind(NamedTuple):
    """One entry of the catalogue. `meaning` says when it is raised, `remedy` what a person does about it."""

    code: str
    title: str
    meaning: str
    remedy: str


_KINDS = (
    ErrorKind(
        "E100",
        "Flow file cannot be read",
        "The flow file does not exist, cannot be opened, or is not YAML.",
        "Check the path and the place named; the parser's line and column are in the message.",
    ),
    ErrorKind(
        "E101",
        "Flow is not valid",
        "One or more options of the flow are unknown, missing, of the wrong type or contradict each other.",
        "Mend every line named. `millrace validate FLOW` lists all problems at once and starts nothing.",
    ),
    ErrorKind(
        "E110",
        "Something Millrace needs is missing",
        "Java, Maven, a jar or a Python package is absent or of the wrong version.",
        "Run `make setup`; `millrace doctor` shows what is found and what is not.",
    ),
    ErrorKind(
        "E120",
        "Aerospike sink cannot be used as configured",
        "The check before the first write failed: namespace unknown, expiry not enabled, rights missing, or similar.",
        "Change the option or the server setting named in the message.",
    ),
    ErrorKind(
        "E130",
        "Local server did not start",
        "A process of the local stack ended or did not answer in time after it was started.",
        "Read its log: `millrace local logs`. `millrace local down --purge` gives up its data and starts over.",
    ),
    ErrorKind(
        "E131",
        "Port taken",
        "A port that a local server is to use is held by another process.",
        "End that process, or choose another port; see `millrace local up --help`.",
    ),
    ErrorKind(
        "E132",
        "Local stack is not running",
        "The command needs the local stack, or a part of it, and it does not run.",
        "Start it with `millrace local up`.",
    ),
    ErrorKind(
        "E210",
        "Aerospike not reachable",
        "No node answered, or the cluster answered that it cannot serve now. No event of the call was applied.",
        "The runner retries with back-off. Check the nodes, the network and `millrace doctor`.",
    ),
    ErrorKind(
        "E211",
        "Aerospike overloaded",
        "The cluster kept answering device overload, quota exceeded or key busy until the batch's deadline.",
        "The runner retries with back-off. Lower the flow's rate limit or add capacity.",
    ),
    ErrorKind(
        "E220",
        "Kafka not reachable",
        "No broker answered a metadata request in time.",
        "The runner retries with back-off. Check bootstrap servers, network and credentials.",
    ),
    ErrorKind(
        "E310",
        "Aerospike write in doubt",
        "Writes timed out after they were sent and the batch's deadline passed before their outcome was known.",
        "Nothing to do: writes are guarded by version, the runner repeats the batch and the outcome settles.",
    ),
    ErrorKind(
        "E410",
        "Ledger does not balance",
        "In a batch, events in differ from applied + superseded + duplicate + dead.",
        "A defect: keep the checkpoint and the log, and report it with the batch named in the message.",
    ),
)

CATALOGUE: dict[str, ErrorKind] = {kind.code: kind for kind in _KINDS}

__all__ = ["CATALOGUE", "ErrorKind"]
