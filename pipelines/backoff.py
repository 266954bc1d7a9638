"""How long to wait before the next try: exponential, with jitter, back to the start after a success."""

import random


class Backoff:
    """Waits of `first_s` doubling up to `ceiling_s`, each shortened at random by up to half.

    The jitter keeps the lanes of many flows from knocking on a recovering broker in the same instant.
    """

    def __init__(self, first_s: float = 1.0, ceiling_s: float = 30.0, seed: int | None = None) -> None:
        self.first_s = first_s
        self.ceiling_s = ceiling_s
        self.failures = 0
        self._random = random.Random(seed)

    def next_wait_s(self) -> float:
        """Count one more failure and say how long to wait for the next try, in seconds."""
        full = min(self.ceiling_s, self.first_s * (1 << min(self.failures, 30)))
        self.failures += 1
        return full * (1 - 0.5 * self._random.random())

    def reset(self) -> None:
        """Forget the failures: something succeeded."""
        self.failures = 0


__all__ = ["Backoff"]
