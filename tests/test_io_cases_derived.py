"""DICOM results of real series, if the collection lies beside the checkout: placed and valid."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from derived_cases import ALL, seg_in_patient, write_case
from test_conformance import DCIODVFY, errors
from test_io_cases import CASES, FOLDER

from livertumor_cli.io.formats import read_volume

# Headers of several scanners and tools: faults in them must not become faults of the results.
SOURCES = [
    "ct_big_endian",
    "ct_coronal",
    "ct_dicomdir",
    "ct_enhanced_multiframe",
    "ct_in_zip",
    "ct_missing_slice",
    "liver_three_slices",
    "tilt_unequal_steps",
    "two_series_one_localizer",
]
PATHS = {case["name"]: FOLDER / case["path"] for case in CASES}


@pytest.mark.skipif(not CASES, reason="the collection ../shared/io_cases is not there")
@pytest.mark.parametrize("name", SOURCES)
def test_results_of_a_real_series(tmp_path: Path, name: str) -> None:
    volume = read_volume(PATHS[name], resample_irregular=True)
    labels = np.zeros(volume.geometry.shape, dtype=np.uint8)
    _, rows, columns = labels.shape
    labels[:, rows // 4 : rows // 2, columns // 4 : columns // 2] = 1
    labels[:, rows // 4 + 1 : rows // 4 + 4, columns // 4 + 1 : columns // 4 + 5] = 2
    labels[0, rows // 4, columns // 4] = 3
    case = write_case(tmp_path, [], volume, labels, objects=ALL, seg_type="binary")
    assert np.array_equal(seg_in_patient(case.read("seg"), volume.geometry), labels)
    if DCIODVFY is not None:
        for path in sorted(tmp_path.glob("*.dcm")):
            assert errors(path) == []
