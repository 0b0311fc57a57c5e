"""Training patches: reproducible, aligned with their labels, never mirrored."""

# ruff: noqa: E402 (torch is optional: what needs it is imported after the skip)

from __future__ import annotations

import threading
from contextlib import closing
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from training_cases import TINY_LESION, TINY_LIVER, a_case

from livertumor_cli.training.augment import (
    Augmentation,
    sample,
    sampling_grid,
)
from livertumor_cli.training.batch import Batch
from livertumor_cli.training.cache import TrainingCase
from livertumor_cli.training.patches import PHANTOM_SHARE, PatchSampler, prefetch

STILL = Augmentation(*(0.0,) * 12)
"""No change of intensity, and of geometry only the free scaling of the axes."""


def a_sampler(*cases: TrainingCase, seed: int = 1, task=TINY_LESION) -> PatchSampler:
    return PatchSampler(list(cases) or [a_case(vessels=True)], task=task, seed=seed)


def is_same(one: Batch, other: Batch) -> bool:
    pairs = (
        (one.image, other.image),
        (one.labels, other.labels),
        (one.has_vessels, other.has_vessels),
    )
    return all(torch.equal(a, b) for a, b in pairs)


# Batches


def test_batch_has_the_shapes_of_the_task():
    batch = a_sampler().batch(0, 3)
    assert batch.image.shape == (3, 1, *TINY_LESION.patch)
    assert batch.labels.shape == (3, *TINY_LESION.patch)
    assert batch.image.dtype == torch.float32
    assert batch.labels.dtype == torch.int64
    assert batch.has_vessels.tolist() == [True] * 3
    assert float(batch.image.min()) >= 0
    assert float(batch.image.max()) <= 1


@pytest.mark.parametrize("task", [TINY_LESION, TINY_LIVER], ids=["lesion", "liver"])
def test_same_seed_and_step_give_the_same_batch_in_any_order(task):
    first, second = a_sampler(task=task), a_sampler(task=task)
    third = first.batch(3, 2)
    second.batch(9, 2)
    assert is_same(second.batch(3, 2), third)
    assert is_same(first.batch(3, 2), third)


def test_other_steps_and_seeds_give_other_batches():
    batch = a_sampler().batch(3, 2)
    assert not is_same(a_sampler().batch(4, 2), batch)
    assert not is_same(a_sampler(seed=2).batch(3, 2), batch)


def test_patches_of_a_batch_differ():
    image = a_sampler().batch(0, 2).image
    assert not torch.equal(image[0], image[1])


def test_task_decides_how_many_patches_are_centered_on_a_tumor():
    """One patient of four has a tumor: 60 % of the draws, and a quarter of the rest."""
    with_tumor = a_case(vessels=True)
    without = [a_case(tumor=False) for _ in range(3)]
    share = a_sampler(with_tumor, *without).batch(0, 400).has_vessels.float().mean()
    assert float(share) == pytest.approx(0.6 + 0.4 / 4, abs=0.07)


def test_a_task_without_tumor_share_draws_all_patients_alike():
    cases = [a_case(vessels=True), *(a_case(tumor=False) for _ in range(3))]
    share = a_sampler(*cases, task=TINY_LIVER).batch(0, 400).has_vessels.float().mean()
    assert float(share) == pytest.approx(0.25, abs=0.07)


def test_phantoms_are_a_tenth_of_the_mix():
    cases = [a_case(), a_case("phantom", vessels=True, phantom=True)]
    share = a_sampler(*cases).batch(0, 500).has_vessels.float().mean()
    assert float(share) == pytest.approx(PHANTOM_SHARE, abs=0.05)


def test_tumor_patches_hold_their_tumor():
    task = replace(TINY_LESION, tumor_share=1.0)
    labels = a_sampler(a_case(), task=task).batch(0, 100).labels
    assert float((labels == 2).flatten(1).any(1).float().mean()) > 0.95


