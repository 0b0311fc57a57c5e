"""The whole way from a file to findings, with networks whose answer is known at every voxel."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations, product
from pathlib import Path

import numpy as np
import pytest
from toy_recipe import (
    THRESHOLDS_HU,
    Patient,
    blind_opinion,
    centered_grid,
    dice,
    rotation_matrix,
    silent,
    toy_options,
    write_model,
    write_toy_recipe,
)

from livertumor_cli.anatomy import Label
from livertumor_cli.case_files import CaseResult
from livertumor_cli.engine.engine import Device, Engine
from livertumor_cli.errors import NoLiverError
from livertumor_cli.geometry import Geometry
from livertumor_cli.inference.resample import to_patient_axes
from livertumor_cli.io.dicom_ct import write_ct_series
from livertumor_cli.io.formats import write_volume
from livertumor_cli.pipeline import segment_case
from livertumor_cli.recipes.recipe import StageRole, to_toml
from livertumor_cli.segment_setup import Networks, open_networks
from livertumor_cli.steps import segment_volume
from livertumor_cli.volume import Volume

PATIENT = Patient()


@pytest.fixture(scope="module")
def networks(toy: Path) -> Networks:
    return open_networks(toy_options(toy))


@pytest.fixture(scope="module")
def resampling(tmp_path_factory: pytest.TempPathFactory) -> Networks:
    """A lesion stage on a grid of its own, so that no voxel of a scan lies on it."""
    folder = tmp_path_factory.mktemp("recipes") / "toy"
    write_toy_recipe(folder, spacing_mm=(2.0, 1.5, 1.5), patch=(16, 48, 48))
    return open_networks(toy_options(folder))


def labels_of(volume: Volume, networks: Networks) -> np.ndarray:
    return np.asarray(segment(volume, networks).mask.labels)


def segment(volume: Volume, networks: Networks) -> CaseResult:
    return segment_volume(volume, networks=networks, scales=None, progress=silent)


def reordered(volume: Volume, order: tuple[int, ...], flips: tuple[bool, ...]) -> Volume:
    """The same scan stored with other axes: `order` of z, y, x, then those in `flips` reversed."""
    axes = volume.geometry.affine_lps[:3, :3][:, ::-1][:, list(order)]  # columns z, y, x
    start = np.zeros(3)
    hu = volume.hu.transpose(order)
    for axis, flip in enumerate(flips):
        if flip:
            start[order[axis]] = hu.shape[axis] - 1
            axes[:, axis] *= -1
            hu = np.flip(hu, axis)
    affine = np.eye(4)
    affine[:3, :3] = axes[:, ::-1]
    affine[:3, 3] = volume.geometry.index_to_lps(start)
    depth, height, width = hu.shape
    return Volume(np.ascontiguousarray(hu), Geometry((depth, height, width), affine))


ORDERS = list(product(permutations(range(3)), product((False, True), repeat=3)))


def test_a_sharp_patient_is_segmented_to_the_voxel(networks: Networks) -> None:
    geometry = centered_grid()
    labels = labels_of(PATIENT.scan(geometry, edge_mm=0), networks)
    assert np.array_equal(labels, PATIENT.truth(geometry))


def test_a_recipe_without_vessels_does_not_say_that_there_are_none(
    networks: Networks, tmp_path: Path
) -> None:
    blind = ("background", "liver", "tumor")
    recipe = write_toy_recipe(tmp_path / "toy", classes=blind, spacing_mm=(4.0, 4.0, 4.0))
    sha = write_model(recipe.folder / "lesion.onnx", (16, 32, 32), THRESHOLDS_HU[:2])
    recipe = recipe.with_stage(replace(recipe.stage("lesion"), sha256=sha))
    (recipe.folder / "recipe.toml").write_text(to_toml(recipe), encoding="utf-8")
    scan = Patient(vessel=None).scan(centered_grid())
    unable = segment(scan, open_networks(toy_options(recipe.folder))).findings
    able = segment(scan, networks).findings
    assert (unable.vessel_volume_ml, able.vessel_volume_ml) == (None, 0.0)
    for findings, contact_mm2 in ((unable, None), (able, 0.0)):
        assert [one.surroundings.vessel_contact_mm2 for one in findings.lesions] == [contact_mm2]


def test_findings_are_those_of_the_mask(networks: Networks) -> None:
    geometry = centered_grid()
    result = segment(PATIENT.scan(geometry, edge_mm=0), networks)
    truth = PATIENT.truth(geometry)
    assert result.findings.liver_volume_ml == pytest.approx((truth > 0).sum() * geometry.voxel_ml)
    assert [lesion.volume_ml for lesion in result.findings.lesions] == [
        pytest.approx((truth == 2).sum() * geometry.voxel_ml)
    ]
    assert result.findings.lesions[0].mean_hu == 160
    assert result.record.scales == (1.0,)
    assert list(result.record.timings_s) == [
        "find_liver",
        "segment_lesions",
        "back_to_scan",
        "measure",
    ]
    assert 0.5 < result.findings.lesions[0].mean_probability <= 1
    # A ball of 34 mm radius is no liver of an adult.
    assert [flag.split(" ml")[0] for flag in result.record.flags] == ["A liver of 164"]


def test_a_recipe_may_tell_segments(tmp_path: Path) -> None:
    write_toy_recipe(tmp_path / "toy", segments=True)
    geometry = centered_grid()
    result = segment(
        PATIENT.scan(geometry, edge_mm=0), open_networks(toy_options(tmp_path / "toy"))
    )
    truth = PATIENT.truth(geometry)
    assert np.array_equal(result.mask.labels, truth)
    segments = np.asarray(result.segments.labels)
    assert np.array_equal(segments > 0, truth > 0)
    for label, segment_number in ((1, 2), (2, 3)):
        assert dice(segments == segment_number, truth == label) > 0.85
    volumes = [part.volume_ml for part in result.findings.segments]
    assert sum(volumes) == pytest.approx(result.findings.liver_volume_ml)
    assert volumes[1] == pytest.approx((segments == 2).sum() * geometry.voxel_ml)
    (number, share), *_ = result.findings.lesions[0].surroundings.couinaud_shares
    assert number == 3
    assert share > 0.8
    assert "find_segments" in result.record.timings_s
    assert "segments.onnx" in result.record.recipe.files


@pytest.mark.parametrize(("threshold", "is_tumor"), [(0.3, True), (0.55, False)])
def test_a_second_opinion_is_averaged(tmp_path: Path, threshold: float, is_tumor: bool) -> None:
    """The first network is sure of its tumor, the second never sees one: half remains."""
    recipe = write_toy_recipe(tmp_path / "toy", thresholds={"tumor": threshold})
    geometry = centered_grid()
    scan = PATIENT.scan(geometry, edge_mm=0)
    alone = segment(scan, open_networks(toy_options(recipe.folder)))
    recipe = recipe.with_stage(blind_opinion(recipe.folder))
    (recipe.folder / "recipe.toml").write_text(to_toml(recipe), encoding="utf-8")
    result = segment(scan, open_networks(toy_options(recipe.folder)))
    labels, truth = np.asarray(result.mask.labels), PATIENT.truth(geometry)
    assert dice(labels > 0, truth > 0) > 0.97  # the second draws the liver on 4 mm
    assert dice(labels == Label.VESSEL, truth == Label.VESSEL) == 1
    if not is_tumor:
        assert not (labels == Label.TUMOR).any()
        return
    assert dice(labels == Label.TUMOR, truth == Label.TUMOR) == 1
    # What each calls tumor: all of it, and nothing.
    (lesion,) = result.findings.lesions
    assert lesion.scale_range_ml[0] == 0
    assert lesion.scale_range_ml[1] == pytest.approx(lesion.volume_ml)
    sure = alone.findings.lesions[0].mean_probability
    assert lesion.mean_probability == pytest.approx(sure / 2, abs=0.01)
    assert "second.onnx" in result.record.recipe.files


def test_a_recipe_without_that_stage_tells_no_segments(networks: Networks) -> None:
    result = segment(PATIENT.scan(centered_grid()), networks)
    assert result.segments is None
    assert result.findings.segments is None
    assert result.findings.lesions[0].surroundings.couinaud_shares is None


@pytest.mark.parametrize("which", ["networks", "resampling"])
def test_48_axis_orders_give_one_mask(which: str, request: pytest.FixtureRequest) -> None:
    networks = request.getfixturevalue(which)
    scan = PATIENT.scan(centered_grid((30, 56, 48), spacing_mm=(4.0, 2.5, 2.75)))
    expected = labels_of(scan, networks)
    assert dice(expected == 2, PATIENT.truth(scan.geometry) == 2) > 0.97
    for order, flips in ORDERS:
        stored = reordered(scan, order, flips)
        turned, geometry = to_patient_axes(labels_of(stored, networks), stored.geometry)
        assert geometry.is_same_grid(scan.geometry)
        assert np.array_equal(turned, expected), (order, flips)


@pytest.mark.parametrize("degrees", [(0, 0, 12), (25, -20, 8), (44, 0, 0), (90, 3, 181)])
@pytest.mark.parametrize("which", ["networks", "resampling"])
def test_oblique_scans_find_the_same_patient(
    which: str, degrees: tuple[float, float, float], request: pytest.FixtureRequest
) -> None:
    grid = centered_grid((48, 64, 64), spacing_mm=(2.5, 2, 2), rotation=rotation_matrix(degrees))
    labels = labels_of(PATIENT.scan(grid), request.getfixturevalue(which))
    truth = PATIENT.truth(grid)
    assert dice(labels > 0, truth > 0) > 0.99
    assert dice(labels == 2, truth == 2) > 0.95
    # A vessel of 5 mm radius has some 50 voxels here, and every one of them counts.
    assert dice(labels == 3, truth == 3) > 0.8


def test_a_file_and_a_dicom_series_give_the_same_mask(toy: Path, tmp_path: Path) -> None:
    rotation = rotation_matrix((0, 0, 10))
    scan = PATIENT.scan(centered_grid((36, 56, 56), spacing_mm=(3, 2.5, 2.5), rotation=rotation))
    write_volume(tmp_path / "scan.nii.gz", scan)
    write_ct_series(tmp_path / "series", scan, seed="toy")
    results = [
        segment_case(tmp_path / name, options=toy_options(toy), progress=silent)
        for name in ("scan.nii.gz", "series")
    ]
    one, other = (to_patient_axes(r.mask.labels, r.mask.geometry) for r in results)
    assert one[1].is_same_grid(other[1])
    assert np.array_equal(one[0], other[0])
    first, second = (result.findings.lesions[0] for result in results)
    assert first.centroid_lps_mm == pytest.approx(second.centroid_lps_mm, abs=1e-3)


@pytest.mark.parametrize("spacing_mm", [(3.0, 3.0, 3.0), (5.0, 1.5, 1.5)])
def test_a_scan_smaller_than_every_patch(networks: Networks, spacing_mm: tuple[float, ...]) -> None:
    z, y, x = spacing_mm
    shape = (round(66 / z), round(66 / y), round(66 / x))
    geometry = centered_grid(shape, spacing_mm=(z, y, x))
    result = segment(PATIENT.scan(geometry, edge_mm=0), networks)
    assert np.array_equal(result.mask.labels, PATIENT.truth(geometry))
    assert any("border of the scan" in flag for flag in result.record.flags)


def test_a_scan_of_three_slices(networks: Networks) -> None:
    geometry = centered_grid((3, 64, 64), spacing_mm=(8, 2, 2))
    result = segment(PATIENT.scan(geometry, edge_mm=0), networks)
    assert np.array_equal(result.mask.labels, PATIENT.truth(geometry))
    assert any("8.0 mm apart" in flag for flag in result.record.flags)


def test_no_tumor_is_a_result(networks: Networks) -> None:
    healthy = Patient(tumor=None, vessel=None)
    result = segment(healthy.scan(centered_grid(), edge_mm=0), networks)
    assert result.findings.lesions == ()
    assert result.findings.liver_volume_ml > 100
    tumor = result.report()["tumor"]
    assert (tumor["volume_ml"], tumor["burden_percent"], tumor["count"]) == (0, 0, 0)
    assert (tumor["candidate_target_ids"], tumor["candidate_target_sum_mm"]) == ([], 0)


def test_no_liver_is_refused(networks: Networks) -> None:
    with pytest.raises(NoLiverError, match="no liver"):
        segment(Patient(liver=None, tumor=None, vessel=None).scan(centered_grid()), networks)


def test_the_second_stage_may_know_tumors_only(tmp_path: Path) -> None:
    """A hospital's own network: the liver is then the first stage's."""
    folder = tmp_path / "toy"
    recipe = write_toy_recipe(folder, classes=("background", "tumor"))
    text = (folder / "recipe.toml").read_text(encoding="utf-8")
    sha256 = write_model(folder / "lesion.onnx", (16, 32, 32), THRESHOLDS_HU[1:2])
    text = text.replace(recipe.stages[1].sha256, sha256)
    (folder / "recipe.toml").write_text(text, encoding="utf-8")
    patient = Patient(vessel=None)
    geometry = centered_grid()
    labels = labels_of(patient.scan(geometry), open_networks(toy_options(folder)))
    truth = patient.truth(geometry)
    assert dice(labels == 2, truth == 2) > 0.95
    assert dice(labels > 0, truth > 0) > 0.9


@pytest.mark.parametrize("scales", [(1.0,), (0.5, 1.0, 1.5)])
def test_a_second_stage_of_slices(tmp_path: Path, scales: tuple[float, ...]) -> None:
    write_toy_recipe(
        tmp_path / "toy", dimensions=2, patch=(1, 32, 32), overlap=(0.0, 0.25, 0.25), scales=scales
    )
    scan = PATIENT.scan(centered_grid())
    labels = labels_of(scan, open_networks(toy_options(tmp_path / "toy")))
    truth = PATIENT.truth(scan.geometry)
    assert dice(labels > 0, truth > 0) > 0.99
    assert dice(labels == 2, truth == 2) > 0.95


def test_progress_counts_up_to_the_end(networks: Networks) -> None:
    seen: list[tuple[str, int, int]] = []
    segment_volume(
        PATIENT.scan(centered_grid()),
        networks=networks,
        scales=(0.5, 1.0),
        progress=lambda *step: seen.append(step),
    )
    for stage in ("liver", "lesions"):
        steps = [(done, total) for step, done, total in seen if step == stage]
        assert steps
        assert steps[-1][0] == steps[-1][1]
        assert all(done <= total for done, total in steps)
    assert list(dict.fromkeys(step for step, _, _ in seen)) == ["liver", "lesions", "measure"]


def test_spread_over_scales(networks: Networks) -> None:
    """Soft edges move with the scale; with one scale there is no spread."""
    scan = PATIENT.scan(centered_grid())
    one, several = (
        segment_volume(scan, networks=networks, scales=scales, progress=silent)
        for scales in ((1.0,), (0.5, 1.0, 1.5))
    )
    assert one.findings.lesions[0].scale_range_ml is None
    lesion = several.findings.lesions[0]
    assert lesion.scale_range_ml is not None
    low, high = lesion.scale_range_ml
    assert low < high
    assert 0.8 * lesion.volume_ml < low <= 1.05 * lesion.volume_ml
    assert 0.95 * lesion.volume_ml < high < 1.2 * lesion.volume_ml


class Elsewhere:
    """An engine of which the reader must know where it ran."""

    def __init__(self, engine: Engine, **told) -> None:
        self.engine = engine
        self.info = replace(engine.info, **told)

    def __getattr__(self, name: str):
        return getattr(self.engine, name)


def test_the_report_says_that_a_network_went_on_on_the_cpu(networks: Networks):
    note = "The memory of a GPU ran out: a network went on on the CPU."
    liver, lesion = (networks.engines[role] for role in (StageRole.LIVER, StageRole.LESION))
    mixed = {
        **networks.engines,
        StageRole.LIVER: Elsewhere(liver, device=Device.CUDA),
        StageRole.LESION: Elsewhere(lesion, note=note),
    }
    geometry = centered_grid((40, 64, 64), spacing_mm=(3.0, 2.0, 2.0))
    record = segment(Patient().scan(geometry), replace(networks, engines=mixed)).record
    assert note in record.flags
    assert record.device == "cuda, cpu"
