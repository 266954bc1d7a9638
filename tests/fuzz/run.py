"""A run of damaged messages of one format, in batches, with a watch on time and memory."""

import resource
import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from random import Random
from typing import Any, NamedTuple

from tests.fuzz.damage import damaged
from tests.fuzz.judge import Broken, Sent, judge
from tests.fuzz.messages import FORMS, event

BATCH = 500
BATCH_LIMIT_S = 120
"""A batch takes well under a second; a message that hangs the reader is noticed by this."""


class Share(NamedTuple):
    """A piece of work: `messages` damaged messages of a form, made from `seed`."""

    form: str
    seed: int
    messages: int


class Result(NamedTuple):
    """What became of a share's messages, and the most memory the process had by then."""

    share: Share
    fates: Counter[str]
    peak_bytes: int


def run(share: Share) -> Result:
    """Judge the share's messages. Raises Broken, naming form and seed, for the first that breaks a promise."""
    form = FORMS[share.form]
    reader = form.reader()
    random = Random(f"{share.form}/{share.seed}")
    fates: Counter[str] = Counter()
    left = share.messages
    while left:
        batch = _batch(random, share.form, min(BATCH, left))
        left -= len(batch)
        try:
            with _limit(BATCH_LIMIT_S):
                fates += judge(reader, batch)
        except Exception as error:
            raise Broken(f"{share.form}, seed {share.seed}: {type(error).__name__}: {error}") from error
    return Result(share, fates, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)


def _batch(random: Random, name: str, size: int) -> list[Sent]:
    form = FORMS[name]
    whole = [event(random, form.sample) for _ in range(20)]
    messages = [form.encode(one) for one in whole]
    everybody = frozenset(one.digest for one in whole)
    return [Sent(damaged(random, random.choice(messages), messages), everybody) for _ in range(size)]


@contextmanager
def _limit(seconds: int) -> Iterator[None]:
    """Raise TimeoutError in the middle of what takes longer."""

    def ring(number: int, frame: Any) -> None:
        raise TimeoutError(f"a batch of {BATCH} messages took more than {seconds} s")

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


__all__ = ["Result", "Share", "run"]
