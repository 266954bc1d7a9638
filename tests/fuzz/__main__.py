"""`make fuzz`: a million damaged messages, shared among the formats and the cores.

    python -m tests.fuzz [--messages N] [--seed N] [--processes N]

Ends with status 1 at the first message that breaks a promise, and shows it.
"""

import argparse
import os
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor, as_completed

from rich.console import Console
from rich.table import Table

from tests.fuzz.judge import Broken
from tests.fuzz.messages import FORMS
from tests.fuzz.run import Share, run

SHARE = 5_000


def main() -> int:
    """Run, show progress, print what became of the messages."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--messages", type=int, default=1_000_000)
    asked.add_argument("--seed", type=int, default=1)
    asked.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    options = asked.parse_args()
    shares = shared(options.messages, options.seed)
    fates: dict[str, Counter[str]] = {form: Counter() for form in FORMS}
    peak_bytes = done = 0
    began = shown = time.monotonic()
    with ProcessPoolExecutor(options.processes) as pool:
        for future in as_completed([pool.submit(run, share) for share in shares]):
            try:
                result = future.result()
            except Broken as broken:
                pool.shutdown(cancel_futures=True)
                print(f"fuzz: {broken}", file=sys.stderr)
                return 1
            fates[result.share.form] += result.fates
            peak_bytes = max(peak_bytes, result.peak_bytes)
            done += result.share.messages
            if time.monotonic() - shown >= 5:
                shown = time.monotonic()
                print(f"{done:>9,} of {options.messages:,} messages, {shown - began:.0f} s", file=sys.stderr, flush=True)
    show(fates)
    seconds = time.monotonic() - began
    print(f"fuzz: {done:,} damaged messages, each exactly one of event or dead letter, none of a record it does not name")
    print(f"      {seconds:.0f} s, seed {options.seed}, at most {peak_bytes >> 20} MiB a process")
    return 0


def shared(messages: int, seed: int) -> list[Share]:
    """The work in shares, formats in turn."""
    shares: list[Share] = []
    forms = list(FORMS)
    for number in range(-(-messages // SHARE)):
        size = min(SHARE, messages - number * SHARE)
        shares.append(Share(forms[number % len(forms)], seed * 1_000_000 + number, size))
    return shares


def show(fates: dict[str, Counter[str]]) -> None:
    """What became of the messages, format by format."""
    codes = sorted({code for found in fates.values() for code in found} - {"event", "unselected"})
    table = Table(title="fates of damaged messages", box=None)
    for name in ("format", "event", "unselected", *codes):
        table.add_column(name, justify="left" if name == "format" else "right")
    for form, found in fates.items():
        table.add_row(form, *(f"{found[name]:,}" for name in ("event", "unselected", *codes)))
    Console(width=150).print(table)


if __name__ == "__main__":
    sys.exit(main())
