"""`livertumor segment` with the toy recipe: what its tests share."""

from __future__ import annotations

from pathlib import Path

import pytest
from toy_recipe import centered_grid

GEOMETRY = centered_grid((36, 48, 48), spacing_mm=(3.5, 2.5, 2.5))
Capture = pytest.CaptureFixture[str]


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def assert_refused(capsys: Capture, words: str) -> None:
    """One sentence on stderr, perhaps a hint, nothing on stdout, no traceback."""
    out, err = capsys.readouterr()
    assert out == ""
    assert "Traceback" not in err
    lines = [line for line in err.splitlines() if not line.startswith("[")]  # progress
    assert lines[0].startswith("Error: ")
    assert words in lines[0]
    assert len(lines) == 1 or (len(lines) == 2 and lines[1].startswith("Hint: "))
