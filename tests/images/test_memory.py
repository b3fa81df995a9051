"""Memory that was freed goes back to the system."""

import os
import sys
from pathlib import Path

import pytest

from drmetric.images.memory import return_freed_memory

MANY = 4000
SMALL = 50_000
"""Bytes, so few that the C library keeps them when they are freed."""


def held() -> int:
    """Bytes of memory that this process holds."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="what a process holds is read from /proc")
def test_what_lies_between_pieces_in_use_is_given_back() -> None:
    pieces = [bytearray(b"x" * SMALL) for _ in range(MANY)]
    del pieces[::2], pieces[: MANY // 8]
    kept = held()
    return_freed_memory()
    assert kept - held() > MANY * SMALL / 4
