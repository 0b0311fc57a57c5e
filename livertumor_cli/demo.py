"""The demo: a phantom on disk as a scanner would store it, and how much of it was found."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from livertumor_cli.anatomy import Label
from livertumor_cli.arrays import LabelArray
from livertumor_cli.case_files import CASE_FILES
from livertumor_cli.io.dicom_ct import write_ct_series
from livertumor_cli.io.formats import write_label_map
from livertumor_cli.io.label_maps import read_label_map
from livertumor_cli.io.output_folder import ResultFiles
from livertumor_cli.measure.agreement import overlap
from livertumor_cli.measure.components import number_tumors
from livertumor_cli.phantom import Phantom, PhantomSpec, Tumor, make_phantom
from livertumor_cli.phantom.shapes import Canvas
from livertumor_cli.volume import LabelMap

SCAN, TRUTH, RESULTS = "scan", "truth.nii.gz", "results"

DEMO_FILES = ResultFiles(
    proof=f"{RESULTS}/{CASE_FILES.proof}",
    names=frozenset(
        {f"{SCAN}/slice*.dcm", TRUTH, *(f"{RESULTS}/{name}" for name in CASE_FILES.names)}
    ),
)
"""What a demo puts into its folder."""


def write_phantom(folder: Path, *, seed: int) -> Phantom:
    """Draw a phantom and write `scan/` (a DICOM CT series) and `truth.nii.gz`.

    Args:
        folder: The demo's folder, which exists.
        seed: Of the phantom.

    Raises:
        OutputError: If it cannot be written.
    """
    phantom = make_phantom(PhantomSpec(seed=seed))
    write_ct_series(folder / SCAN, phantom.volume, seed=f"livertumor phantom {seed}")
    write_label_map(folder / TRUTH, LabelMap(phantom.labels, phantom.volume.geometry))
    return phantom


def compare_with_truth(
    phantom: Phantom, mask_path: Path, *, report: dict[str, Any]
) -> dict[str, Any]:
    """Found against true volumes.

    Args:
        phantom: The truth.
        mask_path: The mask that was found.
        report: The report of the run.

    Returns:
        Liver, tumor and vessel volumes with Dice, each tumor with the share of it that was found,
        and the lesions found where no tumor is. True tumor volumes are the analytic ones of the
        ellipsoids.
    """
    found = np.asarray(read_label_map(mask_path).labels, dtype=np.uint8)
    truth, voxel_ml = phantom.labels, phantom.volume.geometry.voxel_ml
    structures = {
        "liver": (truth > 0, found > 0),
        "tumor": (truth == Label.TUMOR, found == Label.TUMOR),
        "vessel": (truth == Label.VESSEL, found == Label.VESSEL),
    }
    return {
        "phantom": True,
        "structures": [
            {
                "name": name,
                "true_ml": round(float(true.sum()) * voxel_ml, 2),
                "found_ml": round(float(seen.sum()) * voxel_ml, 2),
                "dice": round(overlap(seen, true).dice, 4),
            }
            for name, (true, seen) in structures.items()
        ],
        "tumors": [_tumor_row(tumor, phantom, found) for tumor in phantom.tumors],
        "lesions_reported": len(report["lesions"]),
        "false_lesions": _false_lesions(report, found, truth),
    }


def _false_lesions(
    report: dict[str, Any], found: LabelArray, truth: LabelArray
) -> list[dict[str, Any]]:
    """The lesions of the report that share no voxel with a true tumor."""
    numbers = number_tumors(found)
    hits = set(np.unique(numbers[truth == Label.TUMOR]).tolist())
    return [
        {
            "id": lesion["id"],
            "found_ml": round(lesion["volume_ml"], 2),
            "longest_axial_diameter_mm": round(lesion["longest_axial_diameter_mm"], 1),
        }
        for lesion in report["lesions"]
        if lesion["id"] not in hits
    ]


def _tumor_row(tumor: Tumor, phantom: Phantom, found: LabelArray) -> dict[str, Any]:
    """One tumor: its truth and how much of its voxels carries the tumor label."""
    inside = Canvas(phantom.volume.geometry).mask_of(tumor.shape)
    share = float((found[inside] == Label.TUMOR).mean()) if inside.any() else 0.0
    return {
        "true_diameter_mm": round(tumor.mean_diameter_mm, 1),
        "true_ml": round(tumor.volume_ml, 2),
        "found_percent": round(100 * share, 1),
    }
