"""When a delete says `durable`.

Real non-durable deletes carry no such member, although older documentation shows it always; so absence means "not durable or
unknown", and the other spellings are there to test consumers with. (xdr-kafka reference, fact 6 and 1.1)
"""

from deploy.local.xdr.change import Change


def durable_member(change: Change, rule: str) -> dict[str, bool]:
    """The member to add to a delete under `rule`: when-durable, always or never."""
    if rule == "always" or (rule == "when-durable" and change.durable):
        return {"durable": change.durable}
    return {}


__all__ = ["durable_member"]
