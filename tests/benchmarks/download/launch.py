"""
Run one command and say what it took: ``python -I -S launch.py COMMAND...``.

A process of its own, because the peak memory that the kernel notes for a child begins with what its parent
had when it forked: this one has next to nothing. Prints seconds, CPU seconds, KiB and the exit code as JSON.
"""

import json
import os
import resource
import sys
import time


def main() -> None:
    began = time.perf_counter()
    pid = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ, file_actions=[(os.POSIX_SPAWN_DUP2, 2, 1)])
    _, status = os.waitpid(pid, 0)
    wall = time.perf_counter() - began
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    figures = {"wall": wall, "cpu": used.ru_utime + used.ru_stime, "peak_kib": used.ru_maxrss}
    print(json.dumps({**figures, "code": os.waitstatus_to_exitcode(status)}))


if __name__ == "__main__":
    main()