def test_every_lesion_counts_once_whatever_its_size():
    case = a_case(tumor=False)
    case.labels[5:12, 8:18, 6:16] = 2
    case.labels[14, 24, 26] = 2
    large, small = a_sampler(case).lesions[0]
    assert np.allclose([large.center, small.center], [[8, 12.5, 10.5], [14, 24, 26]])
    assert (large.slices, small.slices) == ((5, 11), (14, 14))


def test_a_case_without_liver_is_sampled_everywhere():
    case = TrainingCase(
        "air", np.full((9, 20, 20), -160, np.int16), np.zeros((9, 20, 20), np.uint8), False, False
    )
    batch = a_sampler(case).batch(0, 2)
    assert not batch.labels.any()


# Slices for 2D networks

SLICES = replace(TINY_LESION, dimensions=2, patch=(1, 16, 16), tumor_share=1.0)


def test_slices_have_no_axis_along_the_body():
    batch = a_sampler(task=SLICES).batch(0, 3)
    assert batch.image.shape == (3, 1, 16, 16)
    assert batch.labels.shape == (3, 16, 16)


def test_slices_show_a_tumor_from_its_first_to_its_last():
    """The tumor fills slices 8 to 11; the middle alone would be 9.5."""
    sampler = a_sampler(task=SLICES)
    rng = np.random.default_rng(0)
    heights = [sampler._choose(rng)[1][0] for _ in range(60)]
    assert set(heights) == {8.0, 9.0, 10.0, 11.0}


def test_slices_are_cropped_about_their_liver_but_show_the_tumor():
    """The liver of 20 x 23 pixels lies in rows 6 to 25, the tumor in its upper left."""
    crops = {}
    for share, size in ((0.0, 40), (1.0, 40), (1.0, 10)):
        task = replace(SLICES, tumor_share=share, patch=(1, size, size))
        sampler = a_sampler(task=task)
        rng = np.random.default_rng(0)
        crops[share, size] = np.array([sampler._choose(rng)[1] for _ in range(50)])
    for centers in (crops[0.0, 40], crops[1.0, 40]):
        assert np.abs(centers[:, 1:] - [15.5, 16]).max() <= 4.0
        assert np.ptp(centers[:, 1]) > 4
    assert set(crops[0.0, 40][:, 0]) > {4.0, 15.0}
    assert np.abs(crops[1.0, 10][:, 1:] - [14.5, 12.5]).max() <= 4.0


# Geometry


def ramp_case(rng: np.random.Generator) -> tuple[torch.Tensor, float]:
    """A smooth field in HU and the steepest step between neighboring voxels."""
    z, y, x = np.indices((40, 60, 64))
    angle = rng.uniform(0, 6)
    field = 80 * np.sin(z / 7 + angle) + 70 * np.cos(y / 9) + 60 * np.sin(x / 8 - angle)
    steepest = np.hypot(np.hypot(80 / 7, 70 / 9), 60 / 8)
    return torch.from_numpy(field).float(), float(steepest)


@pytest.mark.parametrize("seed", range(6))
def test_labels_stay_on_their_voxels_through_every_deformation(seed: int):
    """Labels are "above 10 HU"; nearest and linear sampling are less than a diagonal apart."""
    rng = np.random.default_rng(seed)
    field, steepest = ramp_case(rng)
    grid = sampling_grid(
        rng,
        patch=(16, 32, 32),
        spacing_mm=(2.0, 1.5, 1.5),
        augmentation=Augmentation(elastic_chance=1.0, elastic_mm=3.0),
    )
    middle = torch.tensor([20.0, 30.0, 32.0])
    hu = sample(field + 1000, middle, grid, mode="bilinear")
    labels = sample((field > 10).float() + 1, middle, grid, mode="nearest")
    inside = labels > 0
    clear = (hu - 1010).abs() > steepest * 3**0.5
    judged = inside & clear & (hu > 700)
    assert float(judged.float().mean()) > 0.5
    assert torch.equal(labels[judged] == 2, hu[judged] > 1010)


