"""Bars on a terminal of 80 columns."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from livertumor_cli.cli import progress as cli_progress
from livertumor_cli.cli.progress import STEP_TEXTS, progress_bars


def test_every_step_has_a_whole_line(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    console = Console(file=stream, width=80, highlight=False)
    monkeypatch.setattr(cli_progress, "stderr_console", lambda: console)
    with progress_bars("{task.percentage:>3.0f}%") as bars:
        for text in (*STEP_TEXTS.values(), "a [red] file"):
            bars.add_task(text, total=2, completed=1)
    lines = stream.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    # The step, half a bar, its share, time gone and time left.
    for text, line in zip((*STEP_TEXTS.values(), "a [red] file"), lines, strict=True):
        assert line.startswith(text)
        assert line[33:].split()[1:] == ["50%", "0:00:00", "-:--:--"]
