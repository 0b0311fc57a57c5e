"""How much memory this process has used at most, how much it could still get, and its end."""

from __future__ import annotations

import sys
from pathlib import Path

import psutil

from livertumor_cli.memory_limits import left_in_groups


def peak_memory_mb() -> float:
    """Largest resident memory of the process so far, in MB (10^6 bytes)."""
    if sys.platform == "win32":
        return float(psutil.Process().memory_info().peak_wset) / 1e6
    if sys.platform == "linux" and (held := _most_held_bytes()):
        return held / 1e6
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # macOS counts bytes, Linux kilobytes.
    return float(peak) / 1e6 if sys.platform == "darwin" else float(peak) * 1024 / 1e6


def _most_held_bytes() -> int:
    """What Linux says of this program alone; 0 where it does not.

    The figure of `getrusage` is at least that of the process that started this one: a child of a
    large program would seem large itself.
    """
    try:
        lines = Path("/proc/self/status").read_bytes().splitlines()
    except OSError:
        return 0
    # As bytes: the program's name, which stands there too, may be anything.
    held = (line.split()[1] for line in lines if line.startswith(b"VmHWM:"))
    return 1024 * int(next(held, b"0"))


def available_memory_bytes() -> int:
    """Memory that this process can still get without swapping, or being ended for it."""
    return min(int(psutil.virtual_memory().available), *left_in_groups(), sys.maxsize)


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether ITK, which has no class of errors for it, says that memory ran out."""
    return isinstance(error.__cause__, MemoryError) or any(
        words in str(error) for words in ("bad_alloc", "Failed to allocate memory")
    )
