"""The account held against the namespace: is what the workload knows it wrote what a scan finds?"""

import time
from typing import Any

import aerospike

from deploy.simulate.account import Account
from pipelines.reconcile.compare import same_value

MARGIN_S = 2.0
"""Records that expire within this time may or may not be there."""


def differences(client: Any, namespace: str, accounts: list[Account]) -> list[str]:
    """Records that are not as the account says, in words; empty when all are. Reads the whole namespace."""
    found: dict[bytes, tuple[dict[str, Any], str | None]] = {}
    for key, _, bins in client.query(namespace).results():
        found[bytes(key[3])] = (bins, key[1])
    wrong = []
    now_s = time.time()
    for account in accounts:
        for (set_name, user_key), state in account.records.items():
            asked = bytearray(user_key) if isinstance(user_key, bytes) else user_key
            there = found.pop(bytes(aerospike.calc_digest(namespace, set_name or "", asked)), None)
            if there is None:
                if state.alive(now_s, MARGIN_S):
                    wrong.append(f"{set_name}/{user_key!r} is missing")
            elif state.alive(now_s, -MARGIN_S) and not same_value(there[0], state.bins):
                wrong.append(f"{set_name}/{user_key!r} differs")
    return wrong + [f"a record of set {set_name} that nobody wrote" for _, set_name in found.values()]


__all__ = ["differences"]
