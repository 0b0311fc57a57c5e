"""What Linux allows a process of its machine's memory: containers and jobs of Slurm are limited."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

_ROOT = Path("/")
_CONTROLLERS = {"": "sys/fs/cgroup", "memory": "sys/fs/cgroup/memory"}
"""By the second word of a line in /proc/self/cgroup: version 2, and version 1."""
_FILES = (
    ("memory.max", "memory.current"),
    ("memory.limit_in_bytes", "memory.usage_in_bytes"),
)
_CACHE = ("inactive_file", "active_file")
"""Contents of files, which make room when memory is needed."""


def left_in_groups(root: Path = _ROOT) -> Iterator[int]:
    """Bytes that each control group which this process is in leaves to it; none elsewhere.

    Args:
        root: Of the file system.
    """
    try:
        lines = (root / "proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return
    for line in lines:
        controller, path = line.split(":", 2)[1:]
        if controller in _CONTROLLERS:
            # In a container the path may be that of the host: the limit is then at the top.
            group = PurePosixPath(path.lstrip("/"))
            for above in (group, *group.parents):
                yield from _left(root / _CONTROLLERS[controller] / above)


def _left(group: Path) -> Iterator[int]:
    for limit, used in _FILES:
        try:
            most = int((group / limit).read_text(encoding="ascii"))
            now = int((group / used).read_text(encoding="ascii"))
            stat = (group / "memory.stat").read_text(encoding="ascii").splitlines()
        except (OSError, ValueError):
            continue  # no such group here, or no limit, which is called "max"
        counts = dict(line.split() for line in stat)
        cache = sum(int(counts.get(name, 0)) for name in _CACHE)
        yield max(0, most - max(0, now - cache))
