"""Labels return to the scan's own voxels, slab by slab."""

from __future__ import annotations

import numpy as np
import pytest
from toy_recipe import Ball, Patient, centered_grid, dice, grid_points, rotation_matrix, toy_stage

from livertumor_cli.geometry import Geometry
from livertumor_cli.inference import native
from livertumor_cli.inference.decide import Tidied
from livertumor_cli.inference.native import labels_on_scan
from livertumor_cli.inference.prediction import Prediction
from livertumor_cli.inference.resample import patient_grid

PATIENT = Patient(
    liver=Ball((-8.0, 4.0, 5.0), 34.0),
    tumor=Ball((-18.0, 9.0, 11.0), 13.0),
    vessel=Ball((10.0, -6.0, 2.0), 7.0),
)
STAGE = toy_stage()
STAGE_GRID = centered_grid((50, 60, 60), spacing_mm=(2.0, 1.6, 1.6))


def soft(depth_mm: np.ndarray, width_mm: float = 4.0) -> np.ndarray:
    return np.clip(depth_mm / width_mm + 0.5, 0, 1)


def tidied_patient(grid: Geometry = STAGE_GRID) -> Tidied:
    """Probabilities that pass through one half at the balls' surfaces."""
    points = grid_points(grid)
    liver, tumor, vessel = (
        soft(ball.depth_mm(points)) for ball in (PATIENT.liver, PATIENT.tumor, PATIENT.vessel)
    )
    tumor, vessel = tumor * liver, vessel * liver
    parts = np.stack([1 - liver, liver - tumor - vessel, tumor, vessel]).astype(np.float32)
    return Tidied(Prediction(parts, ("liver", "tumor", "vessel"), grid), liver >= 0.5, ())


SCANS = {
    "finer": centered_grid((80, 100, 100), spacing_mm=(1.0, 0.9, 0.9)),
    "thick": centered_grid((16, 100, 100), spacing_mm=(5.0, 0.8, 0.8)),
    "oblique": centered_grid(
        (44, 70, 60), spacing_mm=(2.5, 1.2, 1.4), rotation=rotation_matrix((14, -22, 31))
    ),
    "permuted": centered_grid(
        (60, 50, 40), spacing_mm=(1.5, 2.0, 2.4), rotation=rotation_matrix((90, 0, 90))
    ),
    "upside down": centered_grid(
        (44, 60, 60), spacing_mm=(2.5, 1.5, 1.5), rotation=rotation_matrix((180, 0, 5))
    ),
}


@pytest.mark.parametrize("name", list(SCANS))
def test_labels_lie_where_the_patient_has_them(name: str) -> None:
    scan = SCANS[name]
    labels = labels_on_scan(tidied_patient(), stage=STAGE, scan=scan)
    truth = PATIENT.truth(scan)
    assert labels.dtype == np.uint8
    assert labels.shape == scan.shape
    assert dice(labels > 0, truth > 0) > 0.99
    for value in (2, 3):
        assert dice(labels == value, truth == value) > 0.97


@pytest.mark.parametrize("name", list(SCANS))
@pytest.mark.parametrize("slab_voxels", [1, 9_000])
def test_the_result_does_not_depend_on_the_slabs(
    name: str, slab_voxels: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = labels_on_scan(tidied_patient(), stage=STAGE, scan=SCANS[name])
    monkeypatch.setattr(native, "SLAB_VOXELS", slab_voxels)
    assert np.array_equal(labels_on_scan(tidied_patient(), stage=STAGE, scan=SCANS[name]), whole)


def test_only_slabs_of_the_liver_are_interpolated(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory: no map of the whole scan ever exists."""
    sizes: list[int] = []
    interpolate = native.interpolate

    def remember(values, geometry, *, target, outside):
        sizes.append(int(np.prod(target.shape)))
        return interpolate(values, geometry, target=target, outside=outside)

    monkeypatch.setattr(native, "interpolate", remember)
    monkeypatch.setattr(native, "SLAB_VOXELS", 20_000)
    scan = centered_grid((200, 160, 160), spacing_mm=(1.0, 1.0, 1.0))
    labels = labels_on_scan(tidied_patient(), stage=STAGE, scan=scan)
    assert labels.any()
    assert max(sizes) <= 20_000
    # The liver's box with two voxels of rim, for each of three structures.
    assert sum(sizes) <= 3 * 80**3


def test_a_liver_at_the_border_of_the_scan_reaches_its_last_voxels() -> None:
    scan = centered_grid((10, 30, 30), spacing_mm=(5.0, 3.0, 3.0))
    grid = patient_grid(scan, (2.0, 1.5, 1.5))
    inside = np.zeros((2, *grid.shape), dtype=np.float32)
    inside[1] = 1
    tidied = Tidied(Prediction(inside, ("liver",), grid), np.ones(grid.shape, dtype=bool), ())
    assert (labels_on_scan(tidied, stage=STAGE, scan=scan) == 1).all()


def test_a_stage_grid_beyond_the_scan_is_cut() -> None:
    scan = centered_grid((6, 20, 20), spacing_mm=(4.0, 2.0, 2.0))
    labels = labels_on_scan(tidied_patient(), stage=STAGE, scan=scan)
    assert dice(labels > 0, PATIENT.truth(scan) > 0) > 0.99


@pytest.mark.parametrize(
    ("thresholds", "expected"),
    [
        ({}, 1),
        ({"tumor": 0.3}, 2),
        ({"tumor": 0.4}, 1),
        ({"vessel": 0.2}, 3),
        ({"tumor": 0.3, "vessel": 0.2}, 3),
        ({"liver": 0.95}, 0),
        ({"liver": 0.85}, 1),
    ],
)
def test_thresholds(thresholds: dict[str, float], expected: int) -> None:
    grid = centered_grid((3, 3, 3))
    parts = np.empty((4, 3, 3, 3), dtype=np.float32)
    parts[:] = np.array([0.1, 0.35, 0.33, 0.22]).reshape(4, 1, 1, 1)
    tidied = Tidied(
        Prediction(parts, ("liver", "tumor", "vessel"), grid), np.ones((3, 3, 3), dtype=bool), ()
    )
    stage = toy_stage(thresholds=thresholds)
    assert (labels_on_scan(tidied, stage=stage, scan=grid) == expected).all()
