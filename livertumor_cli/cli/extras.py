"""Commands that need more than the plain installation say so in a sentence."""

from __future__ import annotations

from importlib.util import find_spec

from livertumor_cli.errors import BackendError

EXTRAS = {
    "train": ("torch", "safetensors"),
    "export": (
        *("torch", "safetensors", "onnx", "onnxscript"),
        *("dynamic_network_architectures", "monai"),
    ),
    "node": ("pynetdicom",),
    "dask": ("distributed", "cryptography"),
}
"""Packages of each extra, as `pyproject.toml` has them."""


def require_extra(extra: str) -> None:
    """Refuse to go on without the packages of an extra; none of them is imported.

    Args:
        extra: A key of EXTRAS.

    Raises:
        BackendError: If one is missing.
    """
    missing = [name for name in EXTRAS[extra] if find_spec(name) is None]
    if missing:
        raise BackendError(
            f"this command needs {', '.join(missing)}, which the plain installation leaves out.",
            hint=f"Install livertumor with its extra '{extra}': livertumor[{extra}].",
        )
