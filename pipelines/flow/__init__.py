"""The flow: its model, its loading from YAML, its rules, and the pages made from it."""

from pipelines.flow.aerospike import AerospikeCluster, Tls
from pipelines.flow.lanes import Lane, Trigger
from pipelines.flow.load import LoadedFlow, load_flow, parse_flow, read_flow
from pipelines.flow.model import Flow, Lease, Reconcile, ReconcileSource, Restart, Spark, Stop, Table
from pipelines.flow.outputs import AerospikeCounters, AerospikeMirror, DeltaHistory, Output
from pipelines.flow.problems import FlowInvalid, Problem
from pipelines.flow.records import Records
from pipelines.flow.secrets import Secret
from pipelines.flow.source import Source

__all__ = [
    "AerospikeCluster",
    "AerospikeCounters",
    "AerospikeMirror",
    "DeltaHistory",
    "Flow",
    "Lease",
    "FlowInvalid",
    "Lane",
    "LoadedFlow",
    "Output",
    "Problem",
    "Reconcile",
    "ReconcileSource",
    "Records",
    "Restart",
    "Secret",
    "Source",
    "Spark",
    "Stop",
    "Table",
    "Tls",
    "Trigger",
    "load_flow",
    "parse_flow",
    "read_flow",
]
