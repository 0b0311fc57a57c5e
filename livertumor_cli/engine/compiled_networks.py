"""Networks as OpenVINO has compiled them, kept on disk: the next start spares half the opening.

What is kept carries its own SHA-256 and is found by that of the network's file, so that neither a
damaged copy nor that of another network can give wrong numbers. Where it cannot be written or read,
networks are compiled as ever: nothing here is an error.
"""

from __future__ import annotations

import hashlib
import logging
import os
import secrets
from contextlib import suppress
from pathlib import Path

from platformdirs import user_cache_path

CACHE_VARIABLE = "LIVERTUMOR_CACHE"
"""Environment variable that names another folder; `off` keeps nothing."""

LEAST_BYTES = 2**20
"""Smaller networks compile at once."""

MOST_BYTES = 2**30
"""Of all that is kept; the longest unused go first. The shipped default takes 70 MB."""

_SUFFIX = ".compiled"
_DIGEST_BYTES = hashlib.sha256().digest_size
_OUTSIDE = b"location"
"""ONNX names a file of weights beside the network by this key: then its own digest says too
little."""

_log = logging.getLogger(__name__)


def key_of(network: Path, *, surroundings: str) -> str | None:
    """The name under which a compiled network is kept; None where it should not be.

    Args:
        network: The ONNX file.
        surroundings: All else that the compiled network depends on: versions, processor, options.

    Raises:
        OSError: If the file cannot be read.
    """
    content = network.read_bytes()
    if cache_folder() is None or len(content) < LEAST_BYTES or _OUTSIDE in content:
        return None
    digest = hashlib.sha256(content)
    digest.update(surroundings.encode())
    return digest.hexdigest()


def cache_folder() -> Path | None:
    """Where compiled networks are kept; None where the user wants none."""
    wish = os.environ.get(CACHE_VARIABLE, "")
    if wish.lower() == "off":
        return None
    return Path(wish) if wish else user_cache_path("livertumor", appauthor=False)


def kept(key: str) -> bytes | None:
    """A compiled network that was kept; None where there is none, or a damaged one."""
    folder = cache_folder()
    if folder is None:
        return None
    file = folder / f"{key}{_SUFFIX}"
    try:
        content = file.read_bytes()
        os.utime(file)
    except OSError:
        return None
    blob = content[_DIGEST_BYTES:]
    if hashlib.sha256(blob).digest() != content[:_DIGEST_BYTES]:
        _log.debug("%s is damaged: compiled anew", file)
        return None
    return blob


def keep(key: str, blob: bytes) -> None:
    """Keep a compiled network, and let go of the longest unused where all take too much."""
    folder = cache_folder()
    if folder is None:
        return
    file = folder / f"{key}{_SUFFIX}"
    partial = folder / f".{key}.{secrets.token_hex(4)}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(hashlib.sha256(blob).digest() + blob)
        partial.replace(file)
        _forget_longest_unused(folder)
    except OSError as error:
        _log.debug("%s cannot be kept: %s", file, error)
        with suppress(OSError):
            partial.unlink(missing_ok=True)


def _forget_longest_unused(folder: Path) -> None:
    files = [(path.stat(), path) for path in folder.glob(f"*{_SUFFIX}")]
    total = sum(about.st_size for about, _ in files)
    for about, path in sorted(files, key=lambda pair: pair[0].st_mtime):
        if total <= MOST_BYTES:
            return
        path.unlink(missing_ok=True)
        total -= about.st_size
