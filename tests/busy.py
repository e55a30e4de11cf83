"""
Run the fast tests three times in random order, while four processes keep the machine busy.

    python -m tests.busy [arguments of pytest]

Ends with an error at the first run that fails; ``--shuffle`` and the printed seed repeat its order.
"""

from __future__ import annotations

import random
import subprocess
import sys
from contextlib import ExitStack

RUNS = 3
BUSY = 4
LIMIT = 1800
"""Seconds of one run, which takes a few minutes; a busy process ends by itself once all could be over."""

SPIN = f"import time\nend = time.monotonic() + {RUNS * LIMIT}\nwhile time.monotonic() < end: pass"


def main(arguments: list[str]) -> int:
    """Return the exit code of the first run that fails, or 0."""
    with ExitStack() as stack:
        for _ in range(BUSY):
            spinning = subprocess.Popen([sys.executable, "-c", SPIN])
            stack.callback(spinning.wait)
            stack.callback(spinning.kill)
        for number in range(1, RUNS + 1):
            seed = str(random.randrange(10**6))
            print(f"\n== run {number} of {RUNS}, --shuffle {seed}", flush=True)
            command = [sys.executable, "-m", "pytest", "--shuffle", seed, *arguments]
            if code := subprocess.run(command, check=False, timeout=LIMIT).returncode:
                return code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
