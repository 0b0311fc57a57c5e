"""The proof of an export: on what, and how much may differ."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("onnxscript")

from training_cases import TINY_LESION

from livertumor_cli.errors import ModelContractError
from livertumor_cli.export.onnx_export import Agreement, require_agreement
from livertumor_cli.export.stage_export import proof_images
from livertumor_cli.export.to_recipe import role_of, stage_of


@pytest.mark.parametrize(
    "bad", [Agreement(2e-3, 0.0), Agreement(0.0, 1e-4), Agreement(float("nan"), 0)]
)
def test_too_large_differences_are_refused(bad: Agreement):
    with pytest.raises(ModelContractError, match="lesion"):
        require_agreement(bad, Path("lesion.onnx"))


def test_rounding_is_no_difference():
    require_agreement(Agreement(1e-5, 1e-6), Path("lesion.onnx"))


def test_proof_looks_at_the_liver():
    task = replace(TINY_LESION, patch=(16, 48, 48))
    stage = stage_of(task, role=role_of(task), patch=(16, 48, 48))
    drawn, noise = proof_images(stage, spacing_mm=task.spacing_mm)
    assert drawn.shape == noise.shape == (16, 48, 48)
    assert drawn.dtype == noise.dtype == np.float32
    # HU of liver, vessels and tumors, as shares of the window.
    assert float(((drawn > 0.45) & (drawn < 0.9)).mean()) > 0.3
    assert float(noise.min()) >= 0


def test_proof_of_a_patch_larger_than_the_phantom_is_padded():
    task = replace(TINY_LESION, spacing_mm=(8.0, 8.0, 8.0))
    stage = stage_of(task, role=role_of(task), patch=(64, 16, 64))
    assert proof_images(stage, spacing_mm=task.spacing_mm)[0].shape == (64, 16, 64)


def test_proof_of_a_2d_network_is_a_slice_through_the_liver():
    task = replace(TINY_LESION, dimensions=2, inference_patch=(1, 48, 64))
    stage = stage_of(task, role=role_of(task), patch=task.inference_patch)
    drawn, noise = proof_images(stage, spacing_mm=task.spacing_mm)
    assert drawn.shape == noise.shape == (48, 64)
    assert float(((drawn > 0.45) & (drawn < 0.9)).mean()) > 0.3
