"""XDR-like change events from the embedded node to Kafka.

Only Enterprise servers ship changes; this stands in for XDR and the Kafka outbound connector in development and tests. What is
shipped, when and in which form follows docs/embedded-node.md; what real XDR may do (repeat, reorder, coalesce, re-ship), it does.
"""

from collections.abc import Sequence

from deploy.local.node.hooks import NodeControl
from deploy.local.xdr.settings import XdrSettings, parse_settings
from deploy.local.xdr.shipper import Shipper


def attach(node: NodeControl, settings: Sequence[XdrSettings], bootstrap: str) -> Shipper:
    """Ship the changes of `node` to the Kafka cluster at `bootstrap`. Call once, after the data was loaded.

    The caller closes the shipper at a clean shutdown. Raises ConfigError E143.
    """
    shipper = Shipper(settings, bootstrap)
    shipper.attach(node)
    return shipper


__all__ = ["Shipper", "XdrSettings", "attach", "parse_settings"]
