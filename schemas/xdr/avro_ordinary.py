"""The quick way through a message in Avro, once its bytes are values: what nearly all messages are; the rest is read thoroughly.

The same rule as in `schemas.xdr.ordinary`: it answers only when the thorough reader would say the very same, else None.
"""

from collections.abc import Callable, Mapping
from typing import Any

from schemas.bins import BinType, Hll
from schemas.digest import DIGEST_BYTES
from schemas.events import DELETE, WRITE
from schemas.version import GENERATIONS, MAX_LUT_MS
from schemas.xdr.metadata import LAST_EXP_S, OLDEST_LUT_MS
from schemas.xdr.options import DecodeOptions
from schemas.xdr.ordinary import Odd, Ordinary, made, quick_geojson
from schemas.xdr.record_types import RecordTypes

MakeOrdinary = Callable[[dict[str, Any], dict[str, Any]], Ordinary | None]
"""From a message's metadata and its bins."""
ODD = (Odd, ValueError, TypeError, KeyError, RecursionError)
"""What odd input raises on the quick way."""
_USER_KEYS = frozenset((type(None), str, int, bytes, float))
_KINDS: dict[type, str] = {int: "int", float: "float", str: "str", bool: "bool", bytes: "blob", list: "list", dict: "map"}


def ordinary_of(options: DecodeOptions) -> MakeOrdinary:
    """What makes Ordinary of metadata and bins, for one flow; None, or any of ODD, when it is not for the quick way."""
    records, no_bins = RecordTypes(options.records), options.image == "none"

    def make(metadata: dict[str, Any], bins: dict[str, Any]) -> Ordinary | None:
        namespace, digest, op = metadata["namespace"], metadata["digest"], metadata["msg"]
        get = metadata.get
        set_name, user_key, gen, lut = get("set"), get("userKey"), get("gen"), get("lut")
        if type(namespace) is not str or not namespace or (set_name is not None and type(set_name) is not str):
            return None
        if type(digest) is not bytes or len(digest) != DIGEST_BYTES or type(user_key) not in _USER_KEYS:
            return None
        if type(gen) is not int or type(lut) is not int or not (0 <= gen < GENERATIONS and OLDEST_LUT_MS <= lut <= MAX_LUT_MS):
            return None
        exp_s = durable = None
        if op == WRITE:
            exp = get("exp")
            if exp is not None:
                if type(exp) is not int or not -1 <= exp <= LAST_EXP_S:
                    return None
                exp_s = exp if exp > 0 else None
            if no_bins:
                bins = {}
            elif records.any_bins and not _declared(bins, records.bins(namespace, set_name)):
                return None
        elif op == DELETE:
            bins, durable = {}, get("durable")
            if durable is not None and type(durable) is not bool:
                return None
        else:
            return None
        return made((namespace, set_name or None, digest, user_key, op, gen, lut, exp_s, bins, durable))

    return make


def _declared(bins: dict[str, Any], types: Mapping[str, BinType]) -> bool:
    """Whether the bins are of the types the flow declares; GeoJSON and HLL, strings and bytes in Avro, become what they are."""
    for name, declared in types.items():
        value = bins.get(name)
        if value is not None and _KINDS[type(value)] != declared:
            if declared == "hll" and type(value) is bytes:
                bins[name] = Hll(value)
            elif declared == "geojson" and type(value) is str:
                bins[name] = quick_geojson(value)
            else:
                return False
    return True


__all__ = ["MakeOrdinary", "ODD", "ordinary_of"]
