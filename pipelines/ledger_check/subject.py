"""What of a flow a check looks at."""

from checkpoints.journal import Journal
from pipelines.flow.model import Flow
from pipelines.flow.outputs import DeltaHistory
from pipelines.ledger_check.check import Subject
from sinks.delta.ledger import LedgerTable


def subject_of(flow: Flow) -> Subject:
    """The flow's tables. Touches nothing."""
    return Subject(
        flow=flow.name,
        ledger=LedgerTable(flow.name, flow.ledger.path),
        journal=Journal(flow.checkpoint),
        letters=flow.dead_letters.path,
        histories={name: one.path for name, one in flow.all_outputs().items() if isinstance(one, DeltaHistory)},
        lanes={lane: tuple(options.outputs) for lane, options in flow.lanes.items()},
        owner=flow.decode_owner,
    )


__all__ = ["subject_of"]
