"""The driver's clock against the mirror's servers': times to live are sent as what is left, by the clock of this side.

XDR tells an expiry as a point in time of the source's clock; a mirror's server is told the seconds left from now. A clock that is
ahead makes records expire early, and a record with less left than the clock is ahead is removed on arrival; one that is behind
keeps them longer. Versions, tombstones and order never depend on it: they are the source's times, and horizons are counted by
the mirror's servers.
"""

from schemas.errors import Terminal

WARN_S = 5
"""Servers tell times in whole seconds, so two of them are no difference."""
REFUSE_S = 300


def judge_clock(output: str, lead_s: int) -> str | None:
    """A line when this machine's clock is off, None when it is not.

    lead_s: seconds by which it is ahead of the mirror's servers; negative when behind.
    Raises Terminal E438 beyond REFUSE_S.
    """
    if abs(lead_s) <= WARN_S:
        return None
    early = "too early" if lead_s > 0 else "too late"
    said = (
        f"output {output}: this machine's clock is {abs(lead_s):,} s {'ahead of' if lead_s > 0 else 'behind'} the mirror's "
        f"servers: records would expire {abs(lead_s):,} s {early} there"
    )
    if abs(lead_s) > REFUSE_S:
        raise Terminal("E438", said, output=output)
    return said


__all__ = ["REFUSE_S", "WARN_S", "judge_clock"]
