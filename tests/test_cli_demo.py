"""`livertumor demo` on a small phantom with networks that are thresholds."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from toy_recipe import write_toy_recipe

from livertumor_cli import demo, pipeline
from livertumor_cli.anatomy import Label
from livertumor_cli.cli.app import run
from livertumor_cli.cli.demo_table import print_comparison
from livertumor_cli.io.formats import read_volume, write_label_map
from livertumor_cli.io.label_maps import read_label_map
from livertumor_cli.measure.components import number_lesions
from livertumor_cli.phantom import make_phantom
from livertumor_cli.volume import LabelMap

ENGINE = ("--engine", "onnxruntime", "--device", "cpu", "--threads", "1")
Capture = pytest.CaptureFixture[str]


@pytest.fixture
def arguments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A demo in `tmp_path/demo` whose phantom has few and large voxels."""
    small = partial(demo.PhantomSpec, shape=(40, 80, 96), spacing_mm=(6.0, 4.0, 4.0))
    monkeypatch.setattr(demo, "PhantomSpec", small)
    write_toy_recipe(tmp_path / "toy", patch=(16, 48, 48))
    return ["demo", "-o", str(tmp_path / "demo"), "--recipe", str(tmp_path / "toy"), *ENGINE]


def test_demo_writes_phantom_and_results(
    arguments: list[str], tmp_path: Path, capsys: Capture
) -> None:
    assert run(arguments) == 0
    folder = tmp_path / "demo"
    assert {path.name for path in folder.iterdir()} == {"scan", "truth.nii.gz", "results"}
    scan, truth = read_volume(folder / "scan"), read_label_map(folder / "truth.nii.gz")
    assert scan.source.kind == "dicom"
    assert scan.geometry.is_same_grid(truth.geometry)
    assert set(np.unique(truth.labels)) == {0, 1, 2, 3}
    mask = read_label_map(folder / "results" / "mask.nii.gz")
    assert mask.geometry.is_same_grid(truth.geometry)
    out, err = capsys.readouterr()
    assert "Phantom: found against true" in out
    assert "A phantom is a drawing" in out
    lines = [line for line in out.splitlines() if line != str(folder / "results")]
    assert max(map(len, lines)) <= 80
    assert "Drawing the phantom" in err


def test_json_is_the_comparison_alone(arguments: list[str], capsys: Capture) -> None:
    assert run([*arguments, "--json"]) == 0
    out, err = capsys.readouterr()
    comparison = json.loads(out)
    assert err == ""
    assert comparison["phantom"] is True
    assert [row["name"] for row in comparison["structures"]] == ["liver", "tumor", "vessel"]
    assert all(row["true_ml"] > 0 and 0 <= row["dice"] <= 1 for row in comparison["structures"])
    assert [row["true_diameter_mm"] for row in comparison["tumors"]] == [46.0, 32.0, 24.0, 18.0]


def test_quiet_prints_the_folder(arguments: list[str], tmp_path: Path, capsys: Capture) -> None:
    assert run([*arguments, "--quiet"]) == 0
    assert capsys.readouterr() == (f"{tmp_path / 'demo' / 'results'}\n", "")


def test_the_seed_decides_the_phantom(arguments: list[str], tmp_path: Path) -> None:
    scans = []
    for seed in ("1", "1", "2"):
        assert run([*arguments, "--quiet", "--overwrite", "--seed", seed]) == 0
        scans.append(read_volume(tmp_path / "demo" / "scan").hu)
    assert np.array_equal(scans[0], scans[1])
    assert not np.array_equal(scans[0], scans[2])


def test_an_earlier_demo_is_kept(arguments: list[str], tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "mine.txt").write_text("mine", encoding="utf-8")
    assert run(arguments) == 6
    assert "exists already" in capsys.readouterr().err
    assert run([*arguments, "--overwrite", "-q"]) == 6
    assert "no earlier result" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "demo").iterdir()] == ["mine.txt"]


@pytest.mark.parametrize("earlier", [False, True])
def test_an_interrupt_leaves_what_was_there(
    arguments: list[str], earlier: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if earlier:
        assert run([*arguments, "-q"]) == 0
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    slices = []

    def interrupted(scan: Path, **_options: object) -> None:
        slices.extend(scan.iterdir())
        raise KeyboardInterrupt

    monkeypatch.setattr(pipeline, "segment_case", interrupted)
    assert run([*arguments, "-q", "--overwrite", "--seed", "3"]) == 130
    assert len(slices) == 40
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    assert (tmp_path / "demo").exists() is earlier


def test_lesions_where_no_tumor_is_are_listed(tmp_path: Path, capsys: Capture) -> None:
    spec = demo.PhantomSpec(shape=(40, 80, 96), spacing_mm=(6.0, 4.0, 4.0))
    phantom = make_phantom(spec)
    mask = phantom.labels.copy()
    mask[:2, :3, :4] = Label.TUMOR  # in a corner of the scan: 24 voxels of 0.096 ml
    lesions = number_lesions(mask == Label.TUMOR)
    volumes = np.bincount(lesions.ravel())[1:] * 0.096
    report = {
        "lesions": [
            {"id": number, "volume_ml": float(volume), "longest_axial_diameter_mm": 20.0}
            for number, volume in enumerate(volumes, start=1)
        ]
    }
    write_label_map(tmp_path / "mask.nii", LabelMap(mask, phantom.volume.geometry))
    comparison = demo.compare_with_truth(phantom, tmp_path / "mask.nii", report=report)
    expected = {
        "id": int(lesions[0, 0, 0]),
        "found_ml": 2.3,
        "longest_axial_diameter_mm": 20.0,
    }
    assert comparison["false_lesions"] == [expected]
    assert comparison["lesions_reported"] == 5
    assert all(row["found_percent"] == 100 for row in comparison["tumors"])
    print_comparison(comparison)
    out = capsys.readouterr().out
    assert [line.split() for line in out.splitlines() if " 2.30 " in line] == [
        [str(expected["id"]), "2.30", "20.0"]
    ]
    write_label_map(tmp_path / "mask.nii", LabelMap(phantom.labels, phantom.volume.geometry))
    report["lesions"] = [lesion for lesion in report["lesions"] if lesion["id"] != expected["id"]]
    assert (
        demo.compare_with_truth(phantom, tmp_path / "mask.nii", report=report)["false_lesions"]
        == []
    )


def test_without_its_recipe_nothing_is_left(tmp_path: Path, capsys: Capture) -> None:
    target = tmp_path / "deep" / "demo"
    assert run(["demo", "-o", str(target), "--recipe", "nothing", "-q"]) == 4
    assert capsys.readouterr().out == ""
    assert list(tmp_path.iterdir()) == []
