"""bfloat16 only where a CPU has it: elsewhere it is imitated, slowly."""

import pytest

torch = pytest.importorskip("torch")

from livertumor_cli.training.precision import autocast  # noqa: E402


@pytest.mark.parametrize(
    ("capabilities", "product"),
    [
        ({"avx512_bf16": True}, torch.bfloat16),
        ({"amx_bf16": True, "avx512_bf16": False}, torch.bfloat16),
        ({"architecture": "aarch64", "bf16": True}, torch.bfloat16),
        ({"avx512_bf16": False, "avx2": True}, torch.float32),
        ({}, torch.float32),
    ],
)
def test_products_on_the_cpu(capabilities, product, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    one = torch.ones(2, 2)
    with autocast("cpu"):
        assert (one @ one).dtype == product
