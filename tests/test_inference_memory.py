"""What will not fit is refused before the work, and the forecast is no guess."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from fake_engines import constant_logits
from toy_recipe import centered_grid, toy_stage

from livertumor_cli.errors import BackendError
from livertumor_cli.inference import memory
from livertumor_cli.inference.memory import forecast_bytes
from livertumor_cli.inference.scales import predict_scales
from livertumor_cli.inference.stage_image import Region

GRID = centered_grid((60, 120, 120), spacing_mm=(2.0, 1.5, 1.5))
HU = np.full(GRID.shape, 60, dtype=np.int16)
STAGE = toy_stage(patch=(16, 32, 32), overlap=(0.0, 0.0, 0.0))


def predict(scales: tuple[float, ...]) -> None:
    predict_scales(
        HU,
        GRID,
        stage=STAGE,
        engine=constant_logits(0, 1, 0, 0),
        scales=scales,
        region=Region(GRID),
        on_step=lambda _done, _total: None,
    )


def test_the_forecast_is_close_to_what_is_used() -> None:
    predict((1.0,))  # what imports and caches take does not count
    tracemalloc.start()
    try:
        predict((1.0,))
        used = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    forecast = forecast_bytes(GRID, classes=4) + 4 * HU.size * 4
    assert 0.4 * forecast < used < 1.1 * forecast


def test_too_little_memory_is_named_before_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    needed = forecast_bytes(GRID, classes=4) + 4 * HU.size * 4
    monkeypatch.setattr(memory, "available_memory_bytes", lambda: needed)
    predict((1.0,))
    predict((0.5, 1.0))
    with pytest.raises(BackendError, match=r"needs about 0\.\d GB of memory"):
        predict((1.0, 1.5))


def test_memory_grows_with_the_cube_of_the_scale() -> None:
    double = forecast_bytes(GRID.respaced((1.0, 0.75, 0.75)), classes=4)
    assert double == 8 * forecast_bytes(GRID, classes=4)
