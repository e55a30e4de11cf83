"""
Run a program that ends with its starter: ``guard.py SIGNAL FOLDER USER PROGRAM ARGUMENT ...``.

The starter holds the other end of standard input. Once that end closes, be it on purpose or because the
starter was killed, the program gets the signal, then SIGKILL, and FOLDER (``-`` for none) is removed. USER
(``-`` for the same) runs the program. A death signal asked of the kernel would be simpler, but it is tied to
the thread that starts the program, and a test may start one in a thread of its own.
"""

from __future__ import annotations

import select
import shutil
import signal
import subprocess
import sys

GRACE = 10.0
"""Seconds a program may take to end by itself."""

INTERVAL = 0.1


def main(sign: str, folder: str, user: str, *command: str) -> int:
    other = {} if user == "-" else {"user": user, "group": user, "extra_groups": []}
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, **other)
    try:
        while child.poll() is None and not _starter_left():
            pass
    finally:
        if child.poll() is None:
            child.send_signal(int(sign))
            _end(child)
        if folder != "-":
            shutil.rmtree(folder, ignore_errors=True)
    return child.returncode


def _starter_left() -> bool:
    readable, _, _ = select.select([sys.stdin], [], [], INTERVAL)
    return bool(readable)


def _end(child: subprocess.Popen[bytes]) -> None:
    try:
        child.wait(GRACE)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


if __name__ == "__main__":
    # Who is asked to end by the system tidies up as well.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.default_int_handler)
    sys.exit(main(*sys.argv[1:]))
