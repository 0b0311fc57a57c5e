"""Tumors painted into healthy liver."""

# ruff: noqa: E402 (torch is optional: what needs it is imported after the skip)

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from scipy import ndimage

from livertumor_cli.anatomy import Label
from livertumor_cli.training import painted_tumors
from livertumor_cli.training.painted_tumors import MOST_TUMORS, RADIUS_MM, paint_tumors

SPACING_MM = (2.0, 2.0, 2.0)


def a_liver() -> tuple[torch.Tensor, torch.Tensor]:
    """Liver of 110 HU with a vessel of 170 HU, in fat."""
    labels = torch.zeros((40, 60, 60), dtype=torch.long)
    labels[6:34, 8:52, 10:50] = Label.LIVER
    labels[18:21, 28:31, 12:48] = Label.VESSEL
    hu = torch.full(labels.shape, -100.0)
    hu[labels == Label.LIVER] = 110.0
    hu[labels == Label.VESSEL] = 170.0
    return hu, labels


@pytest.fixture
def inside_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """No tumor that grows out of the liver."""
    monkeypatch.setattr(painted_tumors, "BULGING_CHANCE", 0.0)


@pytest.mark.usefixtures("inside_only")
@pytest.mark.parametrize("seed", range(30))
def test_tumors_lie_in_the_liver_and_differ_from_it(seed: int):
    hu, labels = a_liver()
    painted, named = paint_tumors(np.random.default_rng(seed), hu, labels, spacing_mm=SPACING_MM)
    tumor = named == Label.TUMOR
    assert tumor.any()
    assert bool((labels[tumor] > 0).all())
    assert torch.equal(painted[labels == 0], hu[labels == 0])
    assert torch.equal(named[~tumor], labels[~tumor])
    count = ndimage.label(tumor.numpy(), np.ones((3, 3, 3)))[1]
    # A bent tumor may be cut into pieces by the liver's edge, but not into many.
    assert 1 <= count <= 2 * MOST_TUMORS
    largest_ml = MOST_TUMORS * 4 / 3 * np.pi * (1.3 * 2 * RADIUS_MM[1] / 10) ** 3
    assert float(tumor.sum()) * 0.008 < largest_ml


def test_most_are_darker_and_some_are_brighter_than_the_liver(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(painted_tumors, "MOST_TUMORS", 1)
    differences = []
    for seed in range(120):
        hu, labels = a_liver()
        painted, named = paint_tumors(
            np.random.default_rng(seed), hu, labels, spacing_mm=SPACING_MM
        )
        differences.append(float(painted[named == Label.TUMOR].mean()) - 110.0)
    darker = np.mean(np.array(differences) < 0)
    assert 0.8 < darker < 0.99


def test_volumes_are_those_of_the_ellipsoids(monkeypatch: pytest.MonkeyPatch):
    for name, value in {"MOST_TUMORS": 1, "BEND": 0.0, "RADIUS_MM": (12.0, 12.0)}.items():
        monkeypatch.setattr(painted_tumors, name, value)
    labels = torch.full((60, 60, 60), int(Label.LIVER))
    hu = torch.full(labels.shape, 110.0)
    found = []
    for seed in range(60):
        _, named = paint_tumors(np.random.default_rng(seed), hu, labels, spacing_mm=SPACING_MM)
        tumor = named == Label.TUMOR
        touches = any(bool(face.any()) for axis in range(3) for face in
                      (tumor.select(axis, 0), tumor.select(axis, -1)))  # fmt: skip
        if not touches:
            found.append(float(tumor.sum()) * 0.008)
    # The semi-axes are 12 mm times three independent factors between 0.7 and 1.3.
    sphere_ml = 4 / 3 * np.pi * 1.2**3
    assert len(found) > 15
    assert np.mean(found) == pytest.approx(sphere_ml, rel=0.2)
    assert all(0.7**3 * 0.9 < ml / sphere_ml < 1.3**3 * 1.1 for ml in found)


def test_a_vessel_fades_into_the_tumor(monkeypatch: pytest.MonkeyPatch):
    for name in ("BRIGHTER_CHANCE", "CORE_CHANCE", "RIM_CHANCE"):
        monkeypatch.setattr(painted_tumors, name, 0.0)
    seen = 0
    for seed in range(40):
        hu, labels = a_liver()
        painted, named = paint_tumors(
            np.random.default_rng(seed), hu, labels, spacing_mm=SPACING_MM
        )
        inside = (labels == Label.VESSEL) & (named == Label.TUMOR)
        inside &= torch.from_numpy(ndimage.binary_erosion(named == Label.TUMOR, iterations=3))
        if inside.any():
            seen += 1
            assert float(painted[inside].mean()) < 130.0
    assert seen > 3


def test_a_bulging_tumor_hangs_out_of_the_liver_and_displaces_fat_but_no_bone(
    monkeypatch: pytest.MonkeyPatch,
):
    for name, value in {"BULGING_CHANCE": 1.0, "MOST_TUMORS": 1, "BRIGHTER_CHANCE": 0.0}.items():
        monkeypatch.setattr(painted_tumors, name, value)
    seen = 0
    for seed in range(30):
        hu, labels = a_liver()
        bone = torch.zeros(labels.shape, dtype=torch.bool)
        bone[:, :6] = True
        hu[bone] = 400.0
        painted, named = paint_tumors(
            np.random.default_rng(seed), hu, labels, spacing_mm=SPACING_MM
        )
        tumor = named == Label.TUMOR
        outside = tumor & (labels == 0)
        assert torch.equal(painted[bone], hu[bone])
        assert not bool((tumor & bone).any())
        assert bool((tumor & (labels > 0)).any())  # it has a root in the liver
        deep = outside & torch.from_numpy(ndimage.binary_erosion(tumor, iterations=3))
        if deep.any():
            seen += 1
            # Darker than the liver of 110 HU by the most that tumor, core and mottle may be.
            assert -30.0 < float(painted[deep].mean()) < 110.0
    assert seen > 8


def test_without_liver_nothing_is_painted():
    hu, labels = torch.full((8, 8, 8), 40.0), torch.zeros((8, 8, 8), dtype=torch.long)
    painted, named = paint_tumors(np.random.default_rng(1), hu, labels, spacing_mm=SPACING_MM)
    assert torch.equal(painted, hu)
    assert torch.equal(named, labels)
