"""Training of Couinaud segments: labels, patches, loss, validation; needs torch."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from torch import Tensor, nn
from training_cases import TINY_LESION

from livertumor_cli.anatomy import SEGMENT_CLASSES
from livertumor_cli.errors import InputError
from livertumor_cli.networks.unet3d import UNet3D, UNet3DConfig
from livertumor_cli.training.augment import Augmentation
from livertumor_cli.training.batch import Batch
from livertumor_cli.training.cache import NO_SEGMENT, TrainingCase, load_cases
from livertumor_cli.training.losses import UNKNOWN, segment_loss
from livertumor_cli.training.segment_patches import SegmentSampler
from livertumor_cli.training.tasks import SEGMENTS
from livertumor_cli.training.trainer import Trainer, TrainingOptions
from livertumor_cli.training.validate import validate

TINY_SEGMENTS = replace(
    TINY_LESION,
    name="tiny/segments",
    build=lambda: UNet3D(UNet3DConfig(classes=9, widths=(2, 4))),
    spacing_mm=(5.0, 5.0, 5.0),
    patch=(24, 40, 40),
    classes=("background", *SEGMENT_CLASSES),
    loss=segment_loss,
    class_weights=(1.0,) * 9,
    tumor_share=0.0,
    surroundings_mm=0.0,
)

STILL = Augmentation(
    rotation_z_deg=0.0,
    rotation_xy_deg=0.0,
    log_scale=0.0,
    shear=0.0,
    elastic_chance=0.0,
    gain=0.0,
    offset_hu=0.0,
    noise_chance=0.0,
    blur_chance=0.0,
    thick_slice_chance=0.0,
)


def a_liver() -> TrainingCase:
    """Segments 1 to 8 side by side along x in a box of 110 HU, and a corner without a segment."""
    labels = np.zeros((20, 36, 44), dtype=np.uint8)
    for value in range(1, 9):
        labels[4:-4, 6:-6, 2 + 4 * value : 6 + 4 * value] = value
    labels[4:8, 6:10, 6:10] = NO_SEGMENT
    hu = np.where(labels > 0, 110, 60).astype(np.int16)
    return TrainingCase("liver", hu, labels, has_vessels=False, is_phantom=False)


class Reader(nn.Module):
    """Tells the segments of `a_liver` from where its box begins, and claims all else is too."""

    def forward(self, image: Tensor) -> Tensor:
        first = int(torch.nonzero(image[0, 0].amax(dim=(0, 1)) > 0)[0])
        values = ((torch.arange(image.shape[-1]) - first) // 4 + 1).clamp(1, 8)
        one_hot = nn.functional.one_hot(values, 9).T.float()  # (9, W)
        return one_hot[None, :, None, None, :].expand(1, 9, *image.shape[2:])


def write_case(folder: Path, *, couinaud: bool = True) -> None:
    """One training case of 2.5 mm: along x 10 mm of segment 5, 20 of 7, 10 of liver alone."""
    case = folder / "one"
    case.mkdir(parents=True)
    labels = np.zeros((24, 16, 16), dtype=np.uint8)  # x, y, z, as NIfTI stores it
    labels[4:20, 4:12, 4:12] = 1
    segments = np.zeros_like(labels)
    segments[4:8] = 5  # outside the liver in part
    segments[8:16, 4:12, 4:12] = 7
    affine = np.diag([-2.5, -2.5, 2.5, 1.0])
    files = {"ct": np.where(labels > 0, 100, -100).astype(np.int16), "labels": labels}
    for name, array in {**files, **({"couinaud": segments} if couinaud else {})}.items():
        nib.save(nib.Nifti1Image(array, affine), case / f"{name}.nii.gz")
    index = json.dumps([{"case": "one", "split": "train"}])
    (folder / "cases.json").write_text(index, encoding="utf-8")


# Cases


def test_segments_are_those_of_the_file_inside_the_liver(tmp_path: Path):
    write_case(tmp_path / "data")
    arguments = {"task": TINY_SEGMENTS, "split": "train", "cache": tmp_path / "cache"}
    for _ in range(2):  # made, then read from the cache
        (case,) = load_cases(tmp_path / "data", **arguments)
        assert case.labels.shape == (8, 8, 12)
        along_x = case.labels[4, 4]
        assert along_x.tolist() == [0, 0, 5, 5, 7, 7, 7, 7, NO_SEGMENT, NO_SEGMENT, 0, 0]
        assert (case.labels[:2] == 0).all()
        assert case.hu[4, 4, 5] == 100


def test_cases_without_segments_are_left_out(tmp_path: Path):
    write_case(tmp_path / "data", couinaud=False)
    arguments = {"task": TINY_SEGMENTS, "cache": tmp_path / "cache"}
    with pytest.raises(InputError, match=r"ct\.nii\.gz and a couinaud\.nii\.gz"):
        load_cases(tmp_path / "data", split="train", **arguments)
    assert load_cases(tmp_path / "data", split="phantom", **arguments) == []


# Patches


def test_a_patch_shows_the_liver_alone():
    sampler = SegmentSampler([a_liver()], task=TINY_SEGMENTS, seed=1)
    batch = sampler.batch(0, 4)
    assert batch.image.shape == (4, 1, 24, 40, 40)
    background = batch.labels == 0
    assert (batch.image[:, 0][background] == 0).all()
    assert (batch.image[:, 0][~background] > 0.3).float().mean() > 0.99
    assert set(batch.labels.unique().tolist()) == {UNKNOWN, *range(9)}


def test_segments_keep_their_sides():
    task = replace(TINY_SEGMENTS, augmentation=STILL)
    for step in range(6):
        labels = SegmentSampler([a_liver()], task=task, seed=2).batch(step, 1).labels[0]
        middles = [torch.nonzero(labels == value)[:, 2].float().mean() for value in range(1, 9)]
        assert middles == sorted(middles)


def test_steps_repeat_and_differ():
    sampler = SegmentSampler([a_liver()], task=TINY_SEGMENTS, seed=1)
    assert torch.equal(sampler.batch(3, 1).image, sampler.batch(3, 1).image)
    assert not torch.equal(sampler.batch(3, 1).image, sampler.batch(4, 1).image)


def test_the_task_never_mirrors():
    assert SEGMENTS.augmentation.mirror_chance == 0


# Loss and validation


def a_batch(labels: Tensor) -> Batch:
    return Batch(torch.zeros(0), labels, torch.zeros(len(labels), dtype=torch.bool))


def test_loss_of_right_and_of_even_logits():
    labels = torch.arange(9).repeat(40).reshape(1, 9, 5, 8)
    right = 50.0 * nn.functional.one_hot(labels, 9).movedim(-1, 1).float()
    assert segment_loss(right, a_batch(labels), torch.ones(9)) == pytest.approx(0.0, abs=1e-4)
    # p = 1/9 everywhere: overlap 40/9, sums 40 and 40, with 50 voxels of smoothing.
    even = segment_loss(torch.zeros(1, 9, 9, 5, 8), a_batch(labels), torch.ones(9))
    dice = (2 * 40 / 9 + 50) / (40 + 40 + 50)
    assert float(even) == pytest.approx(np.log(9) + 1 - dice, rel=1e-5)


def test_voxels_of_unknown_segment_change_nothing():
    labels = torch.arange(9).repeat(40).reshape(1, 9, 5, 8)
    labels[0, 3] = UNKNOWN
    logits = torch.randn(1, 9, 9, 5, 8, generator=torch.Generator().manual_seed(0))
    first = segment_loss(logits, a_batch(labels), torch.ones(9))
    logits[:, :, 3] = 7.0 * torch.randn(9, 5, 8, generator=torch.Generator().manual_seed(1))
    assert torch.equal(segment_loss(logits, a_batch(labels), torch.ones(9)), first)


def test_validation_scores_known_segments_inside_the_liver():
    case = a_liver()
    assert validate(Reader(), [case], task=TINY_SEGMENTS, device="cpu") == {"segments": 1.0}
    case.labels[case.labels == 2] = 1
    # Segment 1 is half found right, the six from 3 on wholly, segment 2 does not exist.
    known = int((a_liver().labels == 1).sum())
    other = int((a_liver().labels == 2).sum())
    expected = (2 * known / (known + known + other) + 6) / 7
    scores = validate(Reader(), [case], task=TINY_SEGMENTS, device="cpu")
    assert scores["segments"] == pytest.approx(expected)
    assert validate(Reader(), [], task=TINY_SEGMENTS, device="cpu") == {}


def test_a_run_notes_the_dice_of_segments(tmp_path: Path):
    options = TrainingOptions(steps=2, batch=1, validate_every=1)
    trainer = Trainer(TINY_SEGMENTS, options=options, out=tmp_path)
    seen = []
    assert trainer.train([a_liver()], [a_liver()], report=seen.append)
    assert list(seen[-1].dice) == ["segments"]
    header, *lines = (tmp_path / "curve.csv").read_text(encoding="utf-8").splitlines()
    assert header == "step,trained_s,loss,dice_segments"
    assert [line.count(",") for line in lines] == [3, 3]
