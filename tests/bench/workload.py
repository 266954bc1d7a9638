"""The measured topic: typed JSON of about 250 bytes, six bins, keys spread over the partitions as the connector's keys are."""

import json
import time
from base64 import b64encode
from collections.abc import Iterator
from random import Random

from confluent_kafka import Producer

from schemas.digest import digest_of

SET = "bench"
NAMESPACE = "payments"
BASELINE_DDL = (
    "struct<msg:string,key:array<string>,gen:int,exp:bigint,lut:bigint,bins:array<struct<name:string,type:string,value:string>>>"
)
BINS = {"amount": "int", "balance": "int", "seq": "int", "rate": "float", "city": "str", "note": "str"}


def message(random: Random, key: int, lut_ms: int, gen: int) -> tuple[bytes, bytes]:
    """One write: Kafka key and value."""
    digest = b64encode(digest_of(SET, key)).decode()
    bins = [
        {"name": "amount", "type": "int", "value": random.randrange(1_000_000)},
        {"name": "balance", "type": "int", "value": random.randrange(-(10**12), 10**12)},
        {"name": "seq", "type": "int", "value": gen},
        {"name": "rate", "type": "float", "value": round(random.random(), 6)},
        {"name": "city", "type": "str", "value": random.choice(("Kraków", "Berlin", "Zürich", "Oslo"))},
        {"name": "note", "type": "str", "value": f"order {key} of the day"},
    ]
    name = [NAMESPACE, SET, digest, key]
    value = {"msg": "write", "key": name, "gen": gen, "exp": 0, "lut": lut_ms, "bins": bins}
    return json.dumps(name, separators=(",", ":")).encode(), json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def messages(count: int, keys: int, seed: int, *, new: bool) -> Iterator[tuple[bytes, bytes]]:
    """`count` writes over `keys` records, versions rising. new: of every record the first one; else any of them, in any order."""
    random = Random(seed)
    start_ms = int(time.time() * 1000) - (2 * count if new else count)
    for number in range(count):
        yield message(random, number % keys if new else random.randrange(keys), start_ms + number, 1 + number % 60_000)


def produce(bootstrap: str, topic: str, count: int, keys: int, seed: int, *, new: bool = False) -> float:
    """Fill the topic; answers the mean size of a value in bytes."""
    producer = Producer(
        {"bootstrap.servers": bootstrap, "linger.ms": 50, "batch.size": 1 << 20, "queue.buffering.max.messages": 500_000}
    )
    size = 0
    for number, (key, value) in enumerate(messages(count, keys, seed, new=new)):
        size += len(value)
        producer.produce(topic, value, key)
        if number % 5_000 == 0:
            producer.poll(0)
    producer.flush()
    return size / count


__all__ = ["BASELINE_DDL", "BINS", "NAMESPACE", "SET", "message", "messages", "produce"]
