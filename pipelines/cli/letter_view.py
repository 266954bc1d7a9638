"""One dead letter for people and programs: its message, why it failed and where, what to do, and how it would be read now."""

import json
import pickle
from base64 import b64encode
from typing import Any

from pipelines.cli.decode import shown
from pipelines.dead_letters.marks import marked
from pipelines.decoding import reader_of
from pipelines.flow.model import Flow
from schemas.reasons import REASONS
from sinks.delta.letter_keys import LetterKey


def letter_as_dict(flow: Flow, key: LetterKey, row: dict[str, Any], state: str, told: list[dict[str, Any]]) -> dict[str, Any]:
    """The letter as plain data. row: columns of DEAD_LETTERS_DDL; told: what was done about it, oldest first."""
    reason = REASONS.get(row["code"])
    place = marked(row["value"], row["detail"] or "")
    reads = reader_of(pickle.dumps(flow.decode_options())).read(row["value"], row["key"])
    alone = bool(key.id.output or key.id.element)
    return {
        "letter": str(key.id),
        "state": state,
        "code": row["code"],
        "reason": reason.title if reason else None,
        "detail": row["detail"],
        "meaning": reason.meaning if reason else None,
        "remedy": reason.remedy if reason else None,
        "topic": key.id.topic,
        "partition": key.id.partition,
        "offset": key.id.offset,
        "element": key.id.element,
        "refused_by": key.id.output,
        "kafka_timestamp": row["kafka_timestamp"].isoformat(timespec="milliseconds") if row["kafka_timestamp"] else None,
        "headers": [{"key": header["key"], "value": _text(header["value"])} for header in row["headers"] or ()],
        "key": _text(row["key"]),
        "value": _text(row["value"]),
        "bytes": len(row["value"] or b""),
        "format": row["format"],
        "format_guess": row.get("format_guess"),
        "flow": row["flow"],
        "lane": row["lane"],
        "epoch": row["epoch"],
        "batch_id": row["batch_id"],
        "seen_at": row["seen_at"].isoformat(timespec="seconds"),
        "failed_at": place.at,
        "marked": place.lines,
        "read_now": [shown(read) for element, read in enumerate(reads) if not alone or element == key.id.element],
        "told": [
            {
                **{name: act[name] for name in ("act", "state", "code", "detail", "act_id", "by", "why")},
                "at": act["at"].isoformat(timespec="seconds"),
                "outputs": dict(act["fates"] or ()),
            }
            for act in told
        ],
    }


def letter_as_text(view: dict[str, Any]) -> str:
    """What `letter_as_dict` holds, for people."""
    refused = f"refused by output {view['refused_by']!r}" if view["refused_by"] else "could not be decoded"
    guess = f", looks like {view['format_guess']}" if view["format_guess"] and view["format_guess"] != view["format"] else ""
    lines = [
        f"{view['letter']}  {view['state']}",
        f"  {view['code']} {view['reason'] or 'not a reason of this release'}: {view['detail'] or ''}",
        f"  {refused}, read as {view['format']}{guess}, by lane {view['lane']} in batch {view['batch_id']}, {view['seen_at']}",
        f"  Kafka: {view['kafka_timestamp'] or 'no timestamp'}, key {json.dumps(view['key'], ensure_ascii=False)}",
    ]
    lines += [f"  header {header['key']}: {json.dumps(header['value'], ensure_ascii=False)}" for header in view["headers"]]
    lines += ["", f"  message, {view['bytes']:,} bytes:"]
    lines += [f"    {line}" for line in view["marked"]]
    if view["meaning"]:
        lines += ["", f"  {view['meaning']}", f"  What to do: {view['remedy']}"]
    lines += ["", "  read now:"]
    lines += [f"    {json.dumps(read, ensure_ascii=False)}" for read in view["read_now"]] or ["    no event at this place"]
    for act in view["told"]:
        outputs = ", ".join(f"{name} {fate}" for name, fate in act["outputs"].items())
        why = f": {act['why']}" if act["why"] else ""
        again = f"; {act['code']} {act['detail']}" if act["code"] else ""
        lines.append(
            f"  {act['at']} {act['act']} by {act['by']}{why} -> {act['state']}{f' ({outputs})' if outputs else ''}{again}"
        )
    return "\n".join(lines)


def _text(data: bytes | None) -> str | dict[str, str] | None:
    if data is None:
        return None
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return {"base64": b64encode(data).decode()}


__all__ = ["letter_as_dict", "letter_as_text"]
