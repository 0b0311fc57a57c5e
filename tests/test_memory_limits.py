"""Memory that a container or a batch job allows, as Linux tells it in files."""

from __future__ import annotations

from pathlib import Path

import pytest

from livertumor_cli import process_memory
from livertumor_cli.memory_limits import left_in_groups


def write(root: Path, content: dict[str, str]) -> Path:
    for name, text in content.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="ascii")
    return root


STAT = "anon 700\ninactive_file 200\nactive_file 100\n"


def test_a_job_has_what_its_tightest_group_leaves(tmp_path: Path) -> None:
    job = "sys/fs/cgroup/system.slice/job_7"
    root = write(
        tmp_path,
        {
            "proc/self/cgroup": "0::/system.slice/job_7/step_0\n",
            f"{job}/step_0/memory.max": "max\n",
            f"{job}/step_0/memory.current": "1000\n",
            f"{job}/step_0/memory.stat": STAT,
            f"{job}/memory.max": "5000\n",
            f"{job}/memory.current": "1000\n",
            f"{job}/memory.stat": STAT,
            "sys/fs/cgroup/system.slice/memory.max": "90000\n",
            "sys/fs/cgroup/system.slice/memory.current": "1300\n",
            "sys/fs/cgroup/system.slice/memory.stat": STAT,
        },
    )
    # Cached files, 300, are given back when memory is needed.
    assert list(left_in_groups(root)) == [4300, 89000]


def test_a_container_of_the_older_kind_sees_its_limit_at_the_top(tmp_path: Path) -> None:
    top = "sys/fs/cgroup/memory"
    root = write(
        tmp_path,
        {
            "proc/self/cgroup": "9:name=systemd:/docker/abc\n4:memory:/docker/abc\n1:cpu:/\n",
            f"{top}/memory.limit_in_bytes": "2000\n",
            f"{top}/memory.usage_in_bytes": "2000\n",
            f"{top}/memory.stat": "cache 0\n",
        },
    )
    assert list(left_in_groups(root)) == [0]


def test_elsewhere_there_are_none(tmp_path: Path) -> None:
    assert list(left_in_groups(tmp_path)) == []
    write(tmp_path, {"proc/self/cgroup": "0::/\n"})
    assert list(left_in_groups(tmp_path)) == []


def test_what_is_available_is_the_smallest(monkeypatch: pytest.MonkeyPatch) -> None:
    free = process_memory.available_memory_bytes()
    assert free > 0
    monkeypatch.setattr(process_memory, "left_in_groups", lambda: iter([10**18, 4300]))
    assert process_memory.available_memory_bytes() == 4300
