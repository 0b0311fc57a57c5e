"""In which precision a network is trained."""

from __future__ import annotations

import torch

_BF16_INSTRUCTIONS = ("avx512_bf16", "amx_bf16", "bf16")
"""As torch calls them, on x86 processors and on ARM."""


def autocast(device: str) -> torch.autocast:
    """Mixed precision with bfloat16 where the device computes in it, else plain float32.

    A CPU without such instructions would imitate them, and be far slower than in float32.

    Args:
        device: "cpu" or "cuda".
    """
    return torch.autocast(device, torch.bfloat16, enabled=device != "cpu" or _has_bf16())


def _has_bf16() -> bool:
    capabilities = torch.cpu.get_capabilities()
    return any(capabilities.get(name, False) for name in _BF16_INSTRUCTIONS)
