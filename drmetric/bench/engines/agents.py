"""Ray's agents end with the command that started them.

Of a Ray of its own that a command starts, two agents stay for good where the command is killed (SIGKILL). A process
that does nothing else waits for the end of the command, whichever it is, and then kills what has the mark of that Ray.
It looks into /proc, which Linux has.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

MARK = "RAY_NODE_ID"
"""In the environment of the processes of a node of Ray."""
_WATCH = """
import glob, os, signal, sys, time
sys.stdin.read()  # to its end, which comes with that of the process at the other end
mark = sys.argv[1].encode()
for _ in range(20):
    for path in glob.glob("/proc/[0-9]*/environ"):
        try:
            with open(path, "rb") as file:
                if mark in file.read().split(b"\\0"):
                    os.kill(int(path.split("/")[2]), signal.SIGKILL)
        except OSError:
            pass
    time.sleep(0.25)
"""


@contextmanager
def ended_with_this_process(node: str) -> Iterator[None]:
    """Kill the processes of a node of Ray when this process ends, or the block; the node must be this process' own."""
    environment = {name: value for name, value in os.environ.items() if name != MARK}
    command = [sys.executable, "-S", "-c", _WATCH, f"{MARK}={node}"]
    watcher = subprocess.Popen(command, stdin=subprocess.PIPE, env=environment, start_new_session=True)
    assert watcher.stdin is not None
    try:
        yield
    finally:
        watcher.stdin.close()