def test_patches_keep_image_and_label_together():
    """Through the whole sampler, noise and all: tumor and fat are darker than liver."""
    task = replace(TINY_LESION, tumor_share=1.0)
    batch = a_sampler(a_case(), task=task).batch(0, 12)
    for image, labels in zip(batch.image[:, 0], batch.labels, strict=True):
        if int((labels == 2).sum()) > 20 and int((labels == 1).sum()) > 20:
            assert float(image[labels == 2].mean()) < float(image[labels == 1].mean())
        if bool((labels == 0).any()) and bool((labels == 1).any()):
            assert float(image[labels == 0].mean()) < float(image[labels == 1].mean())


def test_sampling_takes_the_voxels_that_the_grid_names():
    volume = torch.arange(4 * 5 * 6).float().view(4, 5, 6)
    offsets = torch.tensor([[[[0.0, 0, 0], [1, 0, 0]], [[0, -1, 0], [0, 0, 2]]]])
    for mode in ("bilinear", "nearest"):
        found = sample(volume, torch.tensor([1.0, 2.0, 3.0]), offsets, mode=mode)
        expected = torch.stack([volume[1, 2, 3], volume[2, 2, 3], volume[1, 1, 3], volume[1, 2, 5]])
        torch.testing.assert_close(found.flatten(), expected, rtol=1e-5, atol=1e-3)


def test_outside_the_scan_is_zero():
    far = torch.full((1, 1, 1, 3), 50.0)
    for mode in ("bilinear", "nearest"):
        assert float(sample(torch.ones(4, 4, 4), torch.zeros(3), far, mode=mode)) == 0


def test_sampling_reads_whole_numbers_and_only_the_part_it_needs():
    rng = np.random.default_rng(4)
    volume = torch.from_numpy(rng.integers(0, 900, (30, 40, 50), dtype=np.int16))
    grid = sampling_grid(
        rng, patch=(5, 8, 8), spacing_mm=(2.0, 1.5, 1.5), augmentation=Augmentation()
    )
    for center in ([12.3, 20.1, 33.7], [-1.0, 3.0, 49.0], [29.0, 41.0, 0.0]):
        middle = torch.tensor(center)
        for mode in ("bilinear", "nearest"):
            # The same volume inside a larger one of zeros: what lies around must not matter.
            padded = torch.nn.functional.pad(volume.float(), (30,) * 6)
            expected = sample(padded, middle + 30, grid, mode=mode)
            found = sample(volume, middle, grid, mode=mode)
            torch.testing.assert_close(found, expected, rtol=1e-3, atol=0.1)


def test_a_single_slice_does_not_go_on_for_ever():
    volume = torch.ones(1, 4, 4)
    grid = torch.tensor([[[[0.0, 0, 0], [1.0, 0, 0], [-2.0, 0, 0]]]])
    found = sample(volume, torch.tensor([0.0, 1.0, 1.0]), grid, mode="bilinear")
    assert found.flatten().tolist() == [1, 0, 0]


def test_without_deformation_the_grid_is_the_patch_in_voxels():
    grid = sampling_grid(
        np.random.default_rng(0), patch=(4, 6, 8), spacing_mm=(3.0, 2.0, 1.0), augmentation=STILL
    )
    span = grid[-1, -1, -1] - grid[0, 0, 0]
    # Up to the free scaling of each axis by exp(0.06).
    torch.testing.assert_close(span, torch.tensor([3.0, 5.0, 7.0]), rtol=0.062, atol=0)
    torch.testing.assert_close(grid.mean(dim=(0, 1, 2)), torch.zeros(3), rtol=0, atol=1e-5)


