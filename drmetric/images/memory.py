"""Memory that was freed, given back to the system."""

import ctypes
from contextlib import suppress

__all__ = ["return_freed_memory"]


def return_freed_memory() -> None:
    """Have the C library give back what it keeps of freed memory, in every thread; of large images that is much.

    What a decoder has freed in its thread no other thread gets, and between the maps of tiles of several sizes gaps are
    left that none of the next fits into.
    """
    with suppress(OSError, AttributeError):  # of other systems than Linux with glibc
        ctypes.CDLL("libc.so.6").malloc_trim(0)
