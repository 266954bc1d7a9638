"""The account held against the namespace: is what the workload knows it wrote what a scan finds?"""

import time
from typing import Any, Final, NamedTuple

import aerospike

from deploy.simulate.account import Account, Presence, State
from pipelines.reconcile.compare import same_value

MARGIN_S: Final = 2.0
"""Records that expire this close to the scan may or may not be there."""
_NEVER: Final = 0xFFFF_FFFF


class Comparison(NamedTuple):
    """wrong: records that are not as the account says, in words without values. strangers: records that it does not know."""

    wrong: list[str]
    strangers: int


def records_in(client: Any, namespace: str) -> int:
    """How many records the namespace's nodes say they hold, replicas and the expired that are not yet reaped included."""
    answers = client.info_all(f"namespace/{namespace}")
    return sum(
        int(value)
        for _, text in answers.values()
        for name, _, value in (item.partition("=") for item in (text or "").replace("\t", ";").strip().split(";"))
        if name == "objects"
    )


def compare(client: Any, namespace: str, account: Account) -> Comparison:
    """The namespace, all of it read, against the account.

    Bins, presence and expiry are compared; a record whose last operation was given up is left out.
    """
    began_s = time.time()
    found = {bytes(key[3]): (meta["ttl"], bins) for key, meta, bins in client.query(namespace).results()}
    ended_s = time.time()
    wrong = []
    for state in account.states():
        set_name, user_key, _ = state.key
        asked = bytearray(user_key) if isinstance(user_key, bytes) else user_key
        there = found.pop(bytes(aerospike.calc_digest(namespace, set_name or "", asked)), None)
        problem = _problem(state, there, began_s, ended_s) if state.certain else None
        if problem:
            wrong.append(f"{set_name}/{user_key!r} {problem}")
    return Comparison(wrong, len(found))


def _problem(state: State, there: tuple[int, dict[str, Any]] | None, began_s: float, ended_s: float) -> str | None:
    if there is None:
        return "is missing" if state.presence(ended_s + MARGIN_S) is Presence.THERE else None
    if state.bins is None or state.presence(began_s - MARGIN_S) is Presence.EXPIRED:
        return "should be gone"
    ttl_s, bins = there
    differing = sorted(
        name
        for name in bins.keys() | state.bins.keys()
        if name not in bins or name not in state.bins or not same_value(bins[name], state.bins[name])
    )
    if differing:
        return f"differs in {', '.join(differing)}"
    if (ttl_s == _NEVER) != (state.expires_s is None):
        return "expires" if state.expires_s is None else "never expires"
    if state.expires_s:
        # The node said how long the record has still to live at some moment of the scan.
        earliest_s, latest_s = began_s + ttl_s, ended_s + ttl_s
        if latest_s < state.expires_s[0] - MARGIN_S or earliest_s > state.expires_s[1] + MARGIN_S:
            return "expires at another time"
    return None


__all__ = ["Comparison", "MARGIN_S", "compare", "records_in"]
