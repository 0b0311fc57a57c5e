"""The SHA-256 of a file: how weights, masks and scans are known again."""

from __future__ import annotations

import hashlib
from pathlib import Path


def sha256_of(path: Path) -> str:
    """SHA-256 over the content of a file, as 64 hexadecimal digits.

    Args:
        path: The file; it is read piece by piece.

    Raises:
        OSError: If it cannot be read.
    """
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
