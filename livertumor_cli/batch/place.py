"""Where the cases of a batch are done, as users write it."""

from __future__ import annotations

import re

MOST_LOCAL_WORKERS = 256

_LOCAL = re.compile(r"local:(\d+)")
_ADDRESS = re.compile(r"(?:\w+://)?[^\s/]+:\d+")


def local_workers(place: str) -> int | None:
    """N of local:N; None for the address of a scheduler.

    Raises:
        ValueError: If it is neither.
    """
    found = _LOCAL.fullmatch(place)
    if found is None:
        if _ADDRESS.fullmatch(place) is None:
            raise ValueError(f"{place!r} is no address such as tcp://host:8786, and not local:N")
        return None
    count = int(found[1])
    if not 1 <= count <= MOST_LOCAL_WORKERS:
        raise ValueError(f"N of local:N lies between 1 and {MOST_LOCAL_WORKERS}")
    return count
