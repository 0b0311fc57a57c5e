"""Types of the benchmarks' options: what is wrong is told before an hour of measuring."""

from __future__ import annotations

import argparse
from pathlib import Path


def positive(text: str) -> int:
    """A whole number above zero."""
    if int(text) < 1:
        raise ValueError(text)
    return int(text)


def new_file(text: str) -> Path:
    """A file that can be written at the end of a long measurement."""
    path = Path(text)
    if not path.absolute().parent.is_dir():
        raise argparse.ArgumentTypeError(f"there is no folder {path.absolute().parent}")
    return path
