"""What the speed benchmarks draw, and when they call masks comparable."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

from livertumor_cli.io.formats import read_volume

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture(autouse=True)
def _scripts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    monkeypatch.setattr(sys, "argv", ["benchmark"])


def body_voxels(folder: Path, *, patient: float) -> int:
    """Voxels that are no air in the middle slices."""
    path = folder / f"{patient}.nii.gz"
    import_module("speed_runs").write_scan(path, slices=8, pixels=64, slice_mm=2.0, patient=patient)
    volume = read_volume(path)
    assert volume.hu.shape == (8, 64, 64)
    assert volume.geometry.spacing_mm == pytest.approx((2.0, 6.4, 6.4))
    return int(np.count_nonzero(volume.hu[3:5] > -300))


def test_a_smaller_patient_in_the_same_field(tmp_path: Path) -> None:
    full, small = (body_voxels(tmp_path, patient=size) for size in (1.0, 0.8))
    assert small / full == pytest.approx(0.8**2, rel=0.05)


def test_dice_of_masks_that_overlap_by_half() -> None:
    pytest.importorskip("torch")
    peers = import_module("peers")
    one, other = np.zeros((2, 4, 4, 4), np.uint8)
    one[0], other[0, :2], other[1, :2] = 1, 1, 2
    scores = peers.dices(one, other)
    assert scores == pytest.approx({"liver and tumor": 0.5, "liver": 2 * 8 / 24, "tumor": 0.0})


def test_masks_that_disagree_are_marked(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torch")
    table = import_module("peer_rows")
    rows = [
        table.Row("unet3d", 40, program, 1.0, 1.0, 100.0, dice, None, {}, {})
        for program, dice in (("livertumor", 1.0), ("monai", 0.9901), ("nnunet", 0.9899))
    ]
    table.print_rows(rows, size=import_module("peers").QUICK)
    marked = [line for line in capsys.readouterr().out.splitlines() if "NOT COMPARABLE" in line]
    assert [line.split()[0] for line in marked] == ["nnunet"]


def test_only_programs_that_agree_with_the_cascade_stand_against_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    pytest.importorskip("torch")
    table = import_module("peer_rows")
    # All agree with the first program, but the last two do not agree with each other.
    rows = [
        table.Row("unet3d", 40, program, wall_s, wall_s, 100.0, 0.995, dice, {}, {})
        for program, wall_s, dice in (
            ("livertumor", 20.0, 0.995),
            ("livertumor-cascade", 10.0, 1.0),
            ("monai", 120.0, 0.9901),
            ("nnunet", 90.0, 0.9899),
        )
    ]
    table.print_rows(rows, size=import_module("peers").QUICK)
    told = [line for line in capsys.readouterr().out.splitlines() if "(Dice 0.9" in line]
    assert [line.split(maxsplit=1)[1] for line in told] == [
        "is 12.0 times as fast as monai and takes 1.00 of its memory (Dice 0.9901)",
        "and nnunet: NOT COMPARABLE (Dice 0.9899)",
    ]
