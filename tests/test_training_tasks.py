"""The training tasks against what the papers state about their training."""

# ruff: noqa: E402 (torch is optional: what needs it is imported after the skip)

from __future__ import annotations

import math

import pytest

torch = pytest.importorskip("torch")

from livertumor_cli.training.augment import Augmentation
from livertumor_cli.training.losses import (
    entropy_and_dice,
    entropy_and_squared_dice,
    weighted_entropy,
)
from livertumor_cli.training.tasks import TASKS

LESIONS = [name for name in TASKS if name.endswith("/lesion")]
PYRAMIDS = ["dpc-net/lesion", "darn/lesion"]


def test_sfan_has_window_loss_and_scales_of_section_3():
    task = TASKS["sfan/lesion"]
    assert task.hu_window == (-75.0, 175.0)
    assert task.loss is weighted_entropy
    assert task.scales == (0.5, 1.0, 1.5)
    assert task.dimensions == 2
    # The largest is met in training, the stretching of single axes (0.06) included.
    assert math.log(task.scales[-1]) < task.augmentation.log_scale + 0.06


def test_msff_unet_sees_crops_of_256_pixels_and_is_flipped_and_sheared():
    task = TASKS["msff-unet/lesion"]
    assert task.inference_patch == (1, 256, 256)
    assert task.dimensions == 2
    assert task.augmentation.shear == 0.05
    assert task.augmentation.mirror_chance > 0


@pytest.mark.parametrize("name", PYRAMIDS)
def test_pyramid_networks_have_grid_loss_and_overlap_of_the_dpc_net_paper(name: str):
    task = TASKS[name]
    assert task.spacing_mm == (2.47, 1.90, 1.90)
    assert task.loss is entropy_and_squared_dice
    assert task.overlap == (0.5, 0.5, 0.5)
    assert task.inference_patch == task.patch  # "the window size equals the patch size"
    changes = task.augmentation  # "elastic deformations, random scaling, rotation, flipping"
    assert min(changes.elastic_chance, changes.log_scale, changes.mirror_chance) > 0
    assert min(changes.rotation_z_deg, changes.rotation_xy_deg) > 0


def test_uca_net_has_window_and_overlap_of_sections_2_2_1_and_2_2_2():
    task = TASKS["uca-net/lesion"]
    assert task.hu_window == (-160.0, 240.0)
    assert task.overlap[0] * task.inference_patch[0] == 16  # slices
    assert task.inference_patch[0] == 32
    assert task.loss is entropy_and_dice
    assert task.surroundings_mm is not None  # "the segmented liver region as the input"
    assert task.augmentation.rotation_z_deg > 0


def test_uca_net_has_the_parameters_of_the_paper():
    with torch.device("meta"):
        network = TASKS["uca-net/lesion"].build()
    assert sum(one.numel() for one in network.parameters()) == pytest.approx(5.91e6, rel=0.005)


@pytest.mark.parametrize("name", LESIONS)
def test_no_paper_turns_a_patient_on_the_head(name: str):
    changes: Augmentation = TASKS[name].augmentation
    assert abs(changes.rotation_z_deg) < 45
    assert abs(changes.rotation_xy_deg) < 45
    assert 0 <= changes.mirror_chance <= 0.5
