"""Memory that the C library keeps after use goes back to the system, which other programs and visitors need."""

from __future__ import annotations

import ctypes
import threading
import time
from functools import cache

import psutil

# Seconds between two times, each of which takes some milliseconds; and the growth, in bytes, after which it is time
# at once: most of what busy people's work leaves behind is in pieces that later work does not fit into.
_PAUSE, _GROWTH = 3.0, 200 * 2**20
_TICK = 0.1  # seconds between two looks at the growth
_M_ARENA_MAX = -8  # glibc's number for the option


@cache
def keep_giving_back() -> None:
    """Give memory back now and then, as long as the process lives; does nothing where the C library is not glibc.

    Batches of ever other sizes leave holes between what torch keeps for each size: with VGG-11, gigabytes. And every
    thread that runs a page would otherwise get a pool of its own, up to eight for each core, that never shrinks.
    """
    try:
        library = ctypes.CDLL("libc.so.6")
        trim = library.malloc_trim
    except (OSError, AttributeError):
        return
    library.mallopt(_M_ARENA_MAX, 2)

    def work() -> None:
        process = psutil.Process()
        while True:
            trim(0)
            resident, since = process.memory_info().rss, time.monotonic()
            while time.monotonic() - since < _PAUSE and process.memory_info().rss - resident < _GROWTH:
                time.sleep(_TICK)

    threading.Thread(target=work, daemon=True).start()
