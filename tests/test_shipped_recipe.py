"""The weights that are shipped: the phantom, and real CTs where the shared data are there."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from livertumor_cli.anatomy import Label
from livertumor_cli.case_files import CaseResult
from livertumor_cli.errors import NoLiverError
from livertumor_cli.inference.liver_box import KnownLiver
from livertumor_cli.inference.resample import to_patient_axes
from livertumor_cli.inference.segments import predict_segments, segments_on_scan
from livertumor_cli.io.dicom_ct import write_ct_series
from livertumor_cli.io.formats import read_volume
from livertumor_cli.io.label_maps import read_label_map
from livertumor_cli.measure.agreement import overlap
from livertumor_cli.measure.components import number_lesions
from livertumor_cli.measure.diameters import axial_diameters
from livertumor_cli.phantom import PhantomSpec, make_phantom
from livertumor_cli.phantom.shapes import Canvas
from livertumor_cli.pipeline import segment_case
from livertumor_cli.recipes.recipe import StageRole
from livertumor_cli.recipes.store import DEFAULT_RECIPE, recipe_folders
from livertumor_cli.segment_setup import Networks, SegmentOptions, open_networks
from livertumor_cli.steps import segment_volume
from livertumor_cli.volume import Volume

SHARED_CT = Path(__file__).parents[2] / "shared" / "ct"

pytestmark = pytest.mark.skipif(
    DEFAULT_RECIPE not in recipe_folders(), reason="the default recipe's weights are not here"
)
needs_shared = pytest.mark.skipif(
    not SHARED_CT.is_dir(), reason="the shared CTs are not beside the project"
)


@pytest.fixture(scope="module")
def networks() -> Networks:
    return open_networks(SegmentOptions())


def run(path: Path, networks: Networks) -> CaseResult:
    return segment_case(path, options=SegmentOptions(), progress=lambda *_: None, networks=networks)


@pytest.mark.parametrize("seed", [0, 1])
def test_phantom_liver_and_every_tumor_over_15_mm_are_found(networks: Networks, seed: int) -> None:
    phantom = make_phantom(PhantomSpec(seed=seed))
    result = segment_volume(
        phantom.volume, networks=networks, scales=None, progress=lambda *_: None
    )
    found = result.mask.labels
    assert overlap(found > 0, phantom.labels > 0).dice >= 0.9
    canvas = Canvas(phantom.volume.geometry)
    shares = [
        float((found[canvas.mask_of(tumor.shape)] == Label.TUMOR).mean())
        for tumor in phantom.tumors
        if tumor.mean_diameter_mm > 15
    ]
    assert len(shares) == 4
    assert min(shares) >= 0.5


@needs_shared
def test_nifti_and_the_same_scan_as_dicom_give_the_same_mask_in_mm(
    networks: Networks, tmp_path: Path
) -> None:
    path = SHARED_CT / "lits-016" / "ct.nii.gz"
    volume = read_volume(path)
    write_ct_series(tmp_path / "series", volume, seed="lits-016")
    nifti, dicom = run(path, networks), run(tmp_path / "series", networks)
    assert dicom.volume.geometry.is_same_grid(nifti.volume.geometry)
    assert np.array_equal(dicom.mask.labels, nifti.mask.labels)


@needs_shared
def test_a_real_scan_on_an_oblique_grid_gives_the_same_mask_in_the_patient(
    networks: Networks,
) -> None:
    from livertumor_cli.geometry import Geometry
    from livertumor_cli.inference.resample import resample_to

    volume = read_volume(SHARED_CT / "lits-016" / "ct.nii.gz")
    straight = segment_volume(volume, networks=networks, scales=None, progress=lambda *_: None)
    grid = volume.geometry
    angle = np.deg2rad(12.0)
    turn = np.array(
        [[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1.0]]
    )
    affine = grid.affine_lps.copy()
    middle = grid.index_to_lps((np.array(grid.shape) - 1) / 2)
    affine[:3, :3] = turn @ affine[:3, :3]
    affine[:3, 3] = middle + turn @ (grid.affine_lps[:3, 3] - middle)
    oblique = Geometry(grid.shape, affine)
    turned = Volume(
        resample_to(volume.hu, grid, target=oblique, outside_hu=-1024).astype(np.int16), oblique
    )
    result = segment_volume(turned, networks=networks, scales=None, progress=lambda *_: None)
    # Both liver masks on the straight grid; the mask is interpolated once, which costs a little.
    back = resample_to(
        (result.mask.labels > 0).astype(np.float32), oblique, target=grid, outside_hu=0.0
    )
    assert overlap(back >= 0.5, straight.mask.labels > 0).dice > 0.99


@needs_shared
def test_segments_are_told_in_a_validation_liver(networks: Networks) -> None:
    if not networks.recipe.has_stage(StageRole.SEGMENTS):
        pytest.skip("the default recipe has no stage for segments")
    folder = SHARED_CT / "lits-029"
    volume = read_volume(folder / "ct.nii.gz")
    labels = np.asarray(read_label_map(folder / "labels.nii.gz").labels, dtype=np.uint8)
    hu, geometry = to_patient_axes(volume.hu, volume.geometry)
    liver, _ = to_patient_axes(labels > 0, volume.geometry)
    prediction = predict_segments(
        (hu, geometry),
        KnownLiver(liver, geometry),
        stage=networks.recipe.stage(StageRole.SEGMENTS),
        engine=networks.engines[StageRole.SEGMENTS],
        on_step=lambda done, total: None,
    )
    found = segments_on_scan(prediction, labels, scan=volume.geometry)
    reference = np.asarray(read_label_map(folder / "couinaud.nii.gz").labels)
    found[reference == 0] = 0
    dice = [overlap(found == value, reference == value).dice for value in range(1, 9)]
    assert np.mean(dice) >= 0.75
    assert min(dice) >= 0.6


@needs_shared
def test_a_scan_without_a_liver_is_refused(networks: Networks) -> None:
    with pytest.raises(NoLiverError):
        run(SHARED_CT / "lits-025" / "wide_ct.nii.gz", networks)


@pytest.fixture(scope="module")
def validation(networks: Networks) -> tuple[list[float], list[tuple[str, int, float]]]:
    """Liver Dice per validation case; case, mm and found share of each tumor mostly missed."""
    cases = json.loads((SHARED_CT / "cases.json").read_text(encoding="utf-8"))
    dice, missed = [], []
    for entry in cases:
        if entry["split"] != "validation":
            continue
        folder = SHARED_CT / entry["case"]
        result = run(folder / "ct.nii.gz", networks)
        reference = read_label_map(folder / "labels.nii.gz")
        found = result.mask.labels
        dice.append(overlap(found > 0, reference.labels > 0).dice)
        numbered = number_lesions(reference.labels == Label.TUMOR)
        for number in range(1, int(numbered.max()) + 1):
            mask = numbered == number
            longest = axial_diameters(mask, geometry=reference.geometry).longest
            share = float((found[mask] == Label.TUMOR).mean())
            if longest.length_mm > 20 and share < 0.5:
                missed.append((entry["case"], round(longest.length_mm), round(share, 2)))
    return dice, missed


@needs_shared
def test_validation_livers_reach_what_the_first_recipe_is_meant_to(
    validation: tuple[list[float], list[tuple[str, int, float]]],
) -> None:
    dice, _ = validation
    assert len(dice) == 6
    assert np.mean(dice) >= 0.94
    assert min(dice) >= 0.90


@needs_shared
@pytest.mark.xfail(strict=True, reason="the tumor of lits-029 is missed")
def test_validation_tumors_over_20_mm_are_at_least_half_found(
    validation: tuple[list[float], list[tuple[str, int, float]]],
) -> None:
    """The missed one hangs below the liver's edge, where a gallbladder would."""
    _, missed = validation
    assert missed == []