def test_elastic_deformation_is_in_millimeters():
    augmentation = replace(STILL, elastic_chance=1.0, elastic_mm=4.0)
    rng = np.random.default_rng(0)
    kwargs = {"patch": (8, 16, 16), "augmentation": augmentation}
    shifts = []
    for spacing_mm in ((4.0, 4.0, 4.0), (1.0, 1.0, 1.0)):
        grid = sampling_grid(rng, spacing_mm=spacing_mm, **kwargs)
        index = torch.stack(
            torch.meshgrid(*(torch.arange(float(n)) for n in (8, 16, 16)), indexing="ij"), -1
        )
        centered = index - index.mean(dim=(0, 1, 2))
        shifts.append(float((grid - centered).std()))
    assert 0.4 < shifts[0] < 1.5
    assert shifts[1] > 2.5 * shifts[0]


def test_no_patch_is_mirrored_or_turned_over():
    """A liver lies on the right: every axis keeps its direction, and the volume its handedness."""
    for seed in range(200):
        grid = sampling_grid(
            np.random.default_rng(seed),
            patch=(4, 4, 4),
            spacing_mm=(2.0, 1.5, 1.5),
            augmentation=replace(Augmentation(), elastic_chance=0.0),
        )
        axes = torch.stack([grid[1, 0, 0], grid[0, 1, 0], grid[0, 0, 1]]) - grid[0, 0, 0]
        assert bool((axes.diagonal() > 0.5).all())
        assert float(torch.linalg.det(axes)) > 0.4


def test_mirroring_turns_left_and_right_only_and_half_of_the_patches():
    mirrored = 0
    for seed in range(200):
        grid = sampling_grid(
            np.random.default_rng(seed),
            patch=(4, 4, 4),
            spacing_mm=(2.0, 1.5, 1.5),
            augmentation=Augmentation(elastic_chance=0.0, mirror_chance=0.5),
        )
        axes = torch.stack([grid[1, 0, 0], grid[0, 1, 0], grid[0, 0, 1]]) - grid[0, 0, 0]
        assert bool((axes.diagonal()[:2] > 0.5).all())
        assert abs(float(axes[2, 2])) > 0.5
        mirrored += float(axes[2, 2]) < 0
    assert 70 < mirrored < 130


def test_cut_slabs_lose_image_and_labels_together():
    """Liver patches that end in a slab of air: where the scan ends, there is no liver."""
    case = a_case(shape=(40, 60, 60))
    labels = np.full_like(case.labels, 1)
    full = TrainingCase("full", np.full_like(case.hu, 100), labels, False, False)
    batch = a_sampler(full, task=TINY_LIVER).batch(0, 60)
    whole_slices = [
        (image, labels)
        for image, labels in zip(
            batch.image[:, 0].flatten(0, 1), batch.labels.flatten(0, 1), strict=True
        )
        if not image.any()
    ]
    assert len(whole_slices) > 10
    assert not any(bool(labels.any()) for _, labels in whole_slices)


# Prefetching


def patch_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "patches"]


def test_prefetched_batches_are_those_of_the_steps_in_order():
    sampler = a_sampler()
    batches = list(prefetch(sampler, steps=range(4, 9), size=1))
    assert len(batches) == 5
    assert all(
        is_same(batch, sampler.batch(step, 1)) for step, batch in enumerate(batches, start=4)
    )
    assert patch_threads() == []


def test_leaving_early_ends_the_thread():
    with closing(prefetch(a_sampler(), steps=range(1000), size=1)) as batches:
        next(batches)
        assert len(patch_threads()) == 1
    assert patch_threads() == []


def test_no_steps_no_batches():
    assert list(prefetch(a_sampler(), steps=range(5, 5), size=1)) == []


def test_a_fault_in_the_thread_reaches_the_trainer(monkeypatch: pytest.MonkeyPatch):
    sampler = a_sampler()

    def fail(_step: int, _size: int) -> Batch:
        raise OSError("the disk is gone")

    monkeypatch.setattr(sampler, "batch", fail)
    with pytest.raises(OSError, match="the disk is gone"):
        list(prefetch(sampler, steps=range(3), size=1))
    assert patch_threads() == []
