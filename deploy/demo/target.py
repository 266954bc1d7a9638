"""A real cluster as the demo's target: it must hold nothing the demo would be judged by."""

from pipelines.flow.model import Flow
from pipelines.flow.outputs import AerospikeMirror
from schemas.errors import ConfigError
from sinks.aerospike.connection import client_for


def require_empty(flow: Flow, *, clear: bool) -> None:
    """Refuse a target namespace that holds records, unless `clear`: then it is truncated first.

    Records of an earlier run would be found "extra", and newer ones than the demo's would supersede them.
    Raises ConfigError E120 naming how many records there are.
    """
    for name, output in flow.all_outputs().items():
        if not isinstance(output, AerospikeMirror):
            continue
        client = client_for(output.client())
        if clear:
            client.truncate(output.namespace, None, 0)
        (answer,) = client.info_all(f"namespace/{output.namespace}").values()
        fields = dict(pair.partition("=")[::2] for pair in answer[1].strip().split(";"))
        if "objects" not in fields:
            raise ConfigError("E120", f"the cluster has no namespace {output.namespace!r}", output=name)
        if int(fields["objects"]) and not clear:
            raise ConfigError(
                "E120",
                f"namespace {output.namespace!r} holds {int(fields['objects']):,} records",
                remedy="Give the demo an empty namespace, or CLEAR=1 to truncate this one: everything in it is deleted.",
                output=name,
            )


__all__ = ["require_empty"]
