"""The account held against the namespace: is what the workload knows it wrote what a scan finds?"""

import time
from typing import Any, Final

import aerospike

from deploy.simulate.account import Account, Presence, State
from pipelines.reconcile.compare import same_value

MARGIN_S: Final = 2.0
"""Records that expire this close to the scan may or may not be there."""
_NEVER: Final = 0xFFFF_FFFF


def differences(client: Any, namespace: str, account: Account) -> list[str]:
    """Records that are not as the account says, in words without values; empty when all are. Reads the whole namespace.

    The namespace should hold this workload's records only. Bins, presence and expiry are compared; a record whose last operation
    was given up is left out.
    """
    began_s = time.time()
    found = {bytes(key[3]): (meta["ttl"], bins, key[1]) for key, meta, bins in client.query(namespace).results()}
    ended_s = time.time()
    wrong = []
    for state in account.states():
        set_name, user_key, _ = state.key
        asked = bytearray(user_key) if isinstance(user_key, bytes) else user_key
        there = found.pop(bytes(aerospike.calc_digest(namespace, set_name or "", asked)), None)
        problem = _problem(state, there, began_s, ended_s) if state.certain else None
        if problem:
            wrong.append(f"{set_name}/{user_key!r} {problem}")
    return wrong + [f"a record of set {set_name} that this workload did not write" for _, _, set_name in found.values()]


def _problem(state: State, there: tuple[int, dict[str, Any], str | None] | None, began_s: float, ended_s: float) -> str | None:
    if there is None:
        return "is missing" if state.presence(ended_s + MARGIN_S) is Presence.THERE else None
    if state.bins is None or state.presence(began_s - MARGIN_S) is Presence.EXPIRED:
        return "should be gone"
    ttl_s, bins, _ = there
    differing = sorted(
        name
        for name in bins.keys() | state.bins.keys()
        if name not in bins or name not in state.bins or not same_value(bins[name], state.bins[name])
    )
    if differing:
        return f"differs in {', '.join(differing)}"
    if (ttl_s == _NEVER) != (state.expires_s is None):
        return "expires" if state.expires_s is None else "never expires"
    if (
        state.expires_s
        and not state.expires_s[0] - MARGIN_S <= began_s + ttl_s <= state.expires_s[1] + MARGIN_S + ended_s - began_s
    ):
        return "expires at another time"
    return None


__all__ = ["MARGIN_S", "differences"]
