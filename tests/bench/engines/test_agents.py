"""What a killed command has started ends with it, and nothing else does."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from drmetric.bench.engines.agents import MARK

COMMAND = """
import time
from drmetric.bench.engines.agents import ended_with_this_process
with ended_with_this_process("ours"):
    print("ready", flush=True)
    time.sleep(60)
"""

pytestmark = pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="there is no /proc")


def sleeper(node: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], env=os.environ | {MARK: node})


def test_agents_end_with_a_command_that_is_killed() -> None:
    with (
        sleeper("ours") as ours,
        sleeper("theirs") as theirs,
        subprocess.Popen([sys.executable, "-c", COMMAND], stdout=subprocess.PIPE) as command,
    ):
        assert command.stdout is not None
        assert command.stdout.readline() == b"ready\n"
        time.sleep(0.5)
        assert ours.poll() is None
        command.kill()
        assert ours.wait(30) == -9
        assert theirs.poll() is None
        theirs.kill()
