"""Memory that the C library keeps after use goes back to the system, which other programs and visitors need."""

from __future__ import annotations

import ctypes
import threading
import time

# Seconds between two times; each takes some milliseconds.
_PAUSE = 3.0
_M_ARENA_MAX = -8  # glibc's number for the option


def keep_giving_back() -> None:
    """Give memory back now and then, as long as the process lives; does nothing where the C library is not glibc.

    Every thread that runs a page would otherwise get a pool of its own, up to eight for each core, that never shrinks.
    """
    try:
        library = ctypes.CDLL("libc.so.6")
        trim = library.malloc_trim
    except (OSError, AttributeError):
        return
    library.mallopt(_M_ARENA_MAX, 2)

    def work() -> None:
        while True:
            time.sleep(_PAUSE)
            trim(0)

    threading.Thread(target=work, daemon=True).start()
